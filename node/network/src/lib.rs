//! The pods' network: addresses, Service routing and names, all in this process.
//!
//! A pod's address is a loopback address of this host ([`Config`]'s ranges lie in 127.0.0.0/8 by default), so host
//! processes reach pods and Services with plain sockets, without root, iptables or network namespaces. Guests never
//! touch the kernel's sockets themselves: what they ask for passes through their pod's [`PodNet`].
//!
//! | part | file |
//! |---|---|
//! | address ranges, and which process of this host uses which | `cidr`, `claim`, `address` |
//! | a pod's view: listen, connect, resolve | `pod` |
//! | Services and their endpoints, as a snapshot | `service`, `table` |
//! | names | `names` |
//! | the listeners on Service addresses | `proxy` |
//!
//! This crate must never know the Kubernetes API, Wasm, or who its callers are: the agent tells it what exists.
//!
//! Invariant: no read of the Service table waits for a writer; every connect sees one whole snapshot.

mod address;
mod cidr;
mod claim;
mod connect;
mod names;
mod network;
mod pod;
mod proxy;
mod service;
mod table;

pub use address::{AttachError, RangeError};
pub use cidr::{Cidr, ParseCidrError};
pub use claim::{Claim, ClaimError};
pub use connect::{ConnectError, Connection, Target};
pub use names::ResolveError;
pub use network::{Config, External, Network};
pub use pod::{Listener, PodKey, PodNet};
pub use proxy::{ListenFailure, ListenState};
pub use service::{
    Affinity, Endpoint, EndpointPort, EndpointSlice, EndpointState, Service, ServiceAddress, ServiceKey, ServicePort,
};
