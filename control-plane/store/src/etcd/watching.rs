//! An etcd watch: begun, checked, and read message by message.

use std::time::Duration;

use tonic::Streaming;

use super::client::Client;
use super::failure::Failure;
use super::proto::{WatchCreateRequest, WatchResponse, signed, unsigned};
use crate::types::Revision;

/// Why a watch is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error("history before revision {0} is gone")]
    Compacted(Revision),
}

/// Whether events come with what they replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Previous {
    With,
    Without,
}

/// A watch that etcd has agreed to.
pub(crate) struct Watching<'a> {
    client: &'a Client,
    stream: Streaming<WatchResponse>,
}

impl<'a> Watching<'a> {
    /// Watch the keys of `range` after the revision `after`.
    pub async fn begin(
        client: &'a Client,
        (key, range_end): (Vec<u8>, Vec<u8>),
        after: Revision,
        previous: Previous,
    ) -> Result<Self, Ended> {
        let create = WatchCreateRequest {
            key,
            range_end,
            start_revision: signed(after + 1),
            prev_kv: previous == Previous::With,
            fragment: true,
        };
        let stream = client.watch(create).await?;
        let mut watching = Self { client, stream };
        let first = watching.within(client.timeouts.request).await?;
        if first.created {
            Ok(watching)
        } else {
            Err(Failure::Refused("the watch did not begin with its creation".to_owned()).into())
        }
    }

    /// The next message. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<WatchResponse, Ended> {
        let message = match self.stream.message().await {
            Ok(Some(message)) => self.client.check(message)?,
            Ok(None) => return Err(Failure::Silent("it ended the watch".to_owned()).into()),
            Err(status) => return Err(Failure::from_status(&status).into()),
        };
        if !message.canceled {
            return Ok(message);
        }
        if message.compact_revision > 0 {
            return Err(Ended::Compacted(unsigned(message.compact_revision)));
        }
        // It says so, too, when the session is over.
        if message.cancel_reason.contains("permission denied") || message.cancel_reason.contains("auth") {
            self.client.forget_session().await;
        }
        Err(Failure::Refused(message.cancel_reason).into())
    }

    pub async fn within(&mut self, limit: Duration) -> Result<WatchResponse, Ended> {
        let late = || Failure::Silent("it does not answer".to_owned());
        tokio::time::timeout(limit, self.next()).await.unwrap_or_else(|_| Err(late().into()))
    }
}
