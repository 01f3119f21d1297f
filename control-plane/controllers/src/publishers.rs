//! What every namespace has: the `default` ServiceAccount and the `kube-root-ca.crt` ConfigMap.

use crate::context::Context;
use crate::frame::access::{Access, Kind};
use crate::frame::informer::{Change, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use crate::k8s::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use crate::{Config, Error, Next};
use async_trait::async_trait;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

const ACCOUNT: &str = "default";
pub(crate) const ROOT_CA: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const ROOT_CA_TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
     endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
     distributions of Kubernetes clusters.";

struct ServiceAccounts {
    access: Access,
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
}

struct RootCa {
    access: Access,
    namespaces: Informer<Namespace>,
    config_maps: Informer<ConfigMap>,
    pem: String,
}

/// A queue of namespaces, which hears of them and of the objects called `name` in them.
fn queue<K: Kind>(namespaces: &Informer<Namespace>, objects: &Informer<K>, name: &'static str) -> Arc<Queue> {
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    namespaces.on_change(move |change| {
        if let Change::Added(namespace) = change {
            signal.add(Key::of(namespace.as_ref()));
        }
    });
    let signal = Arc::clone(&queue);
    objects.on_change(move |change| {
        let key = Key::of(change.object().as_ref());
        if key.name() == name && !matches!(change, Change::Added(_)) {
            signal.add(Key::cluster(key.namespace()));
        }
    });
    queue
}

fn is_active(namespaces: &Informer<Namespace>, key: &Key) -> bool {
    namespaces.get(key).is_some_and(|n| n.metadata.deletion_timestamp.is_none())
}

/// Somebody else made it, or the namespace is going: both fine.
fn settle<K>(result: Result<K, Error>, learn: impl FnOnce(K)) -> Result<Next, Error> {
    match result {
        Ok(object) => learn(object),
        Err(error) if error.is_already_exists() || error.is_namespace_terminating() || error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    Ok(Next::Signal)
}

fn named(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), namespace: Some(namespace.into()), ..ObjectMeta::default() }
}

pub(crate) fn start_service_accounts(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let (namespaces, accounts) = (context.informers.namespaces.wanted(), context.informers.service_accounts.wanted());
    let queue = queue(&namespaces, &accounts, ACCOUNT);
    let controller = ServiceAccounts { access: context.access.clone(), namespaces, accounts };
    context.spawn(tasks, Arc::new(controller), queue);
}

pub(crate) fn start_root_ca(config: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let Some(pem) = config.root_ca.clone() else { return };
    let (namespaces, config_maps) = (context.informers.namespaces.wanted(), context.informers.config_maps.wanted());
    let queue = queue(&namespaces, &config_maps, ROOT_CA);
    let controller = RootCa { access: context.access.clone(), namespaces, config_maps, pem };
    context.spawn(tasks, Arc::new(controller), queue);
}

#[async_trait]
impl Reconciler for ServiceAccounts {
    const NAME: &'static str = "serviceaccount-controller";
    const WORKERS: usize = 4;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        if !is_active(&self.namespaces, key) || self.accounts.get(&Key::new(key.name(), ACCOUNT)).is_some() {
            return Ok(Next::Signal);
        }
        let account = ServiceAccount { metadata: named(key.name(), ACCOUNT), ..ServiceAccount::default() };
        settle(self.access.create(&account).await, |written| self.accounts.learn(written))
    }

    fn keys(&self) -> Vec<Key> {
        self.namespaces.keys()
    }
}

#[async_trait]
impl Reconciler for RootCa {
    const NAME: &'static str = "root-ca-certificate-publisher-controller";
    const WORKERS: usize = 4;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        if !is_active(&self.namespaces, key) {
            return Ok(Next::Signal);
        }
        let data = BTreeMap::from([("ca.crt".to_owned(), self.pem.clone())]);
        let target = Key::new(key.name(), ROOT_CA);
        let written = match self.config_maps.get(&target) {
            Some(stored) => {
                let described = stored
                    .metadata
                    .annotations
                    .as_ref()
                    .and_then(|a| a.get(DESCRIPTION))
                    .is_some_and(|d| !d.is_empty());
                if stored.data.as_ref() == Some(&data) && described {
                    return Ok(Next::Signal);
                }
                let strangers = stored.data.iter().flatten().filter(|(key, _)| !data.contains_key(*key));
                let mut change: serde_json::Map<_, _> =
                    strangers.map(|(key, _)| (key.clone(), serde_json::Value::Null)).collect();
                change.insert("ca.crt".into(), self.pem.clone().into());
                let mut patch = json!({"data": change});
                if !described {
                    patch["metadata"] = json!({"annotations": {DESCRIPTION: ROOT_CA_TEXT}});
                }
                self.access.patch::<ConfigMap>(&target, &patch).await
            }
            None => {
                let mut metadata = named(key.name(), ROOT_CA);
                metadata.annotations = Some(BTreeMap::from([(DESCRIPTION.into(), ROOT_CA_TEXT.into())]));
                let map = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
                self.access.create(&map).await
            }
        };
        settle(written, |written| self.config_maps.learn(written))
    }

    fn keys(&self) -> Vec<Key> {
        self.namespaces.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;
    use tokio_util::sync::CancellationToken;

    #[tokio::test(start_paused = true)]
    async fn the_root_certificate_is_put_back_as_it_was() {
        let fake = Fake::default();
        let mut config = Config::new(fake.client());
        config.enabled = vec!["root-ca-certificate-publisher-controller".into()];
        config.root_ca = Some("PEM".into());
        let token = CancellationToken::new();
        let task = tokio::spawn(crate::run(config, token.clone()));
        fake.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "d"}}));
        let right = |f: &Fake| {
            let map = f.get("configmaps", "d/kube-root-ca.crt")?;
            let described = !map["metadata"]["annotations"][DESCRIPTION].is_null();
            Some(map["data"] == json!({"ca.crt": "PEM"}) && described)
        };
        fake.until(1, "published", |f| right(f) == Some(true)).await;
        let other = json!({"data": {"ca.crt": "forged", "more": "x"}, "metadata": {"annotations": null}});
        fake.merge("configmaps", "d/kube-root-ca.crt", &other);
        assert_eq!(right(&fake), Some(false));
        fake.until(1, "as it was", |f| right(f) == Some(true)).await;
        fake.delete("configmaps", "d/kube-root-ca.crt", &json!({}));
        fake.until(1, "there again", |f| right(f) == Some(true)).await;
        token.cancel();
        task.await.unwrap();
    }
}
