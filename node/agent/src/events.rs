//! Kubernetes Events, as the kubelet writes them: asynchronous, bounded, aggregated by count.
//!
//! Invariant: recording an event never waits and never fails; when the API server is slow, events
//! are lost, not pods.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

const QUEUE: usize = 4096;
const REMEMBERED: usize = 4096;
/// The kubelet's spam filter: this many events at once per object, then one per refill.
const BURST: f64 = 25.0;
const REFILL: Duration = Duration::from_secs(300);
/// client-go truncates longer messages.
const MAX_MESSAGE: usize = 1024;

/// `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        })
    }
}

struct Record {
    object: ObjectReference,
    type_: EventType,
    reason: &'static str,
    message: String,
}

/// Takes events; clones share one queue.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Record>,
    dropped: std::sync::Arc<AtomicU64>,
}

impl Recorder {
    /// The kubelet's recorder and the sink that [`Sink::run`] drains.
    pub fn new() -> (Self, Sink) {
        Self::of("kubelet")
    }

    /// As [`Recorder::new`], in the name of another component.
    pub fn of(component: &'static str) -> (Self, Sink) {
        let (queue, records) = mpsc::channel(QUEUE);
        let dropped = std::sync::Arc::new(AtomicU64::new(0));
        (Self { queue, dropped }, Sink { component, records })
    }

    /// Notes that something happened to `object`.
    pub fn record(&self, object: ObjectReference, type_: EventType, reason: &'static str, message: String) {
        let record = Record { object, type_, reason, message };
        if self.queue.try_send(record).is_err() {
            let lost = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if lost.is_power_of_two() {
                tracing::warn!(lost, "events were lost: the API server takes them too slowly");
            }
        }
    }
}

/// The writing end: one event in flight at a time, so that events never crowd out pod statuses.
pub struct Sink {
    component: &'static str,
    records: mpsc::Receiver<Record>,
}

#[derive(PartialEq, Eq, Hash)]
struct Same {
    object: String,
    reason: &'static str,
    type_: EventType,
    message: String,
}

struct Written {
    name: String,
    count: i32,
    at: Instant,
}

impl Sink {
    /// Writes events until cancelled. `node` is empty for what is no node's.
    pub async fn run(mut self, client: Client, node: String, clock: Clock, stop: CancellationToken) {
        let source = EventSource { component: Some(self.component.into()), host: Some(node).filter(|n| !n.is_empty()) };
        let mut book = Book::default();
        loop {
            let record = tokio::select! {
                record = self.records.recv() => record,
                () = stop.cancelled() => return,
            };
            let Some(record) = record else { return };
            if let Err(error) = book.write(&client, &source, &clock, record).await {
                tracing::debug!(%error, "an event was not written");
            }
        }
    }
}

/// What was written before, to count repetitions and to filter floods.
#[derive(Default)]
struct Book {
    written: HashMap<Same, Written>,
    buckets: HashMap<String, (f64, Instant)>,
}

impl Book {
    fn admits(&mut self, object: &str, now: Instant) -> bool {
        if self.buckets.len() >= REMEMBERED {
            self.buckets.retain(|_, (_, at)| now.duration_since(*at) < REFILL);
            if self.buckets.len() >= REMEMBERED {
                self.buckets.clear();
            }
        }
        let (tokens, at) = self.buckets.entry(object.to_owned()).or_insert((BURST, now));
        *tokens = (*tokens + now.duration_since(*at).as_secs_f64() / REFILL.as_secs_f64()).min(BURST);
        *at = now;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }

    async fn write(
        &mut self,
        client: &Client,
        source: &EventSource,
        clock: &Clock,
        record: Record,
    ) -> Result<(), kube::Error> {
        let now = Instant::now();
        let object = record.object.uid.clone().or_else(|| record.object.name.clone()).unwrap_or_default();
        if !self.admits(&object, now) {
            return Ok(());
        }
        if self.written.len() >= REMEMBERED {
            self.written.retain(|_, w| now.duration_since(w.at) < Duration::from_secs(600));
            if self.written.len() >= REMEMBERED {
                self.written.clear();
            }
        }
        let mut message = record.message;
        truncate(&mut message, MAX_MESSAGE);
        let namespace = record.object.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let field = record.object.field_path.as_deref().unwrap_or_default();
        let same = Same { object: format!("{object}/{field}"), reason: record.reason, type_: record.type_, message };
        if let Some(written) = self.written.get_mut(&same) {
            written.count += 1;
            written.at = now;
            let patch = serde_json::json!({"count": written.count, "lastTimestamp": clock.time()});
            match api.patch(&written.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => return other.map(drop),
            }
        }
        let event = event(source, clock, &namespace, record.object, &same);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        self.written.insert(same, Written { name, count: 1, at: now });
        Ok(())
    }
}

fn event(source: &EventSource, clock: &Clock, namespace: &str, object: ObjectReference, same: &Same) -> Event {
    let time = clock.time();
    let name = object.name.as_deref().unwrap_or("unknown");
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", time.0.as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..Default::default()
        },
        involved_object: object,
        reason: Some(same.reason.to_owned()),
        message: Some(same.message.clone()),
        type_: Some(same.type_.to_string()),
        count: Some(1),
        first_timestamp: Some(time.clone()),
        last_timestamp: Some(time),
        source: Some(source.clone()),
        reporting_component: source.component.clone(),
        reporting_instance: source.host.clone(),
        ..Default::default()
    }
}

/// Cuts `text` to at most `max` bytes at a character's border.
pub fn truncate(text: &mut String, max: usize) {
    if text.len() > max {
        let mut end = max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_on_one_object_is_filtered() {
        let mut book = Book::default();
        let admitted = (0..100).filter(|_| book.admits("a", Instant::now())).count();
        assert_eq!(admitted, 25);
        assert!(book.admits("b", Instant::now()));
        tokio::time::advance(REFILL * 2).await;
        assert!(book.admits("a", Instant::now()));
    }

    #[test]
    fn truncates_at_characters() {
        let mut text = "aüb".to_owned();
        truncate(&mut text, 2);
        assert_eq!(text, "a");
    }
}
