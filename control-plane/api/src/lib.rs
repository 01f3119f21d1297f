//! The Kubernetes API as data: the table of kinds, their schemas, and every rule that needs
//! nothing but the object itself (defaulting, validation, selectors, patches, printed columns).
//!
//! Invariant: no I/O, no clock of its own, no async. Everything here is a function of its arguments,
//! so that the API server, the controllers and the tests can share it.

pub mod amounts;
pub mod apply;
pub mod cel;
pub mod crd;
pub mod decode;
pub mod discovery;
pub mod field;
pub mod intstr;
pub mod kinds;
pub mod meta;
pub mod names;
pub mod openapi;
pub mod patch;
mod pem;
pub mod quantity;
pub mod quota;
pub mod schema;
pub mod selector;
pub mod status;
pub mod strategies;
pub mod strategy;
pub mod table;
pub mod time;

pub use k8s_openapi;
pub use kinds::{Kinds, Resource, Scope, Verb};
pub use kube_core;
pub use status::{Reason, Status};
pub use strategy::Strategy;
