//! Letting history go by policy. Every server on the cluster knows when it is time; the one whose write to the compact
//! key comes first does it, the others see that.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::backend::Core;
use super::failure::Failure;
use super::layout::{decode_compact, encode_compact};
use super::proto::{
    self, CompactionRequest, CompactionResponse, PutRequest, RangeRequest, Request, RequestOp, Response, Target,
    TxnRequest, TxnResponse, signed, unsigned,
};
use crate::error::CommitError;
use crate::types::Revision;

/// Between two looks at whether history is old enough to go.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// The compact key as it was seen last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Oldest {
    /// When the key was written.
    pub written: Revision,
}

/// Compact when the policy says so. Runs for as long as the store is open.
pub(crate) async fn run(core: Arc<Core>, age: Duration) {
    let pause = (age / 64).clamp(SHORTEST, LONGEST);
    loop {
        tokio::time::sleep(pause).await;
        let (current, now_ms) = (core.shared.current().revision, core.now_ms());
        let target = core.retention.lock().target(current, now_ms, core.shared.compacted());
        let Some(target) = target else { continue };
        if !core.health.is_up() {
            continue;
        }
        if let Err(error) = core.compact(target).await {
            tracing::warn!(%error, revision = target, "etcd's history could not be compacted; trying again later");
        }
    }
}

impl Core {
    /// See [`crate::Store::compact`].
    pub async fn compact(&self, revision: Revision) -> Result<(), CommitError> {
        let revision = revision.min(self.shared.current().revision);
        if revision <= self.shared.compacted() {
            return Ok(());
        }
        let patience = self.client.timeouts.patience;
        self.health.wait(patience).await.map_err(|reason| CommitError::Unavailable { reason })?;
        match self.claim(revision).await {
            // A full etcd takes no keys, and needs compaction most.
            Ok(true) | Err(Failure::Full) => {}
            Ok(false) => return Ok(()),
            Err(failure) => return Err(failure.of_commit(0, 0)),
        }
        let request = CompactionRequest { revision: signed(revision) };
        // Asking twice is as good as once.
        let done = self.client.read::<_, CompactionResponse>(proto::COMPACT, request, self.client.timeouts.request);
        match done.await {
            Ok(_) | Err(Failure::Compacted) => {
                self.forget(revision);
                Ok(())
            }
            Err(failure) => Err(failure.of_commit(0, 0)),
        }
    }

    /// Say in etcd that history begins at `revision` now. `false`: another server has said as much, or more.
    async fn claim(&self, revision: Revision) -> Result<bool, Failure> {
        let key = self.layout.compact();
        loop {
            let known = self.oldest.lock().written;
            let put = PutRequest { key: key.clone(), value: encode_compact(revision) };
            let range = RangeRequest { key: key.clone(), ..RangeRequest::default() };
            let request = TxnRequest {
                compare: vec![proto::Compare {
                    target: proto::TARGET_MOD,
                    key: key.clone(),
                    union: Some(Target::ModRevision(signed(known))),
                }],
                success: vec![RequestOp { request: Some(Request::Put(put)) }],
                failure: vec![RequestOp { request: Some(Request::Range(range)) }],
            };
            let answer: TxnResponse = self.client.write(proto::TXN, request).await?;
            if answer.succeeded {
                let written = answer.header.map_or(0, |header| unsigned(header.revision));
                self.oldest.lock().written = written;
                return Ok(true);
            }
            let found = match answer.responses.into_iter().next().and_then(|op| op.response) {
                Some(Response::Range(range)) => range.kvs.into_iter().next(),
                None => None,
            };
            let Some(kv) = found else {
                self.oldest.lock().written = 0;
                continue;
            };
            let oldest = decode_compact(&kv.value).map_err(|error| Failure::Foreign(error.to_string()))?;
            self.compacted(oldest, unsigned(kv.mod_revision));
            if oldest >= revision {
                return Ok(false);
            }
        }
    }

    /// Note what the compact key says, `written` at that revision.
    pub fn compacted(&self, oldest: Revision, written: Revision) {
        {
            let mut known = self.oldest.lock();
            known.written = known.written.max(written);
        }
        self.forget(oldest.min(self.shared.current().revision));
    }

    /// Forget the history before `revision`.
    pub fn forget(&self, revision: Revision) {
        if self.shared.compacted.fetch_max(revision, Ordering::AcqRel) < revision {
            drop(self.shared.history.forget(revision, usize::MAX));
            self.retention.lock().forget(revision);
        }
    }
}
