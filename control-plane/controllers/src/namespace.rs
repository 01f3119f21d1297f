//! Empties namespaces that are being deleted, says in their conditions what remains, and finalizes them.

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::informer::{Change, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::garbage::discovery::{Catalog, Served};
use crate::k8s::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use crate::k8s::apimachinery::pkg::apis::meta::v1::Time;
use crate::{Config, Error, Next};
use async_trait::async_trait;
use jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::core::{DynamicObject, ObjectList, PartialObjectMeta, Request};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const FINALIZER: &str = "kubernetes";
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(5);
/// How late after its grace period a pod may still be there: its node has to say so.
const GRACE_SLACK: jiff::SignedDuration = jiff::SignedDuration::from_secs(15);
/// Objects of one resource that are looked at for finalizers.
const SAMPLE: u32 = 500;

struct Controller {
    access: Access,
    namespaces: Informer<Namespace>,
    clock: Clock,
    /// How long each terminating namespace waits between looks.
    waits: Mutex<HashMap<Key, Duration>>,
}

pub(crate) fn start(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let (namespaces, pods) = (context.informers.namespaces.wanted(), context.informers.pods.wanted());
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    namespaces.on_change(move |change| {
        if change.object().metadata.deletion_timestamp.is_some() {
            signal.add(Key::of(change.object().as_ref()));
        }
    });
    // Pods take the longest: look again as soon as one is gone.
    let (signal, known) = (Arc::clone(&queue), namespaces.clone());
    pods.on_change(move |change| {
        if let Change::Deleted(pod) = change {
            let key = Key::cluster(pod.metadata.namespace.as_deref().unwrap_or_default());
            if known.get(&key).is_some_and(|n| n.metadata.deletion_timestamp.is_some()) {
                signal.add_after(key, Duration::from_millis(5));
            }
        }
    });
    let controller = Controller {
        access: context.access.clone(),
        namespaces,
        clock: context.clock.clone(),
        waits: Mutex::default(),
    };
    context.spawn(tasks, Arc::new(controller), queue);
}

/// What is left in a namespace after a sweep.
#[derive(Debug, Default, PartialEq)]
struct Remains {
    /// Objects by resource, `pods.`-style names.
    objects: BTreeMap<String, usize>,
    /// Objects by the finalizer that holds them.
    finalizers: BTreeMap<String, usize>,
    discovery_failure: Option<String>,
    failures: Vec<String>,
}

/// What is left of one resource.
#[derive(Debug, Default)]
struct Left {
    count: usize,
    finalizers: BTreeMap<String, usize>,
    /// Some of it is within its grace period.
    leaving: bool,
}

impl Remains {
    fn add(&mut self, served: &Served, namespace: &str, left: Left) {
        if left.count == 0 {
            return;
        }
        let resource = &served.resource;
        if left.finalizers.is_empty() && !left.leaving {
            // Nothing holds it, and it is still there.
            self.failures.push(format!(
                "unexpected items still remain in namespace: {namespace} for gvr: {}/{}, Resource={}",
                resource.group, resource.version, resource.plural
            ));
        }
        self.objects.insert(format!("{}.{}", resource.plural, resource.group), left.count);
        for (finalizer, count) in left.finalizers {
            *self.finalizers.entry(finalizer).or_default() += count;
        }
    }

    fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.discovery_failure.is_none() && self.failures.is_empty()
    }
}

