//! The garbage collector: what has no owner left goes, in the background, in the foreground, or not at all (orphaned).
//!
//! A graph of all objects is fed by the informers that other controllers run anyway, and by metadata-only watches of
//! every other deletable resource. The graph says what to look at; before anything is deleted, the server is asked.

pub(crate) mod discovery;
mod feed;
mod graph;
mod sweep;
#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::events::Recorder;
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::{Config, Error, Next};
use async_trait::async_trait;
use discovery::Catalog;
use graph::Graph;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::task::JoinSet;

pub(crate) struct Collector {
    access: Access,
    events: Recorder,
    graph: Arc<Mutex<Graph>>,
    catalog: Arc<Mutex<Arc<Catalog>>>,
    refresh: Arc<tokio::sync::Notify>,
}

/// Keys of the queue are UIDs.
fn key(uid: &str) -> Key {
    Key::cluster(uid)
}

pub(crate) fn start(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let graph = Arc::new(Mutex::new(Graph::default()));
    let queue = Arc::new(Queue::default());
    let feed = feed::Feed::new(context, Arc::clone(&graph), Arc::clone(&queue));
    let collector = Collector {
        access: context.access.clone(),
        events: context.events.named("garbage-collector-controller"),
        graph,
        catalog: feed.catalog(),
        refresh: feed.refresher(),
    };
    feed.start(context, tasks, Arc::new(collector), queue);
}

#[async_trait]
impl Reconciler for Collector {
    const NAME: &'static str = "garbage-collector-controller";
    const WORKERS: usize = 20;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.look_at(key.name()).await?;
        Ok(Next::Signal)
    }

    fn keys(&self) -> Vec<Key> {
        self.graph.lock().interesting().iter().map(|uid| key(uid)).collect()
    }
}
