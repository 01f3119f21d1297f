//! The page of `/metrics`, in Prometheus' text format.

use super::{Histogram, LATENCY, Label, SIZE, process};
use crate::core::Core;
use crate::endpoints::GIT_VERSION;
use crate::objects;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

/// The whole page.
pub(in crate::endpoints) fn render(core: &Core) -> String {
    let mut out = String::with_capacity(64 * 1024);
    requests(&mut out, core);
    streams(&mut out, core);
    in_flight(&mut out, core);
    storage(&mut out, core);
    core.admission.webhook_metrics.render(&mut out);
    core.services.metrics.render(&mut out, &core.store.snapshot());
    let metrics = &core.metrics;
    let single = [
        (
            "apiserver_request_panics_total",
            "counter",
            "Requests that failed in a panic.",
            metrics.panics.load(Ordering::Relaxed),
        ),
        (
            "apiserver_tls_handshake_errors_total",
            "counter",
            "Number of requests dropped with 'TLS handshake error from' error",
            metrics.handshake_errors.load(Ordering::Relaxed),
        ),
        ("skiff_uptime_seconds", "gauge", "Seconds since this server began.", metrics.started.elapsed().as_secs()),
    ];
    for (name, kind, help, value) in single {
        head(&mut out, name, kind, help);
        let _ = writeln!(out, "{name} {value}");
    }
    head(&mut out, "kubernetes_build_info", "gauge", "What this server is.");
    let _ = writeln!(out, "kubernetes_build_info{{git_version=\"{GIT_VERSION}\",major=\"1\",minor=\"36\"}} 1");
    process::put(&mut out);
    out
}

pub(super) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// `apiserver_request_total`, and the histograms over all codes.
fn requests(out: &mut String, core: &Core) {
    let requests = core.metrics.requests.lock();
    let mut series: Vec<_> = requests.values().map(|s| (labels(&s.label), s)).collect();
    series.sort_by(|(a, x), (b, y)| (a, x.label.code).cmp(&(b, y.label.code)));
    let help = "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.";
    head(out, "apiserver_request_total", "counter", help);
    for (labels, series) in &series {
        let _ = writeln!(
            out,
            "apiserver_request_total{{code=\"{}\",{labels}}} {}",
            series.label.code, series.latency.count
        );
    }
    let mut latency: BTreeMap<&str, Histogram<25>> = BTreeMap::new();
    let mut size: BTreeMap<&str, Histogram<7>> = BTreeMap::new();
    for (labels, series) in &series {
        // How long a watch lasts is its client's affair.
        if !matches!(series.label.verb, "WATCH" | "CONNECT") {
            latency.entry(labels).or_insert_with(|| Histogram::new(&LATENCY)).add(&series.latency);
        }
        if series.size.count > 0 && series.label.dry_run.is_empty() {
            size.entry(labels).or_insert_with(|| Histogram::new(&SIZE)).add(&series.size);
        }
    }
    let help = "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.";
    head(out, "apiserver_request_duration_seconds", "histogram", help);
    for (labels, values) in &latency {
        histogram(out, "apiserver_request_duration_seconds", labels, values);
    }
    let help = "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.";
    head(out, "apiserver_response_sizes", "histogram", help);
    for (labels, values) in &size {
        histogram(out, "apiserver_response_sizes", labels, values);
    }
}

fn streams(out: &mut String, core: &Core) {
    let help = "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.";
    head(out, "apiserver_longrunning_requests", "gauge", help);
    let streams = core.metrics.streams.lock();
    let open: BTreeMap<String, u64> = streams.values().map(|(label, open)| (labels(label), *open)).collect();
    for (labels, open) in open {
        let _ = writeln!(out, "apiserver_longrunning_requests{{{labels}}} {open}");
    }
}

fn in_flight(out: &mut String, core: &Core) {
    let (reading, mutating) = core.in_flight.taken();
    let help =
        "Maximal number of currently used inflight request limit of this apiserver per request kind in last second.";
    head(out, "apiserver_current_inflight_requests", "gauge", help);
    for (kind, taken) in [("mutating", mutating), ("readOnly", reading)] {
        let _ = writeln!(out, "apiserver_current_inflight_requests{{request_kind=\"{kind}\"}} {taken}");
    }
    let help = "Number of requests which apiserver terminated in self-defense.";
    head(out, "apiserver_request_terminations_total", "counter", help);
    let refused = core.in_flight.refused();
    let _ = writeln!(out, "apiserver_request_terminations_total{{code=\"429\",component=\"apiserver\"}} {refused}");
}

/// What the store holds, and how long it takes to commit.
fn storage(out: &mut String, core: &Core) {
    let snapshot = core.store.snapshot();
    let catalog = core.catalog();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for row in catalog.kinds.iter().filter(|row| row.stored()) {
        if seen.insert(&row.storage) {
            counts.insert((&row.group, &row.plural), snapshot.count(&objects::prefix(row, "")));
        }
    }
    let help = "Number of stored objects at the time of last check split by kind.";
    head(out, "apiserver_storage_objects", "gauge", help);
    for ((group, plural), count) in &counts {
        let name = if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") };
        let _ = writeln!(out, "apiserver_storage_objects{{resource=\"{name}\"}} {count}");
    }
    head(out, "apiserver_resource_objects", "gauge", help);
    for ((group, plural), count) in &counts {
        let _ = writeln!(out, "apiserver_resource_objects{{group=\"{group}\",resource=\"{plural}\"}} {count}");
    }
    head(out, "apiserver_store_revision", "gauge", "The newest revision of the store.");
    let _ = writeln!(out, "apiserver_store_revision {}", core.store.revision());
    let name = "etcd_request_duration_seconds";
    head(out, name, "histogram", "Etcd request latency in seconds for each operation and object type.");
    histogram(out, name, "operation=\"txn\",type=\"\"", &core.metrics.commits.lock());
}

fn labels(label: &Label) -> String {
    let Label { verb, group, version, resource, subresource, scope, dry_run, .. } = label;
    format!(
        "component=\"apiserver\",dry_run=\"{dry_run}\",group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
    )
}

fn histogram<const N: usize>(out: &mut String, name: &str, labels: &str, values: &Histogram<N>) {
    let mut below = 0;
    for (bound, count) in values.bounds.iter().zip(values.buckets) {
        below += count;
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
    }
    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", values.count);
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", values.sum);
    let _ = writeln!(out, "{name}_count{{{labels}}} {}", values.count);
}
