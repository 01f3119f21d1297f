//! Counts and latencies under kube-apiserver's metric names. Here: what is counted, on every request's way; the page
//! that shows it is in [`page`].
//!
//! A request costs one hash of its labels and one short lock; its labels are copied at their first occurrence only.

mod page;
mod process;

pub(super) use page::render;

use crate::core::Core;
use crate::request::{RequestInfo, ResourceRequest};
use api::kinds::Text;
use api::{Resource, Verb};
use http::Method;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of a request's latency, in seconds: kube-apiserver's, and some below them.
const LATENCY: [f64; 25] = [
    0.000_1, 0.001, 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0,
    15.0, 20.0, 30.0, 45.0, 60.0,
];
/// The same of a commit in the store (`etcd_request_duration_seconds`).
const COMMIT: [f64; 13] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper bounds of an answer's size, in bytes.
const SIZE: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Most label sets; further ones (kinds that come and go by the thousand) are not told apart from each other.
const MOST: usize = 16_384;

/// What requests are told apart by. Bounded: verbs, codes, and the rows of the kinds table.
#[derive(Clone, Debug)]
struct Label {
    verb: &'static str,
    group: Text,
    version: Text,
    resource: Text,
    subresource: Text,
    scope: &'static str,
    dry_run: &'static str,
    code: u16,
}

/// Observations by how large they were.
#[derive(Clone, Debug)]
struct Histogram<const N: usize> {
    bounds: &'static [f64; N],
    count: u64,
    sum: f64,
    buckets: [u64; N],
}

impl<const N: usize> Histogram<N> {
    const fn new(bounds: &'static [f64; N]) -> Self {
        Self { bounds, count: 0, sum: 0.0, buckets: [0; N] }
    }

    fn observe(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        if let Some(bucket) = self.bounds.iter().position(|bound| value <= *bound) {
            self.buckets[bucket] += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        for (to, from) in self.buckets.iter_mut().zip(other.buckets) {
            *to += from;
        }
    }
}

struct Series {
    label: Label,
    latency: Histogram<25>,
    /// Of answers whose size was known when they began.
    size: Histogram<7>,
}

/// All counters of one server.
pub(crate) struct Metrics {
    hasher: RandomState,
    requests: Mutex<HashMap<u64, Series>>,
    /// Watches and logs that are open.
    streams: Mutex<HashMap<u64, (Label, u64)>>,
    commits: Mutex<Histogram<13>>,
    pub panics: AtomicU64,
    pub handshake_errors: AtomicU64,
    started: Instant,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            requests: Mutex::default(),
            streams: Mutex::default(),
            commits: Mutex::new(Histogram::new(&COMMIT)),
            panics: AtomicU64::new(0),
            handshake_errors: AtomicU64::new(0),
            started: Instant::now(),
        }
    }
}

/// A request as it is counted, before its labels are copied.
#[derive(Clone, Copy)]
pub(crate) struct Counted<'a> {
    verb: &'static str,
    row: Option<&'a Resource>,
    subresource: &'a str,
    scope: &'static str,
    dry_run: &'static str,
}

impl<'a> Counted<'a> {
    pub(crate) fn new(
        info: &RequestInfo<'_>,
        row: Option<&'a Arc<Resource>>,
        headers: &http::HeaderMap,
        query: Option<&str>,
    ) -> Self {
        let row = row.map(|row| &**row);
        let request = info.resource.as_ref();
        // Only what the row has: anything else would be the client's own words.
        let sub = request.zip(row).and_then(|(request, row)| row.subresource(request.subresource));
        let writes = matches!(*info.method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
        let dry_run = if writes && query.is_some_and(|query| query.contains("dryRun=All")) { "All" } else { "" };
        Self {
            verb: verb(info, headers),
            row,
            subresource: sub.map_or("", |sub| &sub.name),
            scope: request.filter(|_| row.is_some()).map_or("", scope),
            dry_run,
        }
    }

    fn label(&self, code: u16) -> Label {
        let text = |pick: fn(&Resource) -> &Text| self.row.map_or(Text::Borrowed(""), |row| pick(row).clone());
        Label {
            verb: self.verb,
            group: text(|row| &row.group),
            version: text(|row| &row.version),
            resource: text(|row| &row.plural),
            subresource: self.subresource.to_owned().into(),
            scope: self.scope,
            dry_run: self.dry_run,
            code,
        }
    }
}

/// As kube-apiserver names it here: the method, with what it is to collections, watches, apply and connections.
fn verb(info: &RequestInfo<'_>, headers: &http::HeaderMap) -> &'static str {
    let Some(request) = &info.resource else { return method(info.method) };
    match request.verb {
        Some(Verb::List) => "LIST",
        Some(Verb::Watch) => "WATCH",
        Some(Verb::DeleteCollection) => "DELETECOLLECTION",
        Some(Verb::Patch)
            if crate::negotiate::media_type(headers)
                .is_some_and(|kind| kind.starts_with("application/apply-patch")) =>
        {
            "APPLY"
        }
        Some(_) if matches!(request.subresource, "exec" | "attach" | "portforward" | "proxy") => "CONNECT",
        _ => method(info.method),
    }
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn scope(request: &ResourceRequest<'_>) -> &'static str {
    if !request.name.is_empty() || request.verb == Some(Verb::Create) {
        "resource"
    } else if request.namespace.is_empty() {
        "cluster"
    } else {
        "namespace"
    }
}

impl Metrics {
    /// A request whose answer has begun. `size`: bytes of the answer, where that is known.
    pub(crate) fn record(&self, counted: &Counted<'_>, code: u16, latency: Duration, size: Option<u64>) {
        let key = self.key(counted, code);
        let mut requests = self.requests.lock();
        let key = if requests.len() < MOST || requests.contains_key(&key) { key } else { 0 };
        let series = requests.entry(key).or_insert_with(|| Series {
            label: counted.label(code),
            latency: Histogram::new(&LATENCY),
            size: Histogram::new(&SIZE),
        });
        series.latency.observe(latency.as_secs_f64());
        if let Some(size) = size {
            #[allow(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
            series.size.observe(size as f64);
        }
    }

    fn key(&self, counted: &Counted<'_>, code: u16) -> u64 {
        let row = counted.row.map(|row| (&row.group, &row.version, &row.plural));
        self.hasher.hash_one((counted.verb, row, counted.subresource, counted.scope, counted.dry_run, code))
    }

    /// Counts one open stream until what is returned is dropped.
    pub(crate) fn stream(core: &Arc<Core>, counted: &Counted<'_>) -> OpenStream {
        let key = core.metrics.key(counted, 0);
        core.metrics.streams.lock().entry(key).or_insert_with(|| (counted.label(0), 0)).1 += 1;
        OpenStream { core: Arc::clone(core), key }
    }

    /// A commit that the store has answered.
    pub(crate) fn committed(&self, latency: Duration) {
        self.commits.lock().observe(latency.as_secs_f64());
    }
}

/// A watch or a log that is open.
pub(crate) struct OpenStream {
    core: Arc<Core>,
    key: u64,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut streams = self.core.metrics.streams.lock();
        if let Some((_, open)) = streams.get_mut(&self.key) {
            *open -= 1;
            // Kinds come and go: what nobody watches takes no room.
            if *open == 0 {
                streams.remove(&self.key);
            }
        }
    }
}

/// Counted as one, for ever.
pub(crate) fn one_more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
