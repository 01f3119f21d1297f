//! The feed: one etcd watch on everything below the prefix, and what it shows goes into memory, revision by revision.
//! The only writer of the store's state.
//!
//! A watch that breaks is begun again behind the last revision that was taken. Where etcd has forgotten what came since,
//! the state is read anew and every watch of the store that stood below it ends with `Compacted`: nobody misses an
//! event without being told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::assemble::{Assembler, Part, Raw, Torn};
use super::backend::Core;
use super::failure::Failure;
use super::layout::{Marker, key_of};
use super::load::{self, Loaded, readable};
use super::proto::{self, RangeRequest, RangeResponse, WatchResponse, signed, unsigned};
use super::watching::{Ended, Previous, Watching};
use crate::history::Commit;
use crate::snapshot::{Root, State};
use crate::types::{Event, Revision};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Where the feed stands.
pub(crate) struct Feed {
    core: Arc<Core>,
    /// etcd's revision up to which everything has been taken.
    upto: Revision,
    /// The last marker: proof that etcd still is what it was.
    marker: (Revision, Vec<u8>),
}

/// Why the watch has to begin again.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Watch(#[from] Ended),
    /// What etcd says does not follow from what it said before.
    #[error("etcd's watch makes no sense: {0}")]
    Nonsense(String),
    #[error("another connection took over")]
    Moved,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Watch(Ended::Failed(failure))
    }
}

impl From<Torn> for Broken {
    fn from(torn: Torn) -> Self {
        Self::Nonsense(torn.to_string())
    }
}

impl Feed {
    pub fn new(core: Arc<Core>, upto: Revision, marker: (Revision, Vec<u8>)) -> Self {
        Self { core, upto, marker }
    }

