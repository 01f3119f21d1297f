//! ConfigMaps and Secrets that pods refer to: fetched on demand, and watched while a volume shows
//! them. Knows nothing of what they are used for.
//!
//! Invariant: only objects that a pod on this node refers to are ever read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{ConfigMap, Secret};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::Instrument;

/// What kind of object holds the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    /// As in the API server's "not found" messages.
    pub fn lower(self) -> &'static str {
        match self {
            Kind::ConfigMap => "configmap",
            Kind::Secret => "secret",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::ConfigMap => "ConfigMap",
            Kind::Secret => "Secret",
        }
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

/// The data of a ConfigMap (`data` and `binaryData`) or Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    pub entries: BTreeMap<String, Bytes>,
}

impl From<ConfigMap> for Payload {
    fn from(object: ConfigMap) -> Self {
        let text = object.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into_bytes().into()));
        let binary = object.binary_data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0.into()));
        Self { entries: text.chain(binary).collect() }
    }
}

impl From<Secret> for Payload {
    fn from(object: Secret) -> Self {
        Self { entries: object.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0.into())).collect() }
    }
}

#[derive(Clone, Debug)]
enum Slot {
    Loading,
    Loaded(Option<Arc<Payload>>),
}

/// Keeps one object current; dropping the last one ends the watch.
#[derive(Clone, Debug)]
pub struct Subscription {
    slot: watch::Receiver<Slot>,
}

impl Subscription {
    /// The object as it is now (`None`: it doesn't exist), once it is known.
    pub async fn current(&mut self) -> Option<Arc<Payload>> {
        let known = self.slot.wait_for(|slot| matches!(slot, Slot::Loaded(_))).await;
        match known.as_deref() {
            Ok(Slot::Loaded(payload)) => payload.clone(),
            _ => None,
        }
    }

    /// Resolves at the next change after the last [`current`](Self::current).
    pub async fn changed(&mut self) {
        if self.slot.changed().await.is_err() {
            // The watch is gone: so is the agent.
            std::future::pending::<()>().await;
        }
    }
}

/// All objects that are looked at, shared by the pods of a node.
pub struct ConfigStore {
    client: Client,
    watched: Arc<Mutex<HashMap<Key, watch::Sender<Slot>>>>,
}

impl ConfigStore {
    pub fn new(client: Client) -> Self {
        Self { client, watched: Arc::default() }
    }

    /// The object now: from its watch if there is one, else from the API server.
    pub async fn get(&self, key: &Key) -> Result<Option<Arc<Payload>>, kube::Error> {
        let known = self.watched.lock().get(key).and_then(|sender| match &*sender.borrow() {
            Slot::Loaded(Some(payload)) => Some(Arc::clone(payload)),
            _ => None,
        });
        if known.is_some() {
            return Ok(known);
        }
        let client = self.client.clone();
        let payload = match key.kind {
            Kind::ConfigMap => {
                Api::<ConfigMap>::namespaced(client, &key.namespace).get_opt(&key.name).await?.map(Payload::from)
            }
            Kind::Secret => {
                Api::<Secret>::namespaced(client, &key.namespace).get_opt(&key.name).await?.map(Payload::from)
            }
        };
        Ok(payload.map(Arc::new))
    }

    /// Watches an object for as long as the subscription lives.
    pub fn subscribe(&self, key: &Key) -> Subscription {
        let mut watched = self.watched.lock();
        if let Some(sender) = watched.get(key) {
            return Subscription { slot: sender.subscribe() };
        }
        let (sender, slot) = watch::channel(Slot::Loading);
        watched.insert(key.clone(), sender.clone());
        let span = tracing::debug_span!("config", kind = key.kind.name(), namespace = key.namespace, name = key.name);
        let client = self.client.clone();
        let task = keep(client, key.clone(), sender, Arc::clone(&self.watched));
        tokio::spawn(task.instrument(span));
        Subscription { slot }
    }
}

/// Feeds `sender` until nobody listens any more.
async fn keep(
    client: Client,
    key: Key,
    sender: watch::Sender<Slot>,
    watched: Arc<Mutex<HashMap<Key, watch::Sender<Slot>>>>,
) {
    let mut changes = match key.kind {
        Kind::ConfigMap => stream::<ConfigMap>(Api::namespaced(client, &key.namespace), &key.name).boxed(),
        Kind::Secret => stream::<Secret>(Api::namespaced(client, &key.namespace), &key.name).boxed(),
    };
    loop {
        tokio::select! {
            change = changes.next() => {
                let Some(payload) = change else { return };
                sender.send_if_modified(|slot| {
                    let same = matches!(slot, Slot::Loaded(old) if old.as_deref() == payload.as_ref());
                    if !same {
                        *slot = Slot::Loaded(payload.map(Arc::new));
                    }
                    !same
                });
            }
            () = sender.closed() => {
                let mut watched = watched.lock();
                // Somebody may have subscribed between the signal and the lock.
                if sender.receiver_count() == 0 {
                    watched.remove(&key);
                    return;
                }
            }
        }
    }
}

fn stream<K>(api: Api<K>, name: &str) -> impl Stream<Item = Option<Payload>> + Send + use<K>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    Payload: From<K>,
{
    watcher::watch_object(api, name).default_backoff().filter_map(async |result| match result {
        Ok(object) => Some(object.map(Payload::from)),
        Err(error) => {
            tracing::debug!(%error, "watch of a referenced object failed; it is retried");
            None
        }
    })
}
