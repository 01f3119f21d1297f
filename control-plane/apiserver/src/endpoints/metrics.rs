//! Request counts and latencies in Prometheus' text format, under kube-apiserver's names.

use crate::core::Core;
use api::kinds::Text;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency buckets, in seconds.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// What requests are told apart by. Bounded: verbs, codes, and the rows of the kinds table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Label {
    pub verb: &'static str,
    pub group: Text,
    pub version: Text,
    pub resource: Text,
    pub subresource: Text,
    pub code: u16,
}

#[derive(Default)]
struct Series {
    count: u64,
    seconds: f64,
    buckets: [u64; BOUNDS.len()],
}

/// All counters of one server.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<HashMap<Label, Series>>,
    pub long_running: AtomicU64,
    pub rejected: AtomicU64,
    pub panics: AtomicU64,
}

impl Metrics {
    pub(crate) fn record(&self, label: Label, latency: Duration) {
        let seconds = latency.as_secs_f64();
        let mut requests = self.requests.lock();
        let series = requests.entry(label).or_default();
        series.count += 1;
        series.seconds += seconds;
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            series.buckets[bucket] += 1;
        }
    }
}

/// The whole page.
pub(super) fn render(core: &Core) -> String {
    let metrics = &core.metrics;
    let mut out = String::with_capacity(8192);
    let requests = metrics.requests.lock();
    head(&mut out, "apiserver_request_total", "counter", "Requests by verb, resource and HTTP code.");
    for (label, series) in requests.iter() {
        let _ = writeln!(out, "apiserver_request_total{{{},code=\"{}\"}} {}", labels(label), label.code, series.count);
    }
    head(
        &mut out,
        "apiserver_request_duration_seconds",
        "histogram",
        "Time from the request's head to the answer's head.",
    );
    let mut by_request: HashMap<String, Series> = HashMap::new();
    for (label, series) in requests.iter() {
        let sum = by_request.entry(labels(label)).or_default();
        sum.count += series.count;
        sum.seconds += series.seconds;
        for (to, from) in sum.buckets.iter_mut().zip(series.buckets) {
            *to += from;
        }
    }
    drop(requests);
    for (labels, series) in by_request {
        histogram(&mut out, &labels, &series);
    }
    let single = [
        ("apiserver_longrunning_requests", "gauge", metrics.long_running.load(Ordering::Relaxed)),
        ("apiserver_dropped_requests_total", "counter", metrics.rejected.load(Ordering::Relaxed)),
        ("apiserver_request_panics_total", "counter", metrics.panics.load(Ordering::Relaxed)),
        ("apiserver_store_revision", "gauge", core.store.revision()),
        ("apiserver_store_objects", "gauge", core.store.snapshot().len() as u64),
    ];
    for (name, kind, value) in single {
        head(&mut out, name, kind, "");
        let _ = writeln!(out, "{name} {value}");
    }
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn labels(label: &Label) -> String {
    let Label { verb, group, version, resource, subresource, .. } = label;
    format!(
        "verb=\"{verb}\",group=\"{group}\",version=\"{version}\",resource=\"{resource}\",subresource=\"{subresource}\""
    )
}

fn histogram(out: &mut String, labels: &str, series: &Series) {
    let name = "apiserver_request_duration_seconds";
    let mut below = 0;
    for (bound, count) in BOUNDS.iter().zip(series.buckets) {
        below += count;
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
    }
    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", series.count);
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", series.seconds);
    let _ = writeln!(out, "{name}_count{{{labels}}} {}", series.count);
}
