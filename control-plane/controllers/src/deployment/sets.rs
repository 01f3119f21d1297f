//! The ReplicaSets of a Deployment, as a plan works on them: copies that remember what the server has. Pure.

use super::Note;
use crate::frame::access::merge_diff;
use crate::k8s::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec, ReplicaSetStatus};
use crate::k8s::api::core::v1::PodTemplateSpec;
use crate::k8s::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use crate::k8s::apimachinery::pkg::util::intstr::IntOrString;
use crate::owners::controller_ref;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";
pub const HASH_LABEL: &str = "pod-template-hash";
/// Annotations of the Deployment that its ReplicaSets do not inherit.
const NOT_INHERITED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];
/// Longest revision history kept, in characters.
const HISTORY_LIMIT: usize = 2000;

/// A ReplicaSet in a plan.
#[derive(Clone, Debug)]
pub struct Set {
    pub now: ReplicaSet,
    /// What the server has; `None` for one that is to be created.
    pub stored: Option<Arc<ReplicaSet>>,
    pub notes: Vec<Note>,
}

impl Set {
    pub fn stored(set: &Arc<ReplicaSet>) -> Self {
        Self { now: set.as_ref().clone(), stored: Some(Arc::clone(set)), notes: Vec::new() }
    }

    pub fn name(&self) -> &str {
        self.now.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn uid(&self) -> &str {
        self.now.metadata.uid.as_deref().unwrap_or_default()
    }

    pub fn replicas(&self) -> i32 {
        self.now.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    pub fn status(&self) -> ReplicaSetStatus {
        self.now.status.clone().unwrap_or_default()
    }

    pub fn available(&self) -> i32 {
        self.now.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0)
    }

    pub fn actual(&self) -> i32 {
        self.now.status.as_ref().map_or(0, |s| s.replicas)
    }

    pub fn template(&self) -> PodTemplateSpec {
        self.now.spec.as_ref().and_then(|s| s.template.clone()).unwrap_or_default()
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.now.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    pub fn revision(&self) -> i64 {
        self.annotation(REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
    }

    pub fn desired(&self) -> Option<i32> {
        self.annotation(DESIRED)?.parse().ok()
    }

    fn annotate(&mut self, name: &str, value: String) {
        self.now.metadata.annotations.get_or_insert_default().insert(name.into(), value);
    }

    /// Sets the size and what the size was derived from; notes the event if it changed.
    pub fn scale(&mut self, deployment: &Deployment, to: i32) -> bool {
        self.annotate_size(deployment);
        let from = self.replicas();
        if from == to {
            return false;
        }
        if let Some(spec) = self.now.spec.as_mut() {
            spec.replicas = Some(to);
        }
        let direction = if to > from { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {} from {from} to {to}", self.name());
        self.notes.push(Note::normal("ScalingReplicaSet", message));
        true
    }

    pub fn annotate_size(&mut self, deployment: &Deployment) {
        let wanted = replicas(deployment);
        self.annotate(DESIRED, wanted.to_string());
        self.annotate(MAX, most(deployment).to_string());
    }

    /// Brings annotations, revision and minReadySeconds of the new set up to date.
    pub fn refresh(&mut self, deployment: &Deployment, revision: i64) {
        for (name, value) in inherited(deployment) {
            self.annotate(&name, value);
        }
        let before = self.revision();
        if before < revision {
            if before > 0 {
                self.remember(before);
            }
            self.annotate(REVISION, revision.to_string());
        }
        if let Some(spec) = self.now.spec.as_mut() {
            let wanted = min_ready_seconds(deployment);
            if spec.min_ready_seconds.unwrap_or(0) != wanted {
                spec.min_ready_seconds = Some(wanted);
            }
        }
    }

    fn remember(&mut self, revision: i64) {
        let mut history: Vec<_> =
            self.annotation(REVISION_HISTORY).unwrap_or_default().split(',').map(str::to_owned).collect();
        history.retain(|entry| !entry.is_empty());
        history.push(revision.to_string());
        while history.join(",").len() > HISTORY_LIMIT {
            history.remove(0);
        }
        self.annotate(REVISION_HISTORY, history.join(","));
    }

    /// The conditional patch from what is stored to what is wanted.
    pub fn patch(&self) -> Option<Value> {
        let stored = self.stored.as_ref()?;
        let view = |set: &ReplicaSet| {
            let spec = set.spec.as_ref();
            json!({
                "metadata": {"annotations": set.metadata.annotations.clone().unwrap_or_default()},
                "spec": {"replicas": spec.and_then(|s| s.replicas), "minReadySeconds": spec.and_then(|s| s.min_ready_seconds)},
            })
        };
        let mut patch = merge_diff(&view(stored), &view(&self.now))?;
        patch["metadata"]["resourceVersion"] = json!(stored.metadata.resource_version);
        Some(patch)
    }
}

/// The ReplicaSet that a Deployment's current template asks for, with no replicas yet.
pub fn fresh(deployment: &Deployment, revision: i64) -> Set {
    let spec = deployment.spec.clone().unwrap_or_default();
    let hash = template_hash(&spec.template, deployment.status.as_ref().and_then(|s| s.collision_count));
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.clone());
    let name = format!("{}-{hash}", deployment.metadata.name.as_deref().unwrap_or_default());
    let set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_ref(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds.filter(|s| *s != 0),
            selector,
            template: Some(template),
        }),
        status: None,
    };
    let mut set = Set { now: set, stored: None, notes: Vec::new() };
    set.refresh(deployment, revision);
    set.annotate_size(deployment);
    set
}

fn inherited(deployment: &Deployment) -> BTreeMap<String, String> {
    let all = deployment.metadata.annotations.clone().unwrap_or_default();
    all.into_iter().filter(|(name, _)| !NOT_INHERITED.contains(&name.as_str())).collect()
}

/// Ten characters that follow from the template and the collision count: the same on every run and machine.
/// The alphabet has no vowels and no look-alikes, so that names spell nothing.
pub fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let canonical = serde_json::to_value(template).map(|v| v.to_string()).unwrap_or_default();
    let mut hasher = Sha256::new();
    hasher.update(canonical.as_bytes());
    if let Some(count) = collisions {
        hasher.update(count.to_le_bytes());
    }
    hasher.finalize().iter().take(10).map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}

