//! Kinds that are stored and served without rules of their own so far: what is known of each is whether
//! it has a generation, and whether anything acts on it.

use super::workloads::no_controller;
use crate::strategy::Strategy;
use serde_json::Value;
use std::sync::Arc;

/// (group, kind, has a generation, waits for a controller)
const KINDS: &[(&str, &str, bool, bool)] = &[
    ("", "ComponentStatus", false, false),
    ("autoscaling", "HorizontalPodAutoscaler", false, true),
    ("policy", "PodDisruptionBudget", true, true),
    ("networking.k8s.io", "Ingress", true, true),
    ("networking.k8s.io", "IngressClass", true, true),
    ("networking.k8s.io", "NetworkPolicy", true, true),
    ("networking.k8s.io", "IPAddress", false, false),
    ("networking.k8s.io", "ServiceCIDR", false, true),
    ("rbac.authorization.k8s.io", "Role", false, true),
    ("rbac.authorization.k8s.io", "RoleBinding", false, true),
    ("rbac.authorization.k8s.io", "ClusterRole", false, true),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", false, true),
    ("certificates.k8s.io", "CertificateSigningRequest", false, true),
    ("scheduling.k8s.io", "PriorityClass", true, true),
    ("storage.k8s.io", "StorageClass", false, true),
    ("storage.k8s.io", "CSIDriver", false, true),
    ("storage.k8s.io", "CSINode", false, true),
    ("storage.k8s.io", "CSIStorageCapacity", false, true),
    ("storage.k8s.io", "VolumeAttachment", false, true),
    ("storage.k8s.io", "VolumeAttributesClass", false, true),
    ("node.k8s.io", "RuntimeClass", false, true),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", true, true),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", true, true),
];

/// Kinds whose updates must carry a resourceVersion.
const CONDITIONAL: &[&str] =
    &["PodDisruptionBudget", "RuntimeClass", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];
/// Kinds that a PUT may create.
const CREATED_BY_UPDATE: &[&str] = &["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "PriorityClass"];

struct Passive {
    kind: &'static str,
    has_generation: bool,
    waits: bool,
}

impl Strategy for Passive {
    fn warnings(&self, _object: &Value) -> Vec<String> {
        if self.waits { no_controller(self.kind) } else { Vec::new() }
    }

    fn has_generation(&self) -> bool {
        self.has_generation
    }

    fn create_on_update(&self) -> bool {
        CREATED_BY_UPDATE.contains(&self.kind)
    }

    fn unconditional_update(&self) -> bool {
        !CONDITIONAL.contains(&self.kind)
    }
}

pub(super) fn find(group: &str, kind: &str) -> Option<Arc<dyn Strategy>> {
    KINDS.iter().find(|(g, k, ..)| *g == group && *k == kind).map(|&(_, kind, has_generation, waits)| {
        let strategy: Arc<dyn Strategy> = Arc::new(Passive { kind, has_generation, waits });
        strategy
    })
}
