//! Which of a cluster's servers runs its control loops: with a store of its own a server need not ask.

use super::{Cluster, component};
use crate::node;
use apiserver::Sharing;
use controllers::Clock;
use controllers::frame::leader::{self, Election, Timing};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

impl Cluster {
    /// Runs the loop that `work` makes: at once when the store is ours alone, else whenever this process holds the Lease
    /// `lease`, in the name of `user`.
    pub(super) fn spawn_loop<W>(
        &mut self,
        lease: &'static str,
        user: &str,
        work: impl Fn(CancellationToken) -> W + Send + 'static,
    ) where
        W: Future<Output = ()> + Send + 'static,
    {
        let token = self.token.clone();
        if self.sharing == Sharing::Alone {
            return self.spawn(lease, work(token));
        }
        let election = Election {
            client: component(&self.server, user),
            name: lease,
            identity: self.identity(),
            timing: Timing::default(),
            clock: Clock::system(),
        };
        self.spawn(lease, leader::run(election, token, work));
    }

    /// This process among all that may ever want a Lease of this cluster: kube-controller-manager's host name, and what
    /// tells the processes of a host apart.
    fn identity(&self) -> String {
        static STARTED: LazyLock<u128> =
            LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis()));
        let host = node::host_name().unwrap_or_else(|_| "localhost".into());
        let started = *STARTED;
        format!("{host}_{}_{}_{started:x}", self.server.local_addr().port(), std::process::id())
    }
}
