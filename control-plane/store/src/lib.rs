//! The store: an ordered map of keys to bytes in which every write has a revision (etcd's model).
//!
//! One writer commits whole batches ([`Store::commit`]); reads take an immutable [`Snapshot`] without
//! a lock; watches ([`Store::watch`]) deliver every change after a revision, in order, once. Nobody
//! sees a write, by read or by watch, before it is durable.
//!
//! [`Store::changes`] and [`Store::snapshot_at`] read history for as long as [`HistoryPolicy`] keeps it; [`ops`] backs
//! a store up, brings it back, and looks after its file.
//!
//! Invariant: the store knows no kinds, no JSON and no HTTP. Keys and values are bytes.

mod commit;
mod disk;
mod error;
pub mod etcd;
#[doc(hidden)]
pub mod fuzzing;
mod garbage;
mod history;
mod history_policy;
mod hub;
pub mod ops;
mod options;
mod pacer;
mod past;
mod policy;
mod recovery;
mod shared;
mod snapshot;
mod store;
mod types;
mod watch;

pub use error::{CommitError, OpenError, RevisionError, WatchError};
pub use history_policy::{HistoryPolicy, HistoryPolicyError};
pub use options::{Clock, Limits, Options};
pub use redb::StorageBackend;
pub use shared::{EtcdStats, Stats};
pub use snapshot::{Range, Snapshot};
pub use store::Store;
pub use types::{
    Author, Change, Changes, ClusterId, Committed, Compare, Entry, Event, Events, Key, Op, Revision, Txn, Value,
};
pub use watch::{Batch, Watch};
