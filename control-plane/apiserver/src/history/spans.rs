//! What happened to each object between two revisions, gathered in one pass over history.

use super::revision_status;
use api::Status;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use store::{Author, Change, Entry, Key, Revision, Store};

/// Revisions that are read at a time.
const CHUNK: usize = 128;
/// Authors that are kept for one object.
const MAX_AUTHORS: usize = 16;

/// One object between two revisions.
#[derive(Clone, Debug)]
pub(super) struct Span {
    /// What it was at the first revision, and at the last.
    pub before: Option<Arc<Entry>>,
    pub after: Option<Arc<Entry>>,
    /// The newest that there was of it, if it is gone now.
    pub newest: Option<Arc<Entry>>,
    /// What it was at the revision in the middle that was asked about.
    pub planned: Option<Arc<Entry>>,
    /// In the order of their first write.
    pub authors: Vec<Author>,
    pub writes: u64,
    /// The last write.
    pub revision: Revision,
    pub at_ms: u64,
}

/// From where to where, and what of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach<'a> {
    pub after: Revision,
    pub upto: Revision,
    /// See [`Span::planned`].
    pub planned: Revision,
    pub prefix: &'a [u8],
    /// Most objects that are kept; further ones are counted.
    pub limit: usize,
}

/// What was gathered.
pub(super) struct Spans {
    pub objects: BTreeMap<Key, Span>,
    /// Writes of objects beyond the limit.
    pub omitted: u64,
}

/// Hands every change after `after` and up to `upto` to `each`, oldest first, until it says to stop.
///
/// # Errors
/// 410 for what history has forgotten.
pub(super) async fn each(
    store: &Store,
    after: Revision,
    upto: Revision,
    prefix: &[u8],
    mut each: impl FnMut(Change) -> ControlFlow<()>,
) -> Result<(), Status> {
    let mut after = after;
    while after < upto {
        let page = store.changes(after, upto, prefix, CHUNK).await.map_err(|error| revision_status(&error))?;
        after = page.upto;
        for change in page.changes {
            if each(change).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The first change after `after` and up to `upto`.
///
/// # Errors
/// As [`each`].
pub(super) async fn first(store: &Store, mut after: Revision, upto: Revision) -> Result<Option<Change>, Status> {
    while after < upto {
        let page = store.changes(after, upto, b"", 1).await.map_err(|error| revision_status(&error))?;
        if let Some(change) = page.changes.into_iter().next() {
            return Ok(Some(change));
        }
        after = page.upto;
    }
    Ok(None)
}

/// Gathers what `wanted` wants.
///
/// # Errors
/// As [`each`].
pub(super) async fn collect(
    store: &Store,
    reach: Reach<'_>,
    mut wanted: impl FnMut(&[u8]) -> bool,
) -> Result<Spans, Status> {
    let mut spans = Spans { objects: BTreeMap::new(), omitted: 0 };
    each(store, reach.after, reach.upto, reach.prefix, |change| {
        spans.add(&change, reach, &mut wanted);
        ControlFlow::Continue(())
    })
    .await?;
    Ok(spans)
}

impl Spans {
    fn add(&mut self, change: &Change, reach: Reach<'_>, wanted: &mut impl FnMut(&[u8]) -> bool) {
        for event in change.events.iter().filter(|event| wanted(&event.key)) {
            if !self.objects.contains_key(&event.key) && self.objects.len() >= reach.limit {
                self.omitted += 1;
                continue;
            }
            let span = self.objects.entry(Key::clone(&event.key)).or_insert_with(|| Span {
                before: event.prev.clone(),
                planned: event.prev.clone(),
                after: None,
                newest: None,
                authors: Vec::new(),
                writes: 0,
                revision: 0,
                at_ms: 0,
            });
            if change.revision <= reach.planned {
                span.planned.clone_from(&event.entry);
            }
            span.newest = event.entry.clone().or_else(|| event.prev.clone());
            span.after.clone_from(&event.entry);
            if span.authors.len() < MAX_AUTHORS && !span.authors.contains(&change.author) {
                span.authors.push(change.author.clone());
            }
            span.writes += 1;
            span.revision = change.revision;
            span.at_ms = change.at_ms;
        }
    }
}

/// Whoever wrote, as shown.
pub(super) fn author(author: &Author) -> String {
    if author.as_str().is_empty() { "<unknown>".into() } else { author.as_str().to_owned() }
}
