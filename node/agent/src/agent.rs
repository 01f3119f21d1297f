//! The agent as a whole: what is started in which order, and stopped again.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::config::{Config, ServeMode};
use crate::context::NodeContext;
use crate::events::{Recorder, Sink};
use crate::manager::Pods;
use crate::{node, server, source, tunnel};

/// A kubelet whose containers are Wasm guests.
///
/// Expected flow: [`Agent::new`], mount [`Agent::router`] where the API server finds it, then
/// [`Agent::run`] until shutdown.
pub struct Agent {
    node: Arc<NodeContext>,
    pods: Arc<Pods>,
    sink: Mutex<Option<Sink>>,
}

impl Agent {
    pub fn new(config: Config) -> Self {
        let (recorder, sink) = Recorder::new();
        Self { node: NodeContext::new(config, recorder), pods: Arc::default(), sink: Mutex::new(Some(sink)) }
    }

    /// The kubelet API: `/containerLogs/…`, `/pods`, `/stats/summary`, `/metrics/resource`, `/healthz`.
    pub fn router(&self) -> axum::Router {
        server::router(Arc::clone(&self.node), Arc::clone(&self.pods))
    }

    #[cfg(test)]
    pub(crate) fn node(&self) -> Arc<NodeContext> {
        Arc::clone(&self.node)
    }

    /// Registers the node and runs its pods until cancelled; then ends every guest. The pods' objects
    /// are left alone: the next agent of this name starts them again.
    ///
    /// Runs once; a second call returns at once.
    pub async fn run(&self, stop: CancellationToken) {
        let Some(sink) = self.sink.lock().take() else { return };
        let config = &self.node.config;
        let span = tracing::info_span!("agent", node = config.node_name);
        let events = sink.run(config.client.clone(), config.node_name.clone(), config.clock.clone(), stop.clone());
        let tunnel = async {
            if config.serve_mode == ServeMode::Tunnel {
                tunnel::keep(&self.node, self.router(), stop.clone()).await;
            }
        };
        async {
            tokio::join!(events, tunnel, self.work(&stop));
        }
        .instrument(span)
        .await;
    }

    async fn work(&self, stop: &CancellationToken) {
        let registered = tokio::select! {
            object = node::register(&self.node) => object,
            () = stop.cancelled() => return,
        };
        tracing::info!("node registered");
        let uid = registered.metadata.uid.clone();
        let lease = node::lease::keep(&self.node, uid, stop.clone());
        let fresh = node::keep_fresh(&self.node, stop.clone());
        let pods = async {
            let range = tokio::select! {
                range = node::pod_range(&self.node, &registered) => range,
                () = stop.cancelled() => return,
            };
            if let Err(error) = self.node.config.network.add_pod_range(self.node.name(), range) {
                tracing::error!(%error, %range, "the node's pod range can't be used: its pods will get no address");
            }
            source::run(Arc::clone(&self.node), Arc::clone(&self.pods), stop.clone()).await;
        };
        tokio::join!(lease, fresh, pods);
    }
}
