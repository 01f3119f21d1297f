//! The Node object: registration, heartbeats, and the pod range a controller gives.

pub mod lease;
pub mod object;
mod register;

pub use register::{keep_fresh, pod_range, register};