/// Equal but for the hash label.
pub fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let bare = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        if let Some(labels) = template.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
            labels.remove(HASH_LABEL);
        }
        template
    };
    bare(a) == bare(b)
}

pub fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

pub fn min_ready_seconds(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
}

pub fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|s| s.strategy.as_ref());
    strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate")
}

/// (maxSurge rounded up, maxUnavailable rounded down), never both zero.
fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let strategy = deployment.spec.as_ref().and_then(|s| s.strategy.as_ref());
    let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".into());
    let total = f64::from(replicas(deployment));
    let resolve = |value: Option<&IntOrString>, round: fn(f64) -> f64| match value.unwrap_or(&quarter) {
        IntOrString::Int(count) => *count,
        IntOrString::String(text) => {
            let percent: f64 = text.trim_end_matches('%').parse().unwrap_or(0.0);
            #[expect(clippy::cast_possible_truncation, reason = "a share of an i32")]
            let share = round(percent * total / 100.0) as i32;
            share
        }
    };
    let surge = resolve(rolling.and_then(|r| r.max_surge.as_ref()), f64::ceil);
    let unavailable = resolve(rolling.and_then(|r| r.max_unavailable.as_ref()), f64::floor);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

fn max_surge(deployment: &Deployment) -> i32 {
    if is_recreate(deployment) { 0 } else { fenceposts(deployment).0 }
}

/// The most pods there may be during a rollout.
pub fn most(deployment: &Deployment) -> i32 {
    replicas(deployment).saturating_add(max_surge(deployment))
}

pub fn max_unavailable(deployment: &Deployment) -> i32 {
    let replicas = replicas(deployment);
    if is_recreate(deployment) || replicas == 0 { 0 } else { fenceposts(deployment).1.min(replicas) }
}
