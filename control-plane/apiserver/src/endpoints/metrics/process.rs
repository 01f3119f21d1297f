//! What the system knows of this process, in the names of Prometheus' client libraries. Where the system tells nothing
//! (anything but Linux), nothing is said.

use std::fmt::Write as _;

/// Ticks of `/proc/self/stat` a second: 100 on every Linux that userland sees.
const TICKS: f64 = 100.0;
const PAGE: u64 = 4096;

/// Appends the metrics of the process.
pub(super) fn put(out: &mut String) {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // The second field is the program's name in brackets and may contain anything.
    let Some((_, rest)) = stat.rsplit_once(')') else { return };
    let fields: Vec<u64> = rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
    let seconds = |ticks: u64| {
        #[allow(clippy::cast_precision_loss, reason = "a process does not run for 2^52 ticks")]
        let ticks = ticks as f64;
        ticks / TICKS
    };
    gauge(
        out,
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        seconds(field(14) + field(15)),
    );
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = pages.split_whitespace().map(|count| count.parse::<u64>().unwrap_or(0));
    let (virtual_, resident) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    gauge(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", virtual_ * PAGE);
    gauge(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", resident * PAGE);
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        gauge(out, "process_open_fds", "gauge", "Number of open file descriptors.", open.count());
    }
    if let Some(most) = most_files() {
        gauge(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.", most);
    }
    if let Some(booted) = booted() {
        let started = booted + seconds(field(22));
        gauge(
            out,
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            started,
        );
    }
}

fn most_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find(|line| line.starts_with("Max open files"))?.split_whitespace().nth(3)?.parse().ok()
}

/// When the machine was started, in seconds since the epoch.
fn booted() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn gauge(out: &mut String, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
    super::page::head(out, name, kind, help);
    let _ = writeln!(out, "{name} {value}");
}
