//! The scheduler: gives every pod that asks for it a node.
//!
//! [`decide()`] is pure: an immutable [`Snapshot`] and a pod in, a [`Decision`] out. Around it lies
//! a thin shell that watches nodes and pods, keeps the snapshot and the queue, and writes bindings.
//!
//! Invariant: an ordinary client. It knows the API only, neither the store nor the API server, and
//! would run against any Kubernetes. A binding is the only thing it decides to write; conditions
//! and events merely tell about it.

mod bind;
mod cache;
mod decide;
mod events;
mod node;
mod plugins;
mod pod;
mod queue;
mod report;
mod resources;
mod run;
mod snapshot;
mod watch;

pub use api;
pub use decide::{Decision, Diagnosis, decide};
pub use node::Node;
pub use pod::{HostPort, Pod};
pub use resources::Resources;
pub use run::{Config, run};
pub use snapshot::Snapshot;
