//! History that memory has forgotten, wherever else it is kept.

use std::io;
use std::sync::Arc;

use crate::disk::Reader;
use crate::error::RevisionError;
use crate::etcd;
use crate::history::{Chunk, Room, Slice};
use crate::snapshot::State;
use crate::types::{Changes, Revision};

/// Where it is kept.
pub(crate) enum Past {
    Disk(Arc<Reader>),
    Etcd(Arc<etcd::Past>),
}

impl Past {
    /// The state at `revision`; `near` is a later one.
    pub async fn rewind(self, near: State, revision: Revision) -> Result<Arc<State>, RevisionError> {
        match self {
            Self::Disk(reader) => on_disk(move || reader.rewind(near, revision)).await.map(Arc::new),
            Self::Etcd(past) => past.state(revision).await,
        }
    }

    /// The events after `after`, up to `upto`, below `prefix`, as many as `chunk` allows.
    pub async fn events(
        self,
        after: Revision,
        upto: Revision,
        prefix: &[u8],
        chunk: Chunk,
    ) -> Result<Slice, RevisionError> {
        match self {
            Self::Disk(reader) => {
                let prefix = prefix.to_vec();
                on_disk(move || reader.events(after, upto, &prefix, chunk)).await
            }
            Self::Etcd(past) => past.events(after, upto, prefix, chunk).await,
        }
    }

    /// Add to `page` what changed below `prefix` after `page.upto`, up to `upto`, as far as `room` allows.
    pub async fn changes(
        self,
        page: Changes,
        upto: Revision,
        prefix: &[u8],
        room: Room,
    ) -> Result<(Changes, Room), RevisionError> {
        match self {
            Self::Disk(reader) => {
                let prefix = prefix.to_vec();
                on_disk(move || reader.changes(page, upto, &prefix, room)).await
            }
            Self::Etcd(past) => past.changes(page, upto, prefix, room).await,
        }
    }
}

/// Reading the disk blocks: it happens on a thread of its own.
pub(crate) async fn on_disk<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RevisionError> {
    let done = tokio::task::spawn_blocking(read).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| RevisionError::Io(Arc::new(error)))
}
