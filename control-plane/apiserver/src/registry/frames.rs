//! Watch events as lines of JSON. A plain event is encoded once and shared by all watchers of it.

use super::Call;
use super::selection::Selection;
use crate::negotiate::{Owners, Shape};
use crate::objects::{self, wire};
use api::table::{self, IncludeObject};
use api::{Resource, Status};
use bytes::{BufMut as _, Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Entry, Event, Events, Revision};

/// What a bookmark says beside its revision.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    Plain,
    /// The initial state has been sent (`k8s.io/initial-events-end`).
    InitialEventsEnd,
}

/// Whether the line of an event is the same for all watchers who see all of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Shared,
    Own,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Added,
    Modified,
    Deleted,
}

impl Kind {
    const fn head(self) -> &'static [u8] {
        match self {
            Self::Added => br#"{"type":"ADDED","object":"#,
            Self::Modified => br#"{"type":"MODIFIED","object":"#,
            Self::Deleted => br#"{"type":"DELETED","object":"#,
        }
    }
}

/// How one watcher wants its events.
pub(super) struct Encoder {
    resource: Arc<Resource>,
    shape: Shape,
    native: bool,
    owners: Owners,
    /// Tables carry their columns once.
    columns_sent: bool,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Encoder {
    pub(super) fn new(call: &Call<'_>) -> Self {
        let core = Arc::clone(call.core);
        Self {
            resource: Arc::clone(call.resource),
            shape: call.accept.shape,
            native: wire::is_native(call.resource),
            owners: call.accept.owners,
            columns_sent: false,
            clock: Arc::new(move || core.now()),
        }
    }

    /// The lines of `events`, if they are the same for all who see all of them, and `most` bytes or less.
    pub(super) fn joined(&mut self, selection: &Selection, events: &Events, most: usize) -> Option<Bytes> {
        let is_shared = selection.is_everything() && self.shape == Shape::Full && self.native;
        if !is_shared || events.len() < 2 {
            return None;
        }
        events.joined(self.form(), |events| {
            let mut room = most;
            let mut lines = Vec::with_capacity(events.len());
            for line in events.iter().filter_map(|event| self.event(selection, event)) {
                room = room.checked_sub(line.len())?;
                lines.push(line);
            }
            Some(lines.concat().into())
        })
    }

    /// Which of the shared forms of an event this watcher is sent.
    const fn form(&self) -> usize {
        match self.owners {
            Owners::Shown => 0,
            Owners::Hidden => 1,
        }
    }

    /// The line that `event` is to this watcher: an object that begins or ceases to match is added or deleted.
    pub(super) fn event(&mut self, selection: &Selection, event: &Event) -> Option<Bytes> {
        self.change(selection, event, (event.prev.as_ref(), event.entry.as_ref()), Line::Shared)
    }

    /// The same for an event whose entries are shown as others than are stored.
    pub(super) fn change(
        &mut self,
        selection: &Selection,
        event: &Event,
        (prev, entry): (Option<&Arc<Entry>>, Option<&Arc<Entry>>),
        form: Line,
    ) -> Option<Bytes> {
        let plain = match (prev, entry) {
            (None, Some(_)) => Kind::Added,
            (Some(_), Some(_)) => Kind::Modified,
            (_, None) => Kind::Deleted,
        };
        let selected = |entry: Option<&Arc<Entry>>| entry.is_some_and(|e| selection.matches(&event.key, e));
        let kind = if selection.is_everything() {
            plain
        } else {
            match (selected(prev), selected(entry)) {
                (false, false) => return None,
                (false, true) => Kind::Added,
                (true, true) => Kind::Modified,
                (true, false) => Kind::Deleted,
            }
        };
        let shown = if kind == Kind::Deleted { prev? } else { entry? };
        let (owners, number) = (self.owners, self.form());
        let is_shared = self.shape == Shape::Full && self.native && kind == plain && form == Line::Shared;
        let mut encode = || match owners {
            Owners::Shown => self.line(kind, shown, event.revision),
            Owners::Hidden => self.line(kind, &objects::without_owners(shown), event.revision),
        };
        if !is_shared {
            return Some(encode());
        }
        Some(event.encoded(number, encode))
    }

    fn line(&mut self, kind: Kind, entry: &Entry, revision: Revision) -> Bytes {
        let mut out = BytesMut::with_capacity(entry.value.body.len() + wire::VERSION_ROOM + 40);
        self.put(&mut out, kind, entry, revision);
        out.freeze()
    }

    /// Appends an object of the initial state.
    pub(super) fn added(&mut self, out: &mut BytesMut, entry: &Entry) {
        match self.owners {
            Owners::Shown => self.put(out, Kind::Added, entry, entry.mod_revision),
            Owners::Hidden => self.put(out, Kind::Added, &objects::without_owners(entry), entry.mod_revision),
        }
    }

    fn put(&mut self, out: &mut BytesMut, kind: Kind, entry: &Entry, revision: Revision) {
        let body = &entry.value.body;
        out.put_slice(kind.head());
        match self.shape {
            Shape::Full if self.native => wire::put_object(out, &self.resource, body, revision),
            Shape::Metadata(_) => wire::put_metadata_only(out, &self.resource, body, Some(revision)),
            Shape::Full | Shape::Table(_) => {
                let object =
                    objects::parse(&self.resource, body, Some(revision)).unwrap_or_else(|error| error.to_value());
                let shown = match self.shape {
                    Shape::Table(include) => self.table(&[object], &revision.to_string(), include),
                    _ => object,
                };
                put_value(out, &shown);
            }
        }
        out.put_slice(b"}\n");
    }

    fn table(&mut self, objects: &[Value], revision: &str, include: IncludeObject) -> Value {
        let context = table::Context { wide: true, now: (self.clock)() };
        let mut table = table::render(&self.resource, objects, json!({"resourceVersion": revision}), &context, include);
        if std::mem::replace(&mut self.columns_sent, true) {
            table["columnDefinitions"] = Value::Null;
        }
        table
    }

    pub(super) fn bookmark(&mut self, revision: Revision, frame: Frame) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if frame == Frame::InitialEventsEnd {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.shape {
            Shape::Full => {
                json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata})
            }
            Shape::Metadata(_) => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Shape::Table(include) => {
                let mut table = self.table(&[], "", include);
                table["metadata"] = metadata;
                table
            }
        };
        special("BOOKMARK", &object)
    }

    pub(super) fn error(&self, status: &Status) -> Bytes {
        special("ERROR", &status.to_value())
    }
}

fn special(kind: &str, object: &Value) -> Bytes {
    let mut out = BytesMut::with_capacity(256);
    put_value(&mut out, &json!({"type": kind, "object": object}));
    out.put_u8(b'\n');
    out.freeze()
}

fn put_value(out: &mut BytesMut, value: &Value) {
    serde_json::to_writer(out.writer(), value).expect("writing to memory cannot fail");
}
