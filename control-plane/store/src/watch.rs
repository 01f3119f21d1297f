//! A watch: everything that happens below a prefix after a revision, in order, once.
//!
//! The watch pulls. It keeps nothing but its place in history: a slow one costs neither memory nor
//! a writer's time, and ends when its place is compacted away.

use std::sync::Arc;

use crate::error::{RevisionError, WatchError};
use crate::history::{Chunk, Slice};
use crate::hub::{Given, Since, Topic, View};
use crate::shared::Shared;
use crate::types::{Events, Revision};

/// One batch holds about this many events (a revision is never cut in two).
const BATCH: usize = 256;
/// One look into history passes over at most this many revisions.
const SCAN: u64 = 4_096;

/// Events in order, in whole revisions; those of one revision in the order of their keys.
#[derive(Clone, Debug)]
pub struct Batch {
    pub events: Events,
    /// Everything at or below this revision has been delivered.
    pub revision: Revision,
}

/// See [`crate::Store::watch`].
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    topic: Arc<Topic>,
    /// Of the topic's watches.
    group: usize,
    /// Everything at or below this revision has been delivered.
    delivered: Revision,
}

/// What one look found, all of it up to a revision.
struct Found {
    events: Events,
    upto: Revision,
}

impl Watch {
    pub(crate) fn new(shared: Arc<Shared>, prefix: &[u8], after: Revision) -> Result<Self, RevisionError> {
        let topic = shared.hub.subscribe(prefix);
        let group = topic.join();
        let watch = Self { shared, topic, group, delivered: after };
        let current = watch.shared.current().revision;
        if after > current {
            return Err(RevisionError::Future { current });
        }
        let oldest = watch.shared.compacted();
        if after < oldest {
            return Err(RevisionError::Compacted { oldest });
        }
        Ok(watch)
    }

    /// The next events, at least one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] when history no longer reaches back to where this watch stands.
    pub async fn next(&mut self) -> Result<Batch, WatchError> {
        loop {
            let changed = self.topic.changed(self.group);
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.shared.hub.is_closed() {
                return Err(WatchError::Closed);
            }
            match self.look(View::Group(self.group)).await? {
                Some(slice) => {
                    self.delivered = self.delivered.max(slice.upto);
                    if !slice.events.is_empty() {
                        return Ok(Batch { events: slice.events, revision: self.delivered });
                    }
                    tokio::task::consume_budget().await;
                }
                None => changed.await,
            }
        }
    }

    /// The events that are there already, without waiting; `None` when there are none.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub async fn try_next(&mut self) -> Result<Option<Batch>, WatchError> {
        loop {
            let Some(slice) = self.look(View::Everything).await? else { return Ok(None) };
            self.delivered = self.delivered.max(slice.upto);
            if !slice.events.is_empty() {
                return Ok(Some(Batch { events: slice.events, revision: self.delivered }));
            }
        }
    }

    /// The revision up to which everything has been delivered, brought up to date: what a bookmark
    /// may claim.
    pub fn progress(&mut self) -> Revision {
        let known = self.shared.hub.revision();
        if known > self.delivered && self.topic.is_quiet(self.delivered, View::Everything) {
            self.delivered = known;
        }
        self.delivered
    }

    /// One look, which may pass over other prefixes' events only; `None` when nothing happened.
    async fn look(&self, view: View) -> Result<Option<Found>, WatchError> {
        let slice = match self.topic.since(self.delivered, BATCH, view) {
            Since::Quiet => return Ok(None),
            Since::Given(given) => return Ok(Some(Found { events: given.events, upto: given.upto })),
            Since::Changed(revisions) => {
                let first = revisions[0];
                match self.shared.history.pick(revisions.into_iter(), self.topic.prefix()) {
                    Ok(slice) => {
                        let found = Given { first, upto: slice.upto, events: slice.events.into() };
                        let Given { events, upto, .. } = match view {
                            View::Group(group) => self.topic.share(group, found),
                            View::Everything => found,
                        };
                        return Ok(Some(Found { events, upto }));
                    }
                    Err(_) => self.read_on(first - 1).await?,
                }
            }
            Since::Unknown => self.read_on(self.delivered).await?,
        };
        Ok(Some(Found { events: slice.events.into(), upto: slice.upto }))
    }

    /// Events after `after` from history, wherever it is.
    async fn read_on(&self, after: Revision) -> Result<Slice, WatchError> {
        let oldest = self.shared.compacted();
        if after < oldest {
            return Err(WatchError::Compacted { oldest });
        }
        let chunk = Chunk { events: BATCH, revisions: SCAN };
        match self.shared.history.read(after, self.topic.prefix(), chunk) {
            Ok(slice) => Ok(slice),
            // Boxed: ten thousand watches wait here, and hardly one of them ever reads the disk.
            Err(old) => Box::pin(self.shared.read_disk(after, &old, self.topic.prefix(), chunk)).await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.hub.unsubscribe(&self.topic);
    }
}
