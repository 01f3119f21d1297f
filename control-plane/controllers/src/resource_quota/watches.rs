//! Watches on the metadata of what quotas count, in the namespaces where they do: a departure has the quotas counted.

use super::Signal;
use crate::context::Context;
use crate::frame::reflector::{Depth, Sink, reflect};
use kube::core::{DynamicObject, PartialObjectMeta};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Further collections are counted now and then only.
const MOST: usize = 500;

type Meta = PartialObjectMeta<DynamicObject>;

pub struct Watches {
    client: kube::Client,
    token: CancellationToken,
    signal: Signal,
    running: Mutex<HashMap<(String, String), CancellationToken>>,
}

impl Watches {
    pub(super) fn new(context: &Context, signal: Signal) -> Self {
        Self {
            client: context.access.client().clone(),
            token: context.token.clone(),
            signal,
            running: Mutex::default(),
        }
    }

    /// From now on these collections are watched, by namespace and path, and no others.
    pub fn keep(&self, wanted: &HashSet<(String, String)>) {
        let mut running = self.running.lock();
        running.retain(|collection, token| {
            let kept = wanted.contains(collection);
            if !kept {
                token.cancel();
            }
            kept
        });
        for collection in wanted {
            if running.len() >= MOST || running.contains_key(collection) {
                continue;
            }
            let token = self.token.child_token();
            running.insert(collection.clone(), token.clone());
            let (namespace, path) = collection.clone();
            let span = tracing::info_span!("quota_watch", %path);
            let sink: Arc<dyn Sink<Meta>> = Arc::new(Departures { namespace, signal: self.signal.clone() });
            tokio::spawn(reflect(self.client.clone(), path, Depth::Metadata, sink, token).instrument(span));
        }
    }
}

struct Departures {
    namespace: String,
    signal: Signal,
}

impl Sink<Meta> for Departures {
    /// What went before the watch began, or while it was broken, is found by counting.
    fn replaced(&self, _: Vec<Meta>, _: u64) {
        self.signal.namespace(&self.namespace);
    }

    fn applied(&self, _: Meta) {}

    fn deleted(&self, _: Meta) {
        self.signal.namespace(&self.namespace);
    }
}