/// One condition: what it says when something is wrong, and when nothing is.
struct Verdict {
    type_: &'static str,
    problem: Option<(&'static str, String)>,
    fine: (&'static str, &'static str),
}

/// The five conditions, in Kubernetes' words.
fn conditions(remains: &Remains, before: &[NamespaceCondition], now: Timestamp) -> Vec<NamespaceCondition> {
    let build = |verdict: Verdict| {
        let status = if verdict.problem.is_some() { "True" } else { "False" };
        let (reason, message) = verdict.problem.unwrap_or((verdict.fine.0, verdict.fine.1.to_owned()));
        let old = before.iter().find(|c| c.type_ == verdict.type_ && c.status == status);
        NamespaceCondition {
            type_: verdict.type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: old.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
        }
    };
    verdicts(remains).into_iter().map(build).collect()
}

fn verdicts(remains: &Remains) -> [Verdict; 5] {
    let list = |map: &BTreeMap<String, usize>, what: &str| {
        let entries = map.iter().map(|(name, count)| format!("{name} {what} {count} resource instances"));
        entries.collect::<Vec<_>>().join(", ")
    };
    let discovery = remains.discovery_failure.as_ref();
    let failures = remains.failures.len();
    let content = (failures > 0).then(|| {
        let mut why = remains.failures.clone();
        why.sort();
        why.dedup();
        let why = if let [one] = why.as_slice() { one.clone() } else { format!("[{}]", why.join(", ")) };
        ("ContentDeletionFailed", format!("Failed to delete all resource types, {failures} remaining: {why}"))
    });
    let objects = (!remains.objects.is_empty()).then(|| {
        let what = list(&remains.objects, "has");
        ("SomeResourcesRemain", format!("Some resources are remaining: {what}"))
    });
    let finalizers = (!remains.finalizers.is_empty()).then(|| {
        let what = list(&remains.finalizers, "in");
        ("SomeFinalizersRemain", format!("Some content in the namespace has finalizers remaining: {what}"))
    });
    [
        Verdict {
            type_: "NamespaceDeletionDiscoveryFailure",
            problem: discovery.map(|why| ("DiscoveryFailed", why.clone())),
            fine: ("ResourcesDiscovered", "All resources successfully discovered"),
        },
        Verdict {
            type_: "NamespaceDeletionGroupVersionParsingFailure",
            problem: None,
            fine: ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        },
        Verdict {
            type_: "NamespaceDeletionContentFailure",
            problem: content,
            fine: ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        },
        Verdict {
            type_: "NamespaceContentRemaining",
            problem: objects,
            fine: ("ContentRemoved", "All content successfully removed"),
        },
        Verdict {
            type_: "NamespaceFinalizersRemaining",
            problem: finalizers,
            fine: ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        },
    ]
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "namespace-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(namespace) = self.namespaces.get(key).filter(|n| n.metadata.deletion_timestamp.is_some()) else {
            self.waits.lock().remove(key);
            return Ok(Next::Signal);
        };
        let namespace = self.announce(key, namespace).await?;
        let finalizers = namespace.spec.as_ref().and_then(|s| s.finalizers.clone()).unwrap_or_default();
        if !finalizers.iter().any(|f| f == FINALIZER) {
            return Ok(Next::Signal);
        }
        let remains = self.sweep(key.name()).await;
        if remains.is_empty() {
            self.finalize(key, &namespace, finalizers).await?;
            self.waits.lock().remove(key);
            return Ok(Next::Signal);
        }
        self.report(key, &namespace, &remains).await?;
        let mut waits = self.waits.lock();
        let wait = waits.entry(key.clone()).or_insert(FIRST_LOOK);
        let now = *wait;
        *wait = (now * 2).min(LAST_LOOK);
        Ok(Next::After(now))
    }

    fn keys(&self) -> Vec<Key> {
        let all = self.namespaces.all();
        let going = all.iter().filter(|n| n.metadata.deletion_timestamp.is_some());
        going.map(|namespace| Key::of(namespace.as_ref())).collect()
    }
}

