//! Watches: a chunked stream of JSON lines. Pulled by the client: a slow one holds back nothing but itself, reads on
//! from the store's history, and ends with 410 when it falls behind what that holds.

use super::Call;
use super::frames::{Encoder, Frame, Line};
use super::selection::Selection;
use crate::config::Limits;
use crate::core::Core;
use crate::core::read_status;
use crate::crd::present;
use crate::negotiate::{Format, not_acceptable};
use crate::request::{ListOptions, Version};
use crate::respond;
use api::{Reason, Status, Verb};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::{Response, StatusCode};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use store::{Batch, Entry, Event, Events, Revision, RevisionError, Snapshot, WatchError};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How much of the initial state, or of a backlog, is put together at a time.
const CHUNK: usize = 64 * 1024;
/// Bytes after which a frame is full. A slow watcher keeps as much as the connection collects before it writes
/// (256 KiB), a frame more, and what is encrypted already (256 KiB); but for larger single events.
const FRAME: usize = 64 * 1024;
/// Entries of a custom kind that are looked at together.
const REPLAYED: usize = 256;

/// # Errors
/// 400 and 422 for bad options. A revision that is gone, or never comes, is no error here but an ERROR event, as in
/// Kubernetes.
pub(super) async fn watch(call: &Call<'_>) -> Result<Response<Body>, Status> {
    if call.accept.format == Format::Yaml {
        return Err(not_acceptable("application/json, application/json;stream=watch"));
    }
    let options = ListOptions::parse(&call.query, Verb::Watch, call.resource)?;
    let selection = Selection::new(call.resource, call.namespace(), call.name(), &options);
    let encoder = Encoder::new(call);
    let stream = match Start::of(call, &options).await? {
        Start::At { revision, initial } => match call.core.store.watch(&selection.prefix, revision) {
            Ok(watch) => Watcher::stream(Watcher {
                watch,
                pending: Pending::default(),
                initial,
                selection,
                encoder,
                bookmarks: options.bookmarks.then(|| bookmark_timer(&call.core.limits)),
                deadline: Box::pin(tokio::time::sleep(duration(&options, &call.core.limits))),
                shutdown: Box::pin(end(call).cancelled_owned()),
                core: Arc::clone(call.core),
                state: State::Open,
            }),
            Err(error) => one(encoder.error(&revision_error(&error, revision))),
        },
        Start::Failed(status) => one(encoder.error(&status)),
    };
    Ok(respond::plain(StatusCode::OK, "application/json", stream))
}

/// What ends a watch before its time: the server's end, or that of its kind.
fn end(call: &Call<'_>) -> CancellationToken {
    call.core.catalog().life(call.resource).unwrap_or_else(|| call.core.shutdown.clone())
}

fn one(frame: Bytes) -> Body {
    Body::from(frame)
}

fn revision_error(error: &RevisionError, wanted: Revision) -> Status {
    match error {
        RevisionError::Compacted { oldest } => too_old(wanted, *oldest),
        RevisionError::Future { current } => too_old(wanted, *current),
        other => read_status(other),
    }
}

fn too_old(wanted: Revision, known: Revision) -> Status {
    Status::expired(format!("too old resource version: {wanted} ({known})"))
}

fn duration(options: &ListOptions, limits: &Limits) -> Duration {
    options.timeout.unwrap_or_else(|| limits.watch_timeout.mul_f64(1.0 + rand::random::<f64>()))
}

