//! What webhooks took and said, under kube-apiserver's names.

use super::review::Role;
use crate::admission::Operation;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Upper bounds of the latency buckets, in seconds.
const BOUNDS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
/// Webhooks' names come from users: further ones are not told apart.
const MOST: usize = 1_000;

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Allowed,
    Denied(u16),
    /// It failed, and the request with it.
    Failed,
    /// It failed, and the request went on.
    Ignored,
}

/// Name, type, operation, rejected.
type Label = (String, &'static str, &'static str, bool);

#[derive(Default)]
struct Series {
    count: u64,
    seconds: f64,
    buckets: [u64; BOUNDS.len()],
}

#[derive(Default)]
struct Counters {
    durations: BTreeMap<Label, Series>,
    /// By name, type, operation, kind of error, and code.
    rejections: BTreeMap<(String, &'static str, &'static str, &'static str, u16), u64>,
    /// By name and type.
    open: BTreeMap<(String, &'static str), u64>,
}

/// All counters of one server.
#[derive(Default)]
pub(crate) struct Metrics(Mutex<Counters>);

fn kind(role: Role) -> &'static str {
    match role {
        Role::Mutating => "admit",
        Role::Validating => "validating",
    }
}

impl Metrics {
    pub(super) fn record(&self, name: &str, role: Role, asked: Operation, outcome: Outcome, latency: Duration) {
        let rejected = matches!(outcome, Outcome::Denied(_) | Outcome::Failed);
        let mut counters = self.0.lock();
        let name = if counters.durations.len() < MOST { name } else { "others" };
        let (kind, operation) = (kind(role), asked.name());
        let series = counters.durations.entry((name.to_owned(), kind, operation, rejected)).or_default();
        let seconds = latency.as_secs_f64();
        series.count += 1;
        series.seconds += seconds;
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            series.buckets[bucket] += 1;
        }
        let rejection = match outcome {
            Outcome::Denied(code) => Some(("no_error", code)),
            Outcome::Failed => Some(("calling_webhook_error", 0)),
            Outcome::Allowed | Outcome::Ignored => None,
        };
        if let Some((error, code)) = rejection {
            *counters.rejections.entry((name.to_owned(), kind, operation, error, code)).or_default() += 1;
        }
    }

    pub(super) fn failed_open(&self, name: &str, role: Role) {
        let mut counters = self.0.lock();
        let name = if counters.open.len() < MOST { name } else { "others" };
        *counters.open.entry((name.to_owned(), kind(role))).or_default() += 1;
    }

    /// Appends the series, in Prometheus' text format. Nothing where no webhook was ever asked.
    pub(crate) fn render(&self, out: &mut String) {
        let counters = self.0.lock();
        if counters.durations.is_empty() {
            return;
        }
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        head(out, name, "histogram", "Time that webhooks took, by name, type and operation.");
        for ((hook, kind, operation, rejected), series) in &counters.durations {
            let labels = format!("name=\"{hook}\",operation=\"{operation}\",rejected=\"{rejected}\",type=\"{kind}\"");
            let mut below = 0;
            for (bound, count) in BOUNDS.iter().zip(series.buckets) {
                below += count;
                _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
            }
            _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", series.count);
            _ = writeln!(out, "{name}_sum{{{labels}}} {}", series.seconds);
            _ = writeln!(out, "{name}_count{{{labels}}} {}", series.count);
        }
        let name = "apiserver_admission_webhook_rejection_count";
        head(out, name, "counter", "Requests that webhooks refused or failed, by the kind of error and the code.");
        for ((hook, kind, operation, error, code), count) in &counters.rejections {
            _ = writeln!(
                out,
                "{name}{{error_type=\"{error}\",name=\"{hook}\",operation=\"{operation}\",rejection_code=\"{code}\",type=\"{kind}\"}} {count}"
            );
        }
        let name = "apiserver_admission_webhook_fail_open_count";
        head(out, name, "counter", "Requests that went on though a webhook failed.");
        for ((hook, kind), count) in &counters.open {
            _ = writeln!(out, "{name}{{name=\"{hook}\",type=\"{kind}\"}} {count}");
        }
    }
}
