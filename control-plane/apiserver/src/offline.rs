//! The API over a store that no server has open: what is asked of a running server can be asked of it in the same way.
//! Nothing runs here: no controllers, no watches that anybody waits for, no network.

use crate::config::Config;
use crate::core::Core;
use crate::local::LocalService;
use crate::net::Cidr;
use crate::user::User;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use store::{Snapshot, Store};

/// Where the server that wrote the store recorded its range of Services' addresses.
const SERVICE_CIDR: &[u8] = b"networking.k8s.io/servicecidrs/kubernetes";

/// The API over `store`, in the name of `user`, with all rights.
#[must_use]
pub fn offline(store: Store, user: &str) -> LocalService {
    let recorded = service_cidr(&store.snapshot());
    let mut config = Config::new(store);
    config.service_cidr = recorded.unwrap_or(config.service_cidr);
    let core = Core::new(&config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    LocalService::new(core, User::component(user))
}

fn service_cidr(snapshot: &Snapshot) -> Option<Cidr> {
    let object: Value = serde_json::from_slice(&snapshot.get(SERVICE_CIDR)?.value.body).ok()?;
    object.pointer("/spec/cidrs/0")?.as_str()?.parse().ok()
}
