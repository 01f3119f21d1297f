//! No input makes a strategy panic, and defaulting twice is defaulting once.

use super::for_kind;
use serde_json::{Value, json};

const ALL: &[(&str, &str)] = &[
    ("", "Pod"),
    ("", "PodTemplate"),
    ("", "ReplicationController"),
    ("", "Service"),
    ("", "Endpoints"),
    ("", "ConfigMap"),
    ("", "Secret"),
    ("", "Namespace"),
    ("", "Node"),
    ("", "Event"),
    ("events.k8s.io", "Event"),
    ("", "LimitRange"),
    ("", "ResourceQuota"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "ServiceAccount"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "DaemonSet"),
    ("apps", "StatefulSet"),
    ("apps", "ControllerRevision"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("coordination.k8s.io", "Lease"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("networking.k8s.io", "Ingress"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("networking.k8s.io", "IPAddress"),
    ("networking.k8s.io", "ServiceCIDR"),
    ("policy", "PodDisruptionBudget"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "CSIStorageCapacity"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("storage.k8s.io", "VolumeAttributesClass"),
    ("node.k8s.io", "RuntimeClass"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("x.io", "Custom"),
];

/// Objects with a value of the wrong type in every place a strategy looks at.
fn hostile() -> Vec<Value> {
    let junk = [
        json!(null),
        json!(1),
        json!("x"),
        json!([]),
        json!({}),
        json!([null, 1, "x", {}, []]),
        json!({"a": null, "b": [1]}),
    ];
    let mut all: Vec<Value> = junk.to_vec();
    for a in &junk {
        all.push(json!({"metadata": a, "spec": a, "status": a, "data": a, "stringData": a, "template": a, "subsets": a, "type": a}));
        for b in ["webhooks", "rules", "subjects", "overhead", "scheduling", "allowedTopologies", "endpoints"] {
            all.push(json!({b: a, "roleRef": a, "aggregationRule": a, "parameters": a, "capacity": a}));
            all.push(json!({b: [{"rules": a, "clientConfig": a, "matchConditions": a, "namespaceSelector": a, "verbs": a,
                "matchLabelExpressions": a, "addresses": a, "kind": "User", "name": a}],
                "aggregationRule": {"clusterRoleSelectors": a}, "overhead": {"podFixed": a}, "scheduling": {"tolerations": a}}));
        }
        for b in [
            "selector",
            "template",
            "ports",
            "limits",
            "hard",
            "taints",
            "strategy",
            "updateStrategy",
            "volumeClaimTemplates",
            "jobTemplate",
            "capacity",
            "scopes",
            "accessModes",
            "clusterIPs",
            "sessionAffinityConfig",
            "request",
            "usages",
            "versions",
            "names",
            "conversion",
            "drivers",
            "tokenRequests",
            "source",
            "parentRef",
            "parameters",
            "policyTypes",
            "ingress",
            "egress",
            "cidrs",
        ] {
            all.push(json!({"metadata": {"name": "n"}, "spec": {b: a, "replicas": "x"}, "endpoints": a, "ports": a, "involvedObject": a}));
            all.push(json!({"spec": {"template": {"spec": {b: a, "containers": a}, "metadata": {"labels": a}}, b: a}}));
        }
    }
    all
}

#[test]
fn no_strategy_panics_on_wrong_types_and_all_defaults_are_idempotent() {
    for (group, kind) in ALL {
        let strategy = for_kind(group, kind);
        for object in hostile() {
            let mut new = object.clone();
            strategy.default(&mut new);
            let once = new.clone();
            strategy.default(&mut new);
            assert_eq!(new, once, "{kind}: {object}");
            strategy.prepare_create(&mut new);
            let _ = (strategy.validate(&new), strategy.warnings(&new), strategy.fields(&new));
            strategy.prepare_update(&mut new, &object);
            let _ = (strategy.validate_update(&new, &object), strategy.validate_update(&object, &new));
            let _ = (strategy.validate_change(&new, &object), strategy.change_warnings(&new, &object));
            strategy.prepare_status_update(&mut new, &object);
            let _ = (strategy.validate_status_update(&new, &object), strategy.deletion_grace_seconds(&new, None));
            strategy.prepare_subresource_update("approval", &mut new, &object);
            let _ = strategy.validate_subresource_update("approval", &new, &object);
        }
        let named: Vec<&str> = strategy.fields(&json!({})).into_iter().map(|(name, _)| name).collect();
        assert_eq!(named, strategy.field_names(), "{kind}");
    }
}

/// What could be told of each pair of parts is told of some.
#[test]
fn long_lists_are_not_told_of_pair_by_pair() {
    let pod = for_kind("", "Pod");
    let port = json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"});
    let container = json!({"name": "c", "image": "i", "ports": vec![port; 5_000]});
    let paths = vec![json!({"key": "k", "path": "a"}); 5_000];
    let volume = json!({"name": "v", "configMap": {"name": "c", "items": paths}});
    let object = json!({"metadata": {"name": "x"}, "spec": {"containers": [container], "volumes": [volume]}});
    assert!(pod.warnings(&object).len() < 5_000);
    let errors = pod.validate(&object);
    assert!(errors.len() >= 4_999, "{}", errors.len());
    let status = crate::Status::invalid("", "Pod", "x", &errors);
    let causes = status.details.as_ref().map_or(0, |details| details.causes.len());
    assert_eq!(causes, 1_000);
    assert!(status.message.ends_with(&format!("and {} more]", errors.len() - 1_000)), "{}", status.message.len());
    let quota = for_kind("", "ResourceQuota");
    let hard: serde_json::Map<String, Value> = (0..500).map(|i| (format!("requests.a{i}"), "1".into())).collect();
    let scopes = json!({"spec": {"hard": hard, "scopes": vec!["BestEffort"; 500]}});
    assert!(quota.validate(&scopes).len() < 2_000);
}
