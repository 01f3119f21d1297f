//! A transaction: sent to etcd, and answered once it has come back through the feed, so that whoever wrote reads it.

use std::sync::Arc;

use prost::Message;
use tokio::time::timeout;

use super::backend::Core;
use super::failure::Failure;
use super::health::Waiting;
use super::layout::{Marker, encode_value};
use super::load::readable;
use super::proto::{
    self, DeleteRangeRequest, PutRequest, RangeRequest, Request, RequestOp, Response, Target, TxnRequest, TxnResponse,
    signed, unsigned,
};
use crate::error::CommitError;
use crate::history::Commit;
use crate::snapshot::State;
use crate::types::{Committed, Compare, Entry, Event, Key, Op, Revision, Txn};

/// How often a transaction that may change nothing is looked at again because somebody else was faster.
const TRIES: usize = 16;

/// What became of a transaction that etcd decided on.
enum Decision {
    Made(Commit),
    /// What the compared keys hold, in the order of the comparisons.
    Refused(Vec<Option<Arc<Entry>>>),
}

impl Core {
    /// See [`crate::Store::commit`].
    pub async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        if txn.ops.iter().any(|op| matches!(op, Op::Put { .. })) {
            return match self.decide(&txn, &[]).await? {
                Decision::Made(commit) => Ok(committed(&txn, &commit)),
                Decision::Refused(actual) => Err(conflict(&txn.compare, actual).unwrap_or_else(undecided)),
            };
        }
        self.commit_deletions(txn).await
    }

    /// Deleting what is not there makes no revision, and etcd has no "if any of these exists": the deletions are pinned
    /// to what memory shows, and looked at again when that has changed.
    async fn commit_deletions(&self, txn: Txn) -> Result<Committed, CommitError> {
        for attempt in 0..TRIES {
            let state = self.shared.current();
            let pins: Vec<Compare> = txn.ops.iter().filter_map(|op| pin(&state, op.key())).collect();
            let holds = failing(&state, &txn.compare).is_none();
            if holds && !pins.is_empty() {
                match self.decide(&txn, &pins).await? {
                    Decision::Made(commit) => return Ok(committed(&txn, &commit)),
                    Decision::Refused(actual) => match conflict(&txn.compare, actual) {
                        Some(error) => return Err(error),
                        None => continue,
                    },
                }
            }
            // Nothing to ask etcd for; but only a state that is surely the newest may say so.
            if attempt == 0 || self.shared.current().revision != state.revision {
                self.barrier.pass().await.map_err(|reason| CommitError::Unavailable { reason })?;
                if self.shared.current().revision != state.revision {
                    continue;
                }
            }
            if let Some(compare) = failing(&state, &txn.compare) {
                let actual = state.root.get(&compare.key).cloned();
                return Err(CommitError::Conflict { key: compare.key.clone(), actual });
            }
            return Ok(Committed { revision: state.revision, events: [].into() });
        }
        Err(CommitError::Unavailable { reason: "others change the same keys all the time".to_owned() })
    }

    /// Let etcd decide on `txn`, with the comparisons `pins` as well.
    async fn decide(&self, txn: &Txn, pins: &[Compare]) -> Result<Decision, CommitError> {
        let count = (txn.ops.len() + 1).max(txn.compare.len() + pins.len() + 1);
        if count > self.txn_ops {
            return Err(CommitError::TooManyOps { count, limit: self.txn_ops });
        }
        let mut waiting = self.writers.wait();
        let marker = Marker { at_ms: self.now_ms(), nonce: waiting.nonce, author: txn.author.clone() };
        let request = self.request(txn, pins, &marker);
        let (bytes, limit) = (request.encoded_len(), self.request_bytes);
        if bytes > limit {
            return Err(CommitError::TooLarge { bytes, limit });
        }
        let patience = self.client.timeouts.patience;
        let unavailable = |reason| CommitError::Unavailable { reason };
        self.health.wait(patience).await.map_err(unavailable)?;
        self.attached(patience).await.map_err(unavailable)?;
        let answer = tokio::select! {
            biased;
            answer = self.client.write::<_, TxnResponse>(proto::TXN, request) => answer,
            // It came back before its answer did.
            Ok(commit) = &mut waiting.seen => return Ok(Decision::Made(commit)),
        };
        match answer {
            Ok(answer) if answer.succeeded => {
                let revision = answer.header.map_or(0, |header| unsigned(header.revision));
                self.await_own(waiting, revision).await
            }
            Ok(answer) => self.refused(answer).await,
            Err(Failure::Silent(reason)) => self.await_lost(waiting, reason).await,
            Err(failure) => Err(failure.of_commit(bytes, limit)),
        }
    }

    fn request(&self, txn: &Txn, pins: &[Compare], marker: &Marker) -> TxnRequest {
        let compares = || txn.compare.iter().chain(pins);
        let op = |request| RequestOp { request: Some(request) };
        let range = |key| op(Request::Range(RangeRequest { key, ..RangeRequest::default() }));
        let changes = txn.ops.iter().map(|change| match change {
            Op::Put { key, value } => {
                op(Request::Put(PutRequest { key: self.layout.data(key), value: encode_value(value) }))
            }
            Op::Delete { key } => op(Request::DeleteRange(DeleteRangeRequest { key: self.layout.data(key) })),
        });
        let mark = PutRequest { key: self.layout.commit(), value: marker.encode() };
        TxnRequest {
            compare: compares().map(|compare| self.compare(compare)).collect(),
            success: changes.chain([op(Request::Put(mark))]).collect(),
            failure: compares()
                .map(|compare| range(self.layout.data(&compare.key)))
                .chain([range(self.layout.commit())])
                .collect(),
        }
    }

    fn compare(&self, compare: &Compare) -> proto::Compare {
        proto::Compare {
            target: proto::TARGET_MOD,
            key: self.layout.data(&compare.key),
            union: Some(Target::ModRevision(signed(compare.mod_revision))),
        }
    }

    /// etcd has made it `revision`: wait until memory shows it.
    async fn await_own(&self, mut waiting: Waiting<'_>, revision: Revision) -> Result<Decision, CommitError> {
        let mut seen = self.seen.subscribe();
        let passed = tokio::select! {
            biased;
            Ok(commit) = &mut waiting.seen => return Ok(Decision::Made(commit)),
            passed = timeout(self.client.timeouts.request, seen.wait_for(|seen| *seen >= revision)) => passed.is_ok(),
        };
        if let Ok(commit) = waiting.seen.try_recv() {
            return Ok(Decision::Made(commit));
        }
        // The state was read anew and jumped over it.
        if passed && let Ok(commit) = self.past.commit(revision).await {
            return Ok(Decision::Made(commit));
        }
        let reason = format!("it was written at revision {revision}, which has not been seen since");
        Err(CommitError::Unknown { reason })
    }

    /// No answer came: perhaps the transaction itself still does.
    async fn await_lost(&self, mut waiting: Waiting<'_>, reason: String) -> Result<Decision, CommitError> {
        match timeout(self.client.timeouts.patience, &mut waiting.seen).await {
            Ok(Ok(commit)) => Ok(Decision::Made(commit)),
            _ => Err(CommitError::Unknown { reason }),
        }
    }

    /// A comparison failed. Answered once memory shows what made it fail, so that whoever tries again does not fail at
    /// the same thing.
    async fn refused(&self, answer: TxnResponse) -> Result<Decision, CommitError> {
        let mut kvs = Vec::with_capacity(answer.responses.len());
        for response in answer.responses {
            let Some(Response::Range(range)) = response.response else {
                return Err(undecided());
            };
            kvs.push(range.kvs.into_iter().next());
        }
        let newest = kvs.pop().flatten().map_or(0, |marker| unsigned(marker.mod_revision));
        let mut seen = self.seen.subscribe();
        let reached = seen.wait_for(|seen| *seen >= newest);
        if timeout(self.client.timeouts.barrier, reached).await.is_err() {
            let reason = format!("its watch has not shown revision {newest} yet");
            return Err(CommitError::Unavailable { reason });
        }
        let entries: Result<_, Failure> = kvs.into_iter().map(|kv| kv.map_or(Ok(None), readable)).collect();
        entries.map(Decision::Refused).map_err(|failure| failure.of_commit(0, 0))
    }
}

