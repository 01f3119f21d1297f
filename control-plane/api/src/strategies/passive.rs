//! Kinds that differ little: what is known of each is whether it has a generation, whether anything acts on it, and which
//! rules it keeps (`networking`, `policy`, `classes`).

use super::json::{fill, spec_mut};
use super::workloads::no_controller;
use super::{classes, networking, policy, storage};
use crate::field::Error;
use crate::meta;
use crate::strategy::{METADATA_KEPT, Strategy, keep_all_but_status, keep_metadata, replace_status};
use serde_json::{Value, json};
use std::sync::Arc;

/// (group, kind, has a generation, waits for a controller)
const KINDS: &[(&str, &str, bool, bool)] = &[
    ("", "ComponentStatus", false, false),
    ("policy", "PodDisruptionBudget", true, false),
    ("networking.k8s.io", "Ingress", true, true),
    ("networking.k8s.io", "IngressClass", true, true),
    ("networking.k8s.io", "NetworkPolicy", true, true),
    ("networking.k8s.io", "IPAddress", false, false),
    ("networking.k8s.io", "ServiceCIDR", false, false),
    // Its generation is 1 for ever.
    ("scheduling.k8s.io", "PriorityClass", false, false),
    ("storage.k8s.io", "StorageClass", false, true),
    ("storage.k8s.io", "CSIDriver", true, true),
    ("storage.k8s.io", "CSINode", false, true),
    ("storage.k8s.io", "CSIStorageCapacity", false, true),
    ("storage.k8s.io", "VolumeAttachment", false, true),
    ("storage.k8s.io", "VolumeAttributesClass", false, true),
    ("node.k8s.io", "RuntimeClass", false, true),
];

/// Kinds whose updates must carry a resourceVersion.
const CONDITIONAL: &[&str] =
    &["PodDisruptionBudget", "RuntimeClass", "CSIDriver", "CSINode", "CSIStorageCapacity", "VolumeAttachment"];
/// Kinds that a PUT may create.
const CREATED_BY_UPDATE: &[&str] = &["RuntimeClass"];

struct Passive {
    kind: &'static str,
    has_generation: bool,
    waits: bool,
}

impl Strategy for Passive {
    fn default(&self, object: &mut Value) {
        match self.kind {
            "NetworkPolicy" => default_network_policy(object),
            "StorageClass" => default_top(object, &[("reclaimPolicy", "Delete"), ("volumeBindingMode", "Immediate")]),
            "PriorityClass" => default_top(object, &[("preemptionPolicy", "PreemptLowerPriority")]),
            "CSIDriver" => default_csi_driver(object),
            "IngressClass" => default_ingress_class(object),
            _ => {}
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        replace_status(object, self.new_status());
        if self.kind == "PriorityClass"
            && let Some(metadata) = meta::metadata_mut(object)
        {
            metadata.insert("generation".into(), 1.into());
        }
    }

    fn new_status(&self) -> Option<Value> {
        match self.kind {
            "Ingress" => Some(json!({"loadBalancer": {}})),
            "PodDisruptionBudget" => Some(json!({
                "currentHealthy": 0,
                "desiredHealthy": 0,
                "disruptionsAllowed": 0,
                "expectedPods": 0,
            })),
            "ServiceCIDR" => Some(json!({})),
            "VolumeAttachment" => Some(json!({"attached": false})),
            _ => None,
        }
    }

    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        keep_all_but_status(object, old);
        if matches!(self.kind, "ServiceCIDR" | "VolumeAttachment") {
            keep_metadata(object, old, METADATA_KEPT);
        }
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        match self.kind {
            "PodDisruptionBudget" => policy::budget(object),
            "Ingress" => networking::new_ingress(object),
            "IngressClass" => networking::ingress_class(object),
            "NetworkPolicy" => networking::network_policy(object),
            "IPAddress" => networking::ip_address(object),
            "ServiceCIDR" => networking::service_cidr(object),
            "PriorityClass" => classes::priority_class(object),
            "StorageClass" => classes::storage_class(object),
            "RuntimeClass" => classes::runtime_class(object),
            "VolumeAttributesClass" => classes::attributes_class(object),
            "VolumeAttachment" => storage::volume_attachment(object),
            "CSIDriver" => storage::csi_driver(object),
            "CSINode" => storage::csi_node(object),
            "CSIStorageCapacity" => storage::storage_capacity(object),
            _ => Vec::new(),
        }
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = networking::update(self.kind, object, old);
        errors.extend(classes::update(self.kind, object, old));
        errors
    }

    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = match self.kind {
            "Ingress" => networking::ingress(object),
            // What may change of it is said by the update alone.
            "IPAddress" | "ServiceCIDR" | "CSIStorageCapacity" => Vec::new(),
            _ => self.validate(object),
        };
        errors.extend(self.validate_update(object, old));
        errors
    }

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        match self.kind {
            "PodDisruptionBudget" => policy::budget_status(object),
            "Ingress" => networking::ingress_status(object),
            "VolumeAttachment" => storage::volume_attachment(object),
            _ => Vec::new(),
        }
    }

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

