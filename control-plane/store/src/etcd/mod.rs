//! The store over an etcd cluster: the same snapshot, history and watches in memory, fed by one etcd watch; writes are
//! etcd transactions. Several servers may share one cluster.
//!
//! Invariant: what readers see is a revision of etcd, whole, and the store moves from one to the next in etcd's order.
//! Nothing enters memory but through the feed, not even this process' own writes.
//!
//! Invariant: nothing outside this folder knows that etcd exists, but for errors that say so.

mod assemble;
mod backend;
mod client;
mod commit;
mod compact;
mod failure;
mod feed;
mod health;
mod layout;
mod load;
mod options;
mod past;
mod proto;
mod pulse;
mod watching;

pub(crate) use backend::Backend;
pub use options::{Login, Options, Timeouts, Tls, UrlError};
pub(crate) use past::Past;
