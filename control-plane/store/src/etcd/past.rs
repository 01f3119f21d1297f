//! Revisions that memory has forgotten and etcd has not: states by range, events by a watch of their own.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};

use super::assemble::{Assembler, Part, Raw};
use super::client::Client;
use super::failure::Failure;
use super::layout::{Layout, Marker};
use super::load::{self, readable};
use super::watching::{Ended, Previous, Watching};
use crate::error::RevisionError;
use crate::history::{Chunk, Commit, Room, Slice};
use crate::snapshot::State;
use crate::types::{Changes, Event, Revision};

/// Old states that are kept: the pages of a LIST come one by one.
const KEPT: usize = 2;
/// Watches on the past at a time; further readers wait.
const READERS: usize = 4;

/// etcd's memory.
pub(crate) struct Past {
    client: Arc<Client>,
    layout: Layout,
    /// The old states that were asked for last. One is read at a time.
    kept: Mutex<VecDeque<Arc<State>>>,
    readers: Semaphore,
}

impl Past {
    pub fn new(client: Arc<Client>, layout: Layout) -> Self {
        Self { client, layout, kept: Mutex::default(), readers: Semaphore::new(READERS) }
    }

    /// Everything at `revision`.
    pub async fn state(&self, revision: Revision) -> Result<Arc<State>, RevisionError> {
        let mut kept = self.kept.lock().await;
        if let Some(state) = kept.iter().find(|state| state.revision == revision) {
            return Ok(state.clone());
        }
        let state = load::state_at(&self.client, &self.layout, revision).await;
        let state = state.map_err(|failure| error(Ended::Failed(failure), revision))?;
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(state.clone());
        Ok(state)
    }

    /// The events after `after`, up to `upto`, below `prefix`, as many as `chunk` allows.
    pub async fn events(
        &self,
        after: Revision,
        upto: Revision,
        prefix: &[u8],
        chunk: Chunk,
    ) -> Result<Slice, RevisionError> {
        let mut slice = Slice { events: Vec::new(), upto: after };
        let mut left = chunk.revisions.max(1);
        self.scan(after, upto, |commit| {
            let matching = commit.events.iter().filter(|event| event.key.starts_with(prefix));
            slice.events.extend(matching.cloned());
            slice.upto = commit.revision;
            left -= 1;
            if left == 0 || slice.events.len() >= chunk.events {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await
        .map(|end| slice.upto = slice.upto.max(end))?;
        Ok(slice)
    }

    /// Add to `page` what changed below `prefix` after `page.upto`, up to `upto`, as far as `room` allows.
    pub async fn changes(
        &self,
        mut page: Changes,
        upto: Revision,
        prefix: &[u8],
        mut room: Room,
    ) -> Result<(Changes, Room), RevisionError> {
        let end = self
            .scan(page.upto, upto, |commit| {
                if let Some(change) = commit.change(prefix) {
                    if !room.takes(&change) {
                        return ControlFlow::Break(());
                    }
                    page.changes.push(change);
                }
                page.upto = commit.revision;
                ControlFlow::Continue(())
            })
            .await?;
        page.upto = page.upto.max(end);
        Ok((page, room))
    }

    /// What happened at `revision`.
    pub async fn commit(&self, revision: Revision) -> Result<Commit, RevisionError> {
        let mut found = None;
        self.scan(revision.saturating_sub(1), revision, |commit| {
            found = Some(commit.clone());
            ControlFlow::Break(())
        })
        .await?;
        found.ok_or(RevisionError::Compacted { oldest: revision + 1 })
    }

    /// Give what happened after `after`, up to `upto`, to `each`, until it has enough. Something of ours must have
    /// happened at `upto` or later: a watch does not say that it has come to an end. Returns the revision up to which
    /// everything was given, as far as it is not the last that `each` saw.
    async fn scan(
        &self,
        after: Revision,
        upto: Revision,
        mut each: impl FnMut(&Commit) -> ControlFlow<()>,
    ) -> Result<Revision, RevisionError> {
        let _permit = self.readers.acquire().await.map_err(|_| RevisionError::Closed)?;
        let ended = |ended| error(ended, after);
        let range = self.layout.range();
        let mut watching = Watching::begin(&self.client, range, after, Previous::With).await.map_err(ended)?;
        let mut assembler = Assembler::new(self.layout.clone(), after);
        loop {
            let message = watching.within(self.client.timeouts.request).await.map_err(ended)?;
            let part = if message.fragment { Part::Continued } else { Part::Last };
            let raws = assembler.take(message.events, part).map_err(|torn| unavailable(&torn))?;
            for raw in raws {
                if raw.revision > upto {
                    return Ok(upto);
                }
                let revision = raw.revision;
                if let Some(commit) = commit(raw).map_err(|failure| ended(Ended::Failed(failure)))?
                    && each(&commit).is_break()
                {
                    return Ok(after);
                }
                if revision == upto {
                    return Ok(upto);
                }
            }
        }
    }
}

/// What `raw` says happened. `None` when it is nothing that the store knows.
fn commit(raw: Raw) -> Result<Option<Commit>, Failure> {
    let revision = raw.revision;
    let mut events = Vec::with_capacity(raw.changes.len());
    for change in raw.changes {
        let entry = change.kv.map(readable).transpose()?.flatten();
        let prev = change.prev.map(readable).transpose()?.flatten();
        if entry.is_some() || prev.is_some() {
            events.push(Arc::new(Event::new(change.key.into(), revision, entry, prev)));
        }
    }
    let (at_ms, author) = match raw.marker {
        Some((Marker { at_ms, author, .. }, _)) => (at_ms, author),
        None if events.is_empty() => return Ok(None),
        None => (0, crate::types::Author::default()),
    };
    Ok(Some(Commit { revision, at_ms, author, events: events.into() }))
}

/// What a reader of the history after `wanted` is told.
fn error(ended: Ended, wanted: Revision) -> RevisionError {
    match ended {
        Ended::Compacted(oldest) => RevisionError::Compacted { oldest },
        Ended::Failed(Failure::Compacted) => RevisionError::Compacted { oldest: wanted + 1 },
        Ended::Failed(failure) => unavailable(&failure),
    }
}

fn unavailable(reason: &dyn std::fmt::Display) -> RevisionError {
    RevisionError::Unavailable { reason: reason.to_string() }
}

impl std::fmt::Debug for Past {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Past").finish_non_exhaustive()
    }
}