impl Controller {
    /// Makes sure that the namespace shows as Terminating.
    async fn announce(&self, key: &Key, namespace: Arc<Namespace>) -> Result<Arc<Namespace>, Error> {
        if namespace.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Terminating") {
            return Ok(namespace);
        }
        let patch = json!({"status": {"phase": "Terminating"}});
        let written = self.access.patch_status::<Namespace>(key, &patch).await?;
        self.namespaces.learn(written.clone());
        Ok(Arc::new(written))
    }

    /// Deletes everything, and looks what is still there.
    async fn sweep(&self, namespace: &str) -> Remains {
        let mut remains = Remains::default();
        let catalog = match Catalog::read(&self.access).await {
            Ok(catalog) => catalog,
            Err(error) => {
                remains.discovery_failure = Some(error.to_string());
                return remains;
            }
        };
        let (pods, others): (Vec<_>, Vec<_>) =
            catalog.preferred.iter().filter(|s| s.namespaced && s.watchable).partition(|s| s.name() == "pods");
        // Pods first: what they use (policies, secrets, accounts) stays for as long as they do.
        for resources in [pods, others] {
            let sweeps = resources.iter().map(|served| self.sweep_resource(served, namespace));
            for (served, swept) in resources.iter().zip(futures::future::join_all(sweeps).await) {
                match swept {
                    Ok(left) => remains.add(served, namespace, left),
                    Err(error) => remains.failures.push(error.reason()),
                }
            }
            if !remains.is_empty() {
                break;
            }
        }
        remains
    }

    async fn sweep_resource(&self, served: &Served, namespace: &str) -> Result<Left, Error> {
        let path = served.path(Some(namespace));
        if self.list(&path).await?.items.is_empty() {
            return Ok(Left::default());
        }
        if served.collection_deletable {
            self.access.delete_collection(&path, &DeleteParams::background()).await?;
        } else {
            for item in self.list(&path).await?.items {
                let name = item.metadata.name.unwrap_or_default();
                self.access.delete_at(&path, &name, &DeleteParams::background()).await?;
            }
        }
        let list = self.list(&path).await?;
        let mut left = Left::default();
        let now = self.clock.now();
        for meta in list.items.iter().map(|item| &item.metadata) {
            for finalizer in meta.finalizers.iter().flatten() {
                *left.finalizers.entry(finalizer.clone()).or_default() += 1;
            }
            // A deletion timestamp is the end of the grace period.
            left.leaving |= meta.deletion_timestamp.as_ref().is_some_and(|end| end.0 + GRACE_SLACK > now);
        }
        let more = list.metadata.remaining_item_count.and_then(|c| usize::try_from(c).ok()).unwrap_or(0);
        left.count = list.items.len() + more;
        Ok(left)
    }

    async fn list(&self, path: &str) -> Result<ObjectList<PartialObjectMeta<DynamicObject>>, Error> {
        let request = Request::new(path).list_metadata(&ListParams::default().limit(SAMPLE));
        self.access.send(request).await.map_err(Error::api("list", path))
    }

    async fn report(&self, key: &Key, namespace: &Namespace, remains: &Remains) -> Result<(), Error> {
        let before = namespace.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
        let conditions = conditions(remains, &before, self.clock.now());
        if conditions == before {
            return Ok(());
        }
        let status = NamespaceStatus { phase: Some("Terminating".into()), conditions: Some(conditions) };
        let patch = json!({"metadata": {"resourceVersion": namespace.metadata.resource_version}, "status": status});
        match self.access.patch_status::<Namespace>(key, &patch).await {
            Ok(written) => self.namespaces.learn(written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn finalize(&self, key: &Key, namespace: &Namespace, mut finalizers: Vec<String>) -> Result<(), Error> {
        finalizers.retain(|f| f != FINALIZER);
        let mut body = namespace.clone();
        body.spec.get_or_insert_default().finalizers = Some(finalizers);
        let body =
            serde_json::to_vec(&body).map_err(|e| Error::api("encode", "Namespace")(kube::Error::SerdeError(e)))?;
        let request = Request::new("/api/v1/namespaces").replace_subresource(
            "finalize",
            key.name(),
            &PostParams::default(),
            body,
        );
        match self.access.send::<Value>(request).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Error::api("finalize", format!("Namespace {key}"))(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_say_what_remains() {
        let now = Timestamp::UNIX_EPOCH;
        let remains = Remains {
            objects: BTreeMap::from([("pods.".into(), 2), ("things.example.com".into(), 1)]),
            finalizers: BTreeMap::from([("example.com/hold".into(), 1)]),
            ..Remains::default()
        };
        let list = conditions(&remains, &[], now);
        let message = |type_: &str| list.iter().find(|c| c.type_ == type_).unwrap().message.clone().unwrap();
        assert_eq!(
            message("NamespaceContentRemaining"),
            "Some resources are remaining: pods. has 2 resource instances, things.example.com has 1 resource instances"
        );
        assert_eq!(
            message("NamespaceFinalizersRemaining"),
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        );
        assert_eq!(list.iter().filter(|c| c.status == "True").count(), 2);
        let later = now + jiff::SignedDuration::from_secs(9);
        assert_eq!(conditions(&remains, &list, later), list, "transition times are kept");
    }
}
