//! Kubernetes Events: recorded without waiting, aggregated, bounded.
//!
//! The same event again bumps the count of the first; more than ten events of one reason on one object within ten
//! minutes are combined into one; an object that keeps producing events is cut to one every five minutes after 25.
//! A full queue drops the event: events are for people, never for correctness.

use super::access::{Access, Kind};
use crate::clock::Clock;
use crate::k8s::api::core::v1::{Event, EventSource, ObjectReference};
use crate::k8s::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use tokio::sync::mpsc;
use tracing::{Instrument, debug};

const QUEUE: usize = 1000;
/// Remembered events and objects; the memory is emptied when it grows beyond.
const REMEMBERED: usize = 4096;
const COMBINE_AFTER: usize = 10;
const COMBINE_WITHIN: SignedDuration = SignedDuration::from_mins(10);
const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    Normal,
    Warning,
}

impl Severity {
    fn text(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One thing worth telling.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub severity: Severity,
    pub reason: String,
    pub message: String,
}

impl Note {
    #[must_use]
    pub fn normal(reason: &str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Normal, reason: reason.to_owned(), message: message.into() }
    }

    #[must_use]
    pub fn warning(reason: &str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, reason: reason.to_owned(), message: message.into() }
    }
}

/// Records events of one component. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Recorded>,
    component: &'static str,
}

struct Recorded {
    about: ObjectReference,
    component: &'static str,
    note: Note,
}

impl Recorder {
    /// Starts the writing task; it ends when all recorders are gone.
    pub fn start(access: Access, clock: Clock, tasks: &mut tokio::task::JoinSet<()>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = Writer { access, clock, memory: Memory::default() };
        tasks.spawn(writer.run(receiver).instrument(tracing::info_span!("events")));
        Self { sender, component: super::access::MANAGER }
    }

    /// The same recorder for another component.
    #[must_use]
    pub fn named(&self, component: &'static str) -> Self {
        Self { sender: self.sender.clone(), component }
    }

    pub fn record<K: Kind>(&self, object: &K, note: Note) {
        self.record_about(reference(object), note);
    }

    pub fn record_about(&self, about: ObjectReference, note: Note) {
        let recorded = Recorded { about, component: self.component, note };
        if self.sender.try_send(recorded).is_err() {
            debug!("an event was dropped: the queue is full");
        }
    }
}

/// A reference to the object, as events carry it.
#[must_use]
pub fn reference<K: Kind>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

struct Writer {
    access: Access,
    clock: Clock,
    memory: Memory,
}

/// What to write for a recorded event.
#[derive(Debug, PartialEq)]
enum Step {
    Create {
        message: String,
    },
    /// The event `name` happened for the `count`th time.
    Bump {
        namespace: String,
        name: String,
        count: i32,
        message: String,
    },
    Drop,
}

type Topic = (String, &'static str, &'static str, String);

#[derive(Default)]
struct Memory {
    written: HashMap<(Topic, String), Written>,
    similar: HashMap<Topic, Similar>,
    budgets: HashMap<String, (f64, Timestamp)>,
}

struct Written {
    namespace: String,
    name: String,
    count: i32,
}

struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

impl Memory {
    fn step(&mut self, event: &Recorded, now: Timestamp) -> (Step, (Topic, String)) {
        if self.written.len() > REMEMBERED || self.budgets.len() > REMEMBERED {
            *self = Self::default();
        }
        let uid = event.about.uid.clone().or_else(|| event.about.name.clone()).unwrap_or_default();
        let topic: Topic = (uid.clone(), event.component, event.note.severity.text(), event.note.reason.clone());
        let message = self.combine(&topic, &event.note.message, now);
        let slot = if message == event.note.message { message.clone() } else { String::new() };
        let slot = (topic, slot);
        if !self.afford(&uid, now) {
            return (Step::Drop, slot);
        }
        let step = match self.written.get_mut(&slot) {
            Some(written) => {
                written.count += 1;
                let (namespace, name) = (written.namespace.clone(), written.name.clone());
                Step::Bump { namespace, name, count: written.count, message }
            }
            None => Step::Create { message },
        };
        (step, slot)
    }

