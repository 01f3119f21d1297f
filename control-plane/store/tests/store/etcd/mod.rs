//! The store on a real etcd: what is particular to it. What every store promises is tested beside, over each place.

mod outage;
mod proxy;
mod security;
mod server;
mod shared;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use store::etcd::Options;

pub use server::{Disk, Server};

/// A store's own prefix on an etcd.
pub struct Prefix {
    pub server: Arc<Server>,
    name: String,
}

impl Prefix {
    /// On an etcd of its own: compaction is for a whole etcd.
    pub fn fresh() -> Self {
        Self::on(&Arc::new(Server::start(Disk::Fast)))
    }

    /// Another one on `server`.
    pub fn on(server: &Arc<Server>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("/test-{}/", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { server: server.clone(), name }
    }

    pub fn options(&self) -> Options {
        Options { prefix: self.name.clone(), ..options(&self.server) }
    }
}

/// The store on `server`, under the default prefix.
pub fn options(server: &Server) -> Options {
    Options::new(vec![server.endpoint()])
}
