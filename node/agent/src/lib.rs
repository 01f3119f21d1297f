//! The node agent: a kubelet whose containers are Wasm guests.
//!
//! | part | module |
//! |---|---|
//! | the agent as a whole, its settings | `agent`, `config`, `context` |
//! | the Node object and its Lease | `node` |
//! | which pods there are | `source`, `manager` |
//! | a pod: record, status, status writer | `pod` |
//! | a pod's life, one state per file | `states` |
//! | a container's life inside it | `container`, `probes`, `backoff` |
//! | what a container is given | `env`, `volumes`, `configs`, `resources`, `guest_net` |
//! | logs and the kubelet API | `logs`, `server`, `tunnel` |
//! | Services for the whole process | `services` |
//! | Events | `events` |
//!
//! An ordinary API client: it would run against any Kubernetes.
//!
//! Invariant: one task per pod, level-triggered: what a pod should be is read from its latest object,
//! never from the sequence of its changes. Invariant: nothing a guest does is waited for without a
//! limit.

mod agent;
mod backoff;
mod clock;
mod config;
mod configs;
mod container;
mod context;
mod env;
mod events;
mod guest_net;
mod logs;
mod manager;
mod node;
mod pod;
mod probes;
mod resources;
mod server;
mod service_ranges;
mod services;
mod source;
mod states;
#[cfg(test)]
mod testing;
mod tunnel;
mod volumes;

pub use agent::Agent;
pub use clock::Clock;
pub use config::{Capacity, Config, ServeMode};
pub use logs::LogLimits;
pub use node::object::{KUBELET_VERSION, RUNTIME_VERSION};
pub use services::ServiceSync;
pub use {images, network, runtime};