fn default_top(object: &mut Value, fields: &[(&str, &str)]) {
    let Some(object) = object.as_object_mut() else { return };
    for (field, value) in fields {
        fill(object, field, *value);
    }
}

fn default_network_policy(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    if is_empty(spec.get("policyTypes")) {
        let types = if is_empty(spec.get("egress")) { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
        spec.insert("policyTypes".into(), types);
    }
    for direction in ["ingress", "egress"] {
        let rules = spec.get_mut(direction).and_then(Value::as_array_mut).into_iter().flatten();
        let ports = rules.filter_map(|rule| rule.get_mut("ports")?.as_array_mut()).flatten();
        for port in ports.filter_map(Value::as_object_mut) {
            fill(port, "protocol", "TCP");
        }
    }
}

fn default_ingress_class(object: &mut Value) {
    let parameters = object.pointer_mut("/spec/parameters").and_then(Value::as_object_mut);
    if let Some(parameters) = parameters {
        fill(parameters, "scope", "Cluster");
    }
}

fn default_csi_driver(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    fill(spec, "attachRequired", true);
    for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        fill(spec, field, false);
    }
    fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if is_empty(spec.get("volumeLifecycleModes")) {
        spec.insert("volumeLifecycleModes".into(), json!(["Persistent"]));
    }
}

fn is_empty(list: Option<&Value>) -> bool {
    list.and_then(Value::as_array).is_none_or(Vec::is_empty)
}

pub(super) fn find(group: &str, kind: &str) -> Option<Arc<dyn Strategy>> {
    KINDS.iter().find(|(g, k, ..)| *g == group && *k == kind).map(|&(_, kind, has_generation, waits)| {
        let strategy: Arc<dyn Strategy> = Arc::new(Passive { kind, has_generation, waits });
        strategy
    })
}

#[cfg(test)]
mod tests {
    use super::find;
    use serde_json::{Value, json};

    fn defaulted(group: &str, kind: &str, mut object: Value) -> Value {
        find(group, kind).unwrap().default(&mut object);
        object
    }

    #[test]
    fn kinds_that_nothing_acts_on_get_their_defaults_all_the_same() {
        let policy = json!({"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}});
        let policy = defaulted("networking.k8s.io", "NetworkPolicy", policy);
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(policy["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
        let class = defaulted("storage.k8s.io", "StorageClass", json!({"provisioner": "x"}));
        assert_eq!(class, json!({"provisioner": "x", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}));
    }

    #[test]
    fn updates_of_what_drivers_own_must_name_the_version_they_change() {
        for kind in ["CSIDriver", "CSINode", "CSIStorageCapacity", "VolumeAttachment"] {
            assert!(!find("storage.k8s.io", kind).unwrap().unconditional_update(), "{kind}");
        }
        assert!(find("storage.k8s.io", "StorageClass").unwrap().unconditional_update());
    }
}
