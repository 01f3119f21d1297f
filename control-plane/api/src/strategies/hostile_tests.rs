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
            strategy.prepare_status_update(&mut new, &object);
            let _ = (strategy.validate_status_update(&new, &object), strategy.deletion_grace_seconds(&new, None));
        }
        let named: Vec<&str> = strategy.fields(&json!({})).into_iter().map(|(name, _)| name).collect();
        assert_eq!(named, strategy.field_names(), "{kind}");
    }
}
