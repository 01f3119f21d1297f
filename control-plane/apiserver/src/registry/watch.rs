//! Watches: a chunked stream of JSON lines. Pulled by the client: a slow one holds back nothing but itself, reads on
//! from the store's history, and ends with 410 when it falls behind what that holds.

use super::Call;
use super::frames::{Encoder, Frame};
use super::selection::Selection;
use crate::config::Limits;
use crate::core::read_status;
use crate::request::{ListOptions, Version};
use crate::respond;
use api::{Reason, Status, Verb};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;
use store::{Batch, Revision, RevisionError, Snapshot, WatchError};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// How much of the initial state, or of a backlog, is put together at a time.
const CHUNK: usize = 64 * 1024;

/// # Errors
/// 400 and 422 for bad options. A revision that is gone is no error here but an ERROR event, as in Kubernetes.
pub(super) async fn watch(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let options = ListOptions::parse(&call.query, Verb::Watch, call.resource)?;
    let selection = Selection::new(call.resource, call.namespace(), call.name(), &options);
    let encoder = Encoder::new(call);
    let stream = match Start::of(call, &options).await? {
        Start::At { revision, initial } => match call.core.store.watch(&selection.prefix, revision) {
            Ok(watch) => Watcher::stream(Watcher {
                watch,
                initial,
                selection,
                encoder,
                bookmarks: options.bookmarks.then(|| bookmark_timer(&call.core.limits)),
                deadline: Box::pin(tokio::time::sleep(duration(&options, &call.core.limits))),
                shutdown: Box::pin(call.core.shutdown.clone().cancelled_owned()),
                state: State::Open,
            }),
            Err(error) => one(encoder.error(&revision_error(&error, revision))),
        },
        Start::Gone(status) => one(encoder.error(&status)),
    };
    Ok(respond::plain(StatusCode::OK, "application/json", stream))
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
    At {
        revision: Revision,
        initial: Option<Initial>,
    },
    Gone(Status),
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
                Err(status) if options.send_initial_events == Some(true) => return Err(status),
                // The store has been put back, or was another one: only a new list helps the client, and this tells it so.
                Err(status) if status.reason != Reason::Timeout => return Err(status),
                Err(_) => return Ok(Self::Gone(too_old(wanted, call.core.store.revision()))),
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
    /// The last frame has been sent.
    Ended,
}

struct Watcher {
    watch: store::Watch,
    initial: Option<Initial>,
    selection: Selection,
    encoder: Encoder,
    bookmarks: Option<Interval>,
    // Both registered once, not at every event: ten thousand watchers wake at the same one.
    deadline: Pin<Box<Sleep>>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    state: State,
}

enum Step {
    Batch(Result<Batch, WatchError>),
    Bookmark,
    End,
}

impl Watcher {
    fn stream(self) -> Body {
        Body::from_stream(futures::stream::unfold(self, |mut watcher| async move {
            let frame = watcher.next().await?;
            Some((Ok::<_, Infallible>(frame), watcher))
        }))
    }

    /// The next bytes to send; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.state == State::Ended {
                return None;
            }
            if let Some(bytes) = self.replay() {
                return Some(bytes);
            }
            match self.step().await {
                Step::Batch(Ok(batch)) => {
                    if let Some(bytes) = self.frames(&batch) {
                        return Some(bytes);
                    }
                }
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
                Step::End => return None,
            }
        }
    }

    async fn step(&mut self) -> Step {
        let bookmark = async {
            match &mut self.bookmarks {
                Some(timer) => _ = timer.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.as_mut() => Step::End,
            () = self.deadline.as_mut() => Step::End,
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

    /// What of a batch this watcher is to see; `None` when that is nothing.
    fn frames(&mut self, batch: &Batch) -> Option<Bytes> {
        let mut single: Option<Bytes> = None;
        let mut joined: Option<BytesMut> = None;
        for event in &batch.events {
            let Some(frame) = self.encoder.event(&self.selection, event) else { continue };
            match (&mut joined, single.take()) {
                (Some(out), _) => out.extend_from_slice(&frame),
                (None, None) => single = Some(frame),
                (None, Some(first)) => {
                    let mut out = BytesMut::with_capacity((first.len() + frame.len()) * 2);
                    out.extend_from_slice(&first);
                    out.extend_from_slice(&frame);
                    joined = Some(out);
                }
            }
        }
        joined.map(BytesMut::freeze).or(single)
    }
}
