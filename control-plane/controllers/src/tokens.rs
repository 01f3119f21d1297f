//! Tokens that are kept in Secrets: those of service accounts go with their account, bootstrap tokens when they expire.
//! Neither needs a watch over all Secrets: a field selector finds them.

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::informer::{Change, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::core::v1::{Secret, ServiceAccount};
use crate::{Config, Error, Next};
use async_trait::async_trait;
use jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, ObjectList, Preconditions};
use kube::core::Request;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const SYSTEM: &str = "kube-system";
/// Between two looks at the bootstrap tokens.
const LOOK: Duration = Duration::from_secs(60);

struct AccountTokens {
    access: Access,
    accounts: Informer<ServiceAccount>,
}

struct BootstrapTokens {
    access: Access,
    clock: Clock,
}

/// There is one thing to do, under one key.
fn all() -> Key {
    Key::cluster("all")
}

pub(crate) fn start_account_tokens(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let accounts = context.informers.service_accounts.wanted();
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    accounts.on_change(move |change| {
        if let Change::Deleted(account) = change {
            signal.add(Key::of(account.as_ref()));
        }
    });
    context.spawn(tasks, Arc::new(AccountTokens { access: context.access.clone(), accounts }), queue);
}

pub(crate) fn start_bootstrap_tokens(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let controller = BootstrapTokens { access: context.access.clone(), clock: context.clock.clone() };
    context.spawn(tasks, Arc::new(controller), Arc::new(Queue::default()));
}

async fn secrets(access: &Access, namespace: &str, kind: &str) -> Result<Vec<Secret>, Error> {
    let params = ListParams::default().fields(&format!("type={kind}"));
    let call = Request::new(Access::path::<Secret>(Some(namespace))).list(&params);
    let list: ObjectList<Secret> =
        access.send(call).await.map_err(Error::api("list", format!("Secrets of type {kind} in {namespace}")))?;
    Ok(list.items)
}

async fn delete(access: &Access, secret: &Secret) -> Result<(), Error> {
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: secret.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    access.delete::<Secret>(&Key::of(secret), &params).await.map(drop)
}

/// Whether the token was made for an account that is there no more, going by its UID.
fn is_orphan(secret: &Secret, account: &str, living: Option<&ServiceAccount>) -> bool {
    let annotation = |name: &str| {
        let annotations = secret.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(&format!("kubernetes.io/service-account.{name}"))).map(String::as_str)
    };
    let same = living.is_some_and(|living| living.metadata.uid.as_deref() == annotation("uid"));
    annotation("name") == Some(account) && !same
}

#[async_trait]
impl Reconciler for AccountTokens {
    const NAME: &'static str = "serviceaccount-token-controller";
    const WORKERS: usize = 2;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let living = self.accounts.get(key);
        for secret in secrets(&self.access, key.namespace(), "kubernetes.io/service-account-token").await? {
            if is_orphan(&secret, key.name(), living.as_deref()) {
                delete(&self.access, &secret).await?;
            }
        }
        Ok(Next::Signal)
    }

    /// Only deletions matter; what is missed while nobody looks is of no use to anyone: its account is gone.
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}

/// When the token ends; `None`: never.
fn expiration(secret: &Secret) -> Option<Timestamp> {
    let text = secret.data.as_ref()?.get("expiration")?;
    std::str::from_utf8(&text.0).ok()?.parse().ok()
}

#[async_trait]
impl Reconciler for BootstrapTokens {
    const NAME: &'static str = "token-cleaner-controller";
    const WORKERS: usize = 1;

    async fn reconcile(&self, _: &Key) -> Result<Next, Error> {
        let now = self.clock.now();
        for secret in secrets(&self.access, SYSTEM, "bootstrap.kubernetes.io/token").await? {
            if expiration(&secret).is_some_and(|end| end <= now) {
                delete(&self.access, &secret).await?;
            }
        }
        Ok(Next::After(LOOK))
    }

    fn keys(&self) -> Vec<Key> {
        vec![all()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_token_belongs_to_one_account_and_not_to_its_name() {
        let secret: Secret = serde_json::from_value(json!({"metadata": {"annotations": {
            "kubernetes.io/service-account.name": "robot", "kubernetes.io/service-account.uid": "1",
        }}}))
        .unwrap();
        let account =
            |uid: &str| -> ServiceAccount { serde_json::from_value(json!({"metadata": {"uid": uid}})).unwrap() };
        assert!(is_orphan(&secret, "robot", None));
        assert!(is_orphan(&secret, "robot", Some(&account("2"))));
        assert!(!is_orphan(&secret, "robot", Some(&account("1"))));
        assert!(!is_orphan(&secret, "other", None));
    }
}