/// The comparison that keeps `key` as `state` has it, if it is there.
fn pin(state: &State, key: &Key) -> Option<Compare> {
    let entry = state.root.get(key)?;
    Some(Compare { key: key.clone(), mod_revision: entry.mod_revision })
}

/// The first of `compares` that does not hold in `state`.
fn failing<'a>(state: &State, compares: &'a [Compare]) -> Option<&'a Compare> {
    compares
        .iter()
        .find(|compare| state.root.get(&compare.key).map_or(0, |entry| entry.mod_revision) != compare.mod_revision)
}

/// The first of `compares` that does not hold for what the keys hold.
fn conflict(compares: &[Compare], actual: Vec<Option<Arc<Entry>>>) -> Option<CommitError> {
    compares.iter().zip(actual).find_map(|(compare, actual)| {
        let found = actual.as_ref().map_or(0, |entry| entry.mod_revision);
        (found != compare.mod_revision).then(|| CommitError::Conflict { key: compare.key.clone(), actual })
    })
}

fn undecided() -> CommitError {
    CommitError::Unavailable { reason: "it refused a transaction without saying why".to_owned() }
}

/// What to tell the writer of `txn`: its events in the order of its operations.
fn committed(txn: &Txn, commit: &Commit) -> Committed {
    if commit.events.len() < 2 {
        return Committed { revision: commit.revision, events: commit.events.clone() };
    }
    let place = |event: &Arc<Event>| txn.ops.iter().position(|op| op.key() == &event.key);
    let mut events = commit.events.to_vec();
    events.sort_by_cached_key(place);
    Committed { revision: commit.revision, events: events.into() }
}