fn bookmark_timer(limits: &Limits) -> Interval {
    let every = limits.bookmark_interval;
    let mut timer = tokio::time::interval_at(Instant::now() + every, every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

/// Where a watch begins.
enum Start {
    /// After `revision`; before that, the state of `initial` as ADDED events.
    At { revision: Revision, initial: Option<Initial> },
    /// With nothing but an ERROR event.
    Failed(Status),
}

struct Initial {
    snapshot: Snapshot,
    /// The last key that was sent.
    after: Option<Vec<u8>>,
    end: InitialEnd,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InitialEnd {
    Silent,
    /// A bookmark with `k8s.io/initial-events-end`.
    Bookmark,
}

impl Start {
    async fn of(call: &Call<'_>, options: &ListOptions) -> Result<Self, Status> {
        let snapshot = match options.version {
            Version::Unset => call.core.latest().await?,
            Version::Any => call.core.store.snapshot(),
            Version::At(wanted) => match call.core.reached(wanted).await {
                Ok(snapshot) => snapshot,
                Err(status) if status.reason != Reason::Timeout => return Err(status),
                Err(status) if options.send_initial_events == Some(true) => return Ok(Self::Failed(status)),
                // The store has been put back, or was another one: only a new list helps the client, and this tells it so.
                // Kubernetes would be silent until the revision has passed (ADR 23).
                Err(_) => return Ok(Self::Failed(too_old(wanted, call.core.store.revision()))),
            },
        };
        let current = snapshot.revision();
        let replay = |end| Self::At {
            revision: current,
            initial: Some(Initial { snapshot: snapshot.clone(), after: None, end }),
        };
        Ok(match (options.send_initial_events, options.version) {
            (Some(true), _) if options.bookmarks => replay(InitialEnd::Bookmark),
            (Some(true), _) | (None, Version::Unset | Version::Any) => replay(InitialEnd::Silent),
            (Some(false), Version::Unset | Version::Any) => Self::At { revision: current, initial: None },
            (Some(false) | None, Version::At(revision)) => Self::At { revision, initial: None },
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The kind is no longer served: what happened before that is still told.
    Draining,
    /// The last frame has been sent.
    Ended,
}

struct Watcher {
    watch: store::Watch,
    /// Events that have been taken from `watch` and are still to be sent.
    pending: Pending,
    initial: Option<Initial>,
    selection: Selection,
    encoder: Encoder,
    bookmarks: Option<Interval>,
    // Both registered once, not at every event: ten thousand watchers wake at the same one.
    deadline: Pin<Box<Sleep>>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    core: Arc<Core>,
    state: State,
}

/// The events of a batch from one of them on.
#[derive(Default)]
struct Pending {
    events: Events,
    at: usize,
}

impl Pending {
    fn next(&mut self) -> Option<Arc<Event>> {
        let event = self.events.get(self.at).cloned();
        self.at += 1;
        if self.at >= self.events.len() {
            *self = Self::default();
        }
        event
    }

    fn len(&self) -> usize {
        self.events.len() - self.at
    }
}

enum Step {
    Batch(Result<Batch, WatchError>),
    Bookmark,
    /// The watch has lasted as long as it may.
    Timeout,
    End,
}

impl Watcher {
    fn stream(self) -> Body {
        Body::from_stream(self.pieces())
    }

    /// As small as can be while nothing happens: what is seldom awaited is boxed.
    fn pieces(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        // Boxed, because the stream would hold it twice: at rest, and in the future of its next piece.
        futures::stream::unfold(Box::new(self), |mut watcher| async move {
            let frame = watcher.next().await?;
            Some((Ok::<_, Infallible>(frame), watcher))
        })
    }

    /// The next bytes to send; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.state == State::Ended {
                return None;
            }
            let replayed = if self.selection.resource.custom.is_some() {
                Box::pin(self.replay_custom()).await
            } else {
                Ok(self.replay())
            };
            match replayed {
                Ok(None) => {}
                Ok(Some(bytes)) => return Some(bytes),
                Err(error) => return self.fail(&error),
            }
            match self.frame().await {
                Ok(None) => {}
                Ok(Some(bytes)) => return Some(bytes),
                Err(error) => return self.fail(&error),
            }
            match self.step().await {
                Step::Batch(Ok(batch)) => self.pending = Pending { events: batch.events, at: 0 },
                Step::Batch(Err(error)) => {
                    self.state = State::Ended;
                    return match error {
                        WatchError::Compacted { oldest } => {
                            Some(self.encoder.error(&too_old(self.watch.progress(), oldest)))
                        }
                        WatchError::Closed => None,
                        other @ WatchError::Io(_) => Some(self.encoder.error(&Status::internal(other))),
                    };
                }
                Step::Bookmark => {
                    let revision = self.watch.progress();
                    return Some(self.encoder.bookmark(revision, Frame::Plain));
                }
                // The client takes up from here: let it know how far that is.
                Step::Timeout if self.bookmarks.is_some() => {
                    self.state = State::Ended;
                    let revision = self.watch.progress();
                    return Some(self.encoder.bookmark(revision, Frame::Plain));
                }
                Step::End if self.state == State::Open && self.selection.resource.custom.is_some() => {
                    self.state = State::Draining;
                }
                Step::End | Step::Timeout => return None,
            }
        }
    }

    async fn step(&mut self) -> Step {
        if self.state == State::Draining {
            return match self.watch.try_next().await {
                Ok(Some(batch)) => Step::Batch(Ok(batch)),
                _ => {
                    self.state = State::Ended;
                    Step::End
                }
            };
        }
        let bookmark = async {
            match &mut self.bookmarks {
                Some(timer) => _ = timer.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.as_mut() => Step::End,
            () = self.deadline.as_mut() => Step::Timeout,
            batch = self.watch.next() => Step::Batch(batch),
            () = bookmark => Step::Bookmark,
        }
    }

    /// A piece of the initial state; `None` when there is none left to send.
    fn replay(&mut self) -> Option<Bytes> {
        let mut initial = self.initial.take()?;
        let mut out = BytesMut::new();
        let mut last = None;
        for (key, entry) in initial.snapshot.range(&self.selection.prefix, initial.after.as_deref()) {
            if self.selection.matches(key, entry) {
                self.encoder.added(&mut out, entry);
            }
            if out.len() >= CHUNK {
                last = Some(key.to_vec());
                break;
            }
        }
        if let Some(last) = last {
            initial.after = Some(last);
            self.initial = Some(initial);
            return Some(out.freeze());
        }
        if initial.end == InitialEnd::Bookmark {
            out.extend_from_slice(&self.encoder.bookmark(initial.snapshot.revision(), Frame::InitialEventsEnd));
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    /// The last frame: why the watch cannot go on.
    fn fail(&mut self, error: &Status) -> Option<Bytes> {
        self.state = State::Ended;
        Some(self.encoder.error(error))
    }

    /// [`Self::replay`] of a custom kind, whose entries may have to be brought up to date.
    async fn replay_custom(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(mut initial) = self.initial.take() else { return Ok(None) };
        let mut out = BytesMut::new();
        loop {
            let range = initial.snapshot.range(&self.selection.prefix, initial.after.as_deref()).take(REPLAYED);
            let (keys, mut entries): (Vec<Vec<u8>>, Vec<Arc<Entry>>) =
                range.map(|(key, entry)| (key.to_vec(), Arc::clone(entry))).unzip();
            let Some(last) = keys.last().cloned() else { break };
            present::show(&self.core, &self.selection.resource, &mut entries).await?;
            for (_, entry) in keys.iter().zip(&entries).filter(|(key, entry)| self.selection.matches(key, entry)) {
                self.encoder.added(&mut out, entry);
            }
            initial.after = Some(last);
            if out.len() >= CHUNK {
                self.initial = Some(initial);
                return Ok(Some(out.freeze()));
            }
        }
        if initial.end == InitialEnd::Bookmark {
            out.extend_from_slice(&self.encoder.bookmark(initial.snapshot.revision(), Frame::InitialEventsEnd));
        }
        Ok((!out.is_empty()).then(|| out.freeze()))
    }

    fn is_shown_as_stored(&self, event: &Event) -> bool {
        let resource = &self.selection.resource;
        let current = |entry: &Option<Arc<Entry>>| entry.as_ref().is_none_or(|e| present::is_current(resource, e));
        resource.custom.is_none() || current(&event.prev) && current(&event.entry)
    }

    /// What the crowd shares, if all that is pending belongs to it.
    fn joined(&mut self) -> Option<Bytes> {
        let events = &self.pending.events;
        if self.pending.at > 0 || !events.iter().all(|event| self.is_shown_as_stored(event)) {
            return None;
        }
        let joined = self.encoder.joined(&self.selection, events, FRAME)?;
        self.pending = Pending::default();
        Some(joined)
    }

    /// The line of one event.
    async fn line(&mut self, event: &Event) -> Result<Option<Bytes>, Status> {
        let resource = &self.selection.resource;
        if self.is_shown_as_stored(event) {
            return Ok(self.encoder.event(&self.selection, event));
        }
        let mut shown = [event.prev.clone(), event.entry.clone()];
        for entry in shown.iter_mut().flatten() {
            *entry = Box::pin(present::one(&self.core, resource, entry)).await?;
        }
        let [prev, entry] = &shown;
        Ok(self.encoder.change(&self.selection, event, (prev.as_ref(), entry.as_ref()), Line::Own))
    }

    /// What of the pending events this watcher is to see, up to a frame full of it; `None` when that is nothing.
    async fn frame(&mut self) -> Result<Option<Bytes>, Status> {
        if let Some(joined) = self.joined() {
            return Ok(Some(joined));
        }
        let mut single: Option<Bytes> = None;
        let mut joined: Option<BytesMut> = None;
        while let Some(event) = self.pending.next() {
            let Some(line) = self.line(&event).await? else { continue };
            match (&mut joined, single.take()) {
                (Some(out), _) => out.extend_from_slice(&line),
                (None, None) => single = Some(line),
                (None, Some(first)) => {
                    let expected = (first.len() + line.len()) / 2 * (self.pending.len() + 3);
                    let mut out = BytesMut::with_capacity(expected.min(FRAME + line.len()));
                    out.extend_from_slice(&first);
                    out.extend_from_slice(&line);
                    joined = Some(out);
                }
            }
            let length = joined.as_ref().map_or_else(|| single.as_ref().map_or(0, Bytes::len), BytesMut::len);
            if length >= FRAME {
                break;
            }
        }
        Ok(joined.map(BytesMut::freeze).or(single))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_result<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn ten_thousand_idle_watches_fit_into_some_megabytes() {
        let size = size_of::<Watcher>() + size_of_result(Watcher::pieces);
        assert!(size <= 4096, "{size} bytes a watch, {} of them its state", size_of::<Watcher>());
    }
}