    /// Follow etcd for as long as the store is open.
    pub async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let before = self.upto;
            let Err(broken) = self.follow().await;
            self.core.attached.send_replace(false);
            if self.upto != before {
                pause = FIRST_PAUSE;
            }
            tracing::debug!(%broken, after = self.upto, "the watch on etcd is begun again");
            let reloaded = match &broken {
                Broken::Watch(Ended::Compacted(_)) | Broken::Nonsense(_) => self.reload(&broken).await,
                Broken::Watch(Ended::Failed(_)) | Broken::Moved => Ok(()),
            };
            if let Err(failure) = reloaded {
                self.core.health.down(&failure.to_string());
            }
            if !matches!(broken, Broken::Moved) {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Take what the watch shows until it breaks.
    async fn follow(&mut self) -> Result<std::convert::Infallible, Broken> {
        let core = self.core.clone();
        let mut generation = core.client.generation();
        self.verify().await?;
        let range = core.layout.range();
        let mut watching = Watching::begin(&core.client, range, self.upto, Previous::Without).await?;
        let mut assembler = Assembler::new(core.layout.clone(), self.upto);
        core.attached.send_replace(true);
        loop {
            let message = tokio::select! {
                message = watching.next() => message?,
                _ = generation.changed() => return Err(Broken::Moved),
                () = core.restart.notified() => return Err(Broken::Moved),
            };
            self.take(&mut assembler, message)?;
        }
    }

    fn take(&mut self, assembler: &mut Assembler, message: WatchResponse) -> Result<(), Broken> {
        let part = if message.fragment { Part::Continued } else { Part::Last };
        let raws = assembler.take(message.events, part)?;
        if raws.is_empty() { Ok(()) } else { self.publish(raws) }
    }

    /// Make sure that etcd's past is the one that is in memory, and that it goes back to where memory ends: a member
    /// restored from a backup counts the same revisions again for other things.
    async fn verify(&self) -> Result<(), Ended> {
        let client = &self.core.client;
        let request =
            RangeRequest { key: self.core.layout.commit(), revision: signed(self.upto), ..RangeRequest::default() };
        let then = match client.read::<_, RangeResponse>(proto::RANGE, request, client.timeouts.request).await {
            Err(Failure::Compacted) => return Err(Ended::Compacted(self.upto + 1)),
            Err(Failure::Future) => return Err(self.other_past().into()),
            then => then?,
        };
        let (revision, value) = &self.marker;
        match then.kvs.first() {
            Some(kv) if unsigned(kv.mod_revision) == *revision && kv.value == *value => Ok(()),
            _ => Err(self.other_past().into()),
        }
    }

    fn other_past(&self) -> Failure {
        let revision = self.marker.0;
        tracing::error!(revision, "etcd's past has changed (restored from a backup?); refusing it");
        Failure::Foreign(format!(
            "etcd no longer has what was written at revision {revision}: it is not the one it was"
        ))
    }

    /// Show `raws` to everybody: history first, then the root, then the watches, then who wrote them.
    fn publish(&mut self, raws: Vec<Raw>) -> Result<(), Broken> {
        let core = &self.core;
        let shared = &core.shared;
        let now_ms = core.now_ms();
        let before = shared.current();
        let mut root = before.root.clone();
        let (mut commits, mut nonces, mut oldest) = (Vec::new(), Vec::new(), None);
        let (mut upto, mut marker) = (self.upto, None);
        for raw in raws {
            upto = raw.revision;
            oldest = raw.compact.map(|oldest| (oldest, raw.revision)).or(oldest);
            if let Some((commit, nonce)) = apply(&mut root, raw, now_ms, &mut marker)? {
                nonces.push(nonce);
                commits.push(commit);
            }
        }
        self.upto = upto;
        if let Some(last) = commits.last() {
            let state = Arc::new(State { revision: last.revision, root });
            let revision = state.revision;
            core.note(&commits);
            drop(shared.history.push(commits.iter().cloned(), &state, Revision::MAX));
            shared.state.store(state);
            let wake = shared.hub.dispatch(&commits);
            for (commit, nonce) in commits.iter().zip(nonces) {
                if let Some(nonce) = nonce {
                    core.writers.tell(nonce, commit);
                }
            }
            if let Some(marker) = marker {
                core.marker.store(marker.0, Ordering::Release);
                self.marker = marker;
            }
            core.seen.send_replace(revision);
            wake.now();
        }
        if let Some((oldest, written)) = oldest {
            core.compacted(oldest, written);
        }
        Ok(())
    }

    /// Read the state anew and go on behind it.
    async fn reload(&mut self, why: &Broken) -> Result<(), Failure> {
        let core = self.core.clone();
        let loaded = load::everything(&core.client, &core.layout).await?;
        let shared = &core.shared;
        let known = shared.current().revision;
        let (Some((id, _)), Some(marker)) = (loaded.cluster, loaded.marker.clone()) else {
            return Err(Failure::Foreign("the store's own keys are gone from etcd".to_owned()));
        };
        if id != shared.cluster_id {
            return Err(Failure::Foreign("another store lies in etcd in place of this one".to_owned()));
        }
        let goes_on = marker.0 > self.marker.0 || marker == self.marker;
        if !goes_on || loaded.revision < known {
            return Err(self.other_past());
        }
        self.upto = loaded.upto;
        if loaded.revision == known && matches!(why, Broken::Watch(_)) {
            tracing::info!(known, "etcd compacted its history; nothing of ours happened meanwhile");
            return Ok(());
        }
        tracing::warn!(from = known, to = loaded.revision, %why, "the state was read anew from etcd; watches begin again");
        self.replace(loaded, marker);
        Ok(())
    }

    /// Jump to `loaded`. In this order: whoever finds the new state finds the history before it gone.
    fn replace(&mut self, loaded: Loaded, marker: (Revision, Vec<u8>)) {
        let core = &self.core;
        let shared = &core.shared;
        let revision = loaded.revision;
        shared.compacted.fetch_max(revision, Ordering::AcqRel);
        shared.history.reset(revision);
        shared.state.store(Arc::new(State { revision, root: loaded.root }));
        core.marker.store(marker.0, Ordering::Release);
        self.marker = marker;
        let wake = shared.hub.reset(revision);
        core.seen.send_replace(revision);
        wake.now();
        if let Some((oldest, written)) = loaded.compact {
            core.compacted(oldest, written);
        }
    }
}

type Applied = Option<(Commit, Option<u64>)>;

/// Apply one revision to `root`. `None` when it changed nothing that the store knows.
fn apply(root: &mut Root, raw: Raw, now_ms: u64, last: &mut Option<(Revision, Vec<u8>)>) -> Result<Applied, Broken> {
    let revision = raw.revision;
    let mut events = Vec::with_capacity(raw.changes.len());
    for change in raw.changes {
        let (known, prev) = match root.get_key_value(&*change.key) {
            Some((key, entry)) => (Some(key.clone()), Some(entry.clone())),
            None => (None, None),
        };
        let continues = change.kv.as_ref().is_none_or(|kv| {
            let before = prev
                .as_ref()
                .map_or((kv.create_revision, 0), |prev| (signed(prev.create_revision), signed(prev.version)));
            // A key that was written by somebody else is not in memory.
            kv.version == 1 || prev.is_none() || (kv.create_revision, kv.version) == (before.0, before.1 + 1)
        });
        if !continues || change.kv.as_ref().is_some_and(|kv| kv.version > 1 && prev.is_none()) {
            let key = String::from_utf8_lossy(&change.key).into_owned();
            return Err(Broken::Nonsense(format!("revision {revision} of {key} does not follow from the last")));
        }
        let entry = change.kv.map(readable).transpose()?.flatten();
        let key = key_of(&change.key, known.as_ref());
        match &entry {
            Some(entry) => root.insert(key.clone(), entry.clone()),
            None => root.remove(&key),
        };
        if entry.is_some() || prev.is_some() {
            events.push(Arc::new(Event::new(key, revision, entry, prev)));
        }
    }
    let Marker { at_ms, author, nonce } = match raw.marker {
        Some((marker, value)) => {
            *last = Some((revision, value));
            marker
        }
        None if events.is_empty() => return Ok(None),
        None => Marker { at_ms: now_ms, author: crate::types::Author::default(), nonce: 0 },
    };
    let commit = Commit { revision, at_ms, author, events: events.into() };
    Ok(Some((commit, (nonce != 0).then_some(nonce))))
}

/// Wall time in milliseconds since 1970.
pub(crate) fn millis(now: SystemTime) -> u64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