    fn combine(&mut self, topic: &Topic, message: &str, now: Timestamp) -> String {
        let similar =
            self.similar.entry(topic.clone()).or_insert_with(|| Similar { messages: HashSet::new(), last: now });
        if now.duration_since(similar.last) > COMBINE_WITHIN {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() < COMBINE_AFTER {
            similar.messages.insert(message.to_owned());
        }
        if similar.messages.len() >= COMBINE_AFTER && !similar.messages.contains(message) {
            return format!("(combined from similar events): {message}");
        }
        message.to_owned()
    }

    fn afford(&mut self, uid: &str, now: Timestamp) -> bool {
        let (tokens, since) = self.budgets.entry(uid.to_owned()).or_insert((BURST, now));
        *tokens = (*tokens + now.duration_since(*since).as_secs_f64() * REFILL_PER_SECOND).min(BURST);
        *since = now;
        let affordable = *tokens >= 1.0;
        if affordable {
            *tokens -= 1.0;
        }
        affordable
    }
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Recorded>) {
        while let Some(event) = receiver.recv().await {
            let now = self.clock.now();
            let (step, slot) = self.memory.step(&event, now);
            let outcome = match step {
                Step::Drop => Ok(()),
                Step::Bump { namespace, name, count, message } => {
                    let patch = json!({"count": count, "lastTimestamp": Time(now), "message": message});
                    let key = super::key::Key::new(&namespace, &name);
                    self.access.patch::<Event>(&key, &patch).await.map(|_| ())
                }
                Step::Create { message } => {
                    let fresh = fresh(&event, message, now);
                    let written = Written {
                        namespace: fresh.metadata.namespace.clone().unwrap_or_default(),
                        name: fresh.metadata.name.clone().unwrap_or_default(),
                        count: 1,
                    };
                    self.memory.written.insert(slot.clone(), written);
                    self.access.create(&fresh).await.map(|_| ())
                }
            };
            if let Err(error) = outcome {
                // Expired or refused: the next one starts anew.
                self.memory.written.remove(&slot);
                debug!(%error, "an event could not be written");
            }
        }
    }
}

fn fresh(event: &Recorded, message: String, now: Timestamp) -> Event {
    let about = &event.about;
    let namespace = about.namespace.clone().unwrap_or_else(|| "default".into());
    // Unique enough, and sorts by time: what Kubernetes does.
    let name = format!("{}.{:x}", about.name.as_deref().unwrap_or_default(), now.as_nanosecond());
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
        involved_object: about.clone(),
        reason: Some(event.note.reason.clone()),
        message: Some(message),
        type_: Some(event.note.severity.text().into()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource { component: Some(event.component.into()), host: None }),
        reporting_component: Some(event.component.into()),
        reporting_instance: Some(String::new()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(message: &str) -> Recorded {
        let about = ObjectReference { uid: Some("u".into()), ..ObjectReference::default() };
        Recorded { about, component: "test", note: Note::normal("Reason", message) }
    }

    #[test]
    fn repeats_bump_and_many_similar_ones_combine() {
        let mut memory = Memory::default();
        let now = Timestamp::UNIX_EPOCH;
        let mut play = |message: &str| {
            let (step, slot) = memory.step(&recorded(message), now);
            if matches!(step, Step::Create { .. }) {
                let written = Written { namespace: "ns".into(), name: message.into(), count: 1 };
                memory.written.insert(slot, written);
            }
            step
        };
        assert!(matches!(play("one"), Step::Create { .. }));
        assert!(matches!(play("one"), Step::Bump { count: 2, .. }));
        for n in 0..9 {
            play(&format!("other {n}"));
        }
        assert_eq!(play("eleven"), Step::Create { message: "(combined from similar events): eleven".into() });
        assert!(matches!(play("twelve"), Step::Bump { count: 2, name, .. } if name == "eleven"));
        let drops = (0..30).filter(|_| play("one") == Step::Drop).count();
        assert!(drops >= 15, "the budget of an object is 25: {drops}");
    }
}
