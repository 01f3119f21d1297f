//! What is filled in: `pkg/apis/*/v1/defaults.go` of the groups beside core, and what strategies set at creation.

use crate::meta;
use crate::strategies::for_kind;
use crate::strategies::rule_tests::decode;
use serde_json::{Value, json};

/// (group, kind, what is given, where, what is there then)
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("apps", "Deployment", "{}", "/spec/replicas", "1"),
    ("apps", "Deployment", "{}", "/spec/revisionHistoryLimit", "10"),
    ("apps", "Deployment", "{}", "/spec/progressDeadlineSeconds", "600"),
    ("apps", "Deployment", "{}", "/spec/strategy", r#"{"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}"#),
    ("apps", "Deployment", r#"{"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0}}}}"#, "/spec/strategy/rollingUpdate", r#"{"maxSurge": 0, "maxUnavailable": "25%"}"#),
    ("apps", "Deployment", r#"{"spec": {"strategy": {"type": "Recreate"}}}"#, "/spec/strategy", r#"{"type": "Recreate"}"#),
    ("apps", "ReplicaSet", "{}", "/spec/replicas", "1"),
    ("apps", "DaemonSet", "{}", "/spec/revisionHistoryLimit", "10"),
    ("apps", "DaemonSet", "{}", "/spec/updateStrategy", r#"{"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}"#),
    ("apps", "DaemonSet", r#"{"spec": {"updateStrategy": {"type": "OnDelete"}}}"#, "/spec/updateStrategy", r#"{"type": "OnDelete"}"#),
    ("apps", "DaemonSet", "{}", "/metadata/annotations", r#"{"deprecated.daemonset.template.generation": "1"}"#),
    ("apps", "DaemonSet", r#"{"metadata": {"annotations": {"deprecated.daemonset.template.generation": "7"}}}"#, "/metadata/annotations", r#"{"deprecated.daemonset.template.generation": "7"}"#),
    ("apps", "StatefulSet", "{}", "/spec/podManagementPolicy", r#""OrderedReady""#),
    ("apps", "StatefulSet", "{}", "/spec/replicas", "1"),
    ("apps", "StatefulSet", "{}", "/spec/revisionHistoryLimit", "10"),
    ("apps", "StatefulSet", "{}", "/spec/updateStrategy", r#"{"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}}"#),
    ("apps", "StatefulSet", r#"{"spec": {"updateStrategy": {"type": "RollingUpdate"}}}"#, "/spec/updateStrategy", r#"{"type": "RollingUpdate"}"#),
    ("apps", "StatefulSet", r#"{"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}}}"#, "/spec/updateStrategy/rollingUpdate", r#"{"partition": 2, "maxUnavailable": 1}"#),
    ("apps", "StatefulSet", r#"{"spec": {"updateStrategy": {"type": "OnDelete"}}}"#, "/spec/updateStrategy", r#"{"type": "OnDelete"}"#),
    ("apps", "StatefulSet", "{}", "/spec/persistentVolumeClaimRetentionPolicy", r#"{"whenDeleted": "Retain", "whenScaled": "Retain"}"#),
    ("apps", "StatefulSet", r#"{"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}}"#, "/spec/persistentVolumeClaimRetentionPolicy", r#"{"whenDeleted": "Retain", "whenScaled": "Delete"}"#),
    ("batch", "Job", "{}", "/spec/completions", "1"),
    ("batch", "Job", "{}", "/spec/parallelism", "1"),
    ("batch", "Job", r#"{"spec": {"parallelism": 3}}"#, "/spec/completions", "null"),
    ("batch", "Job", r#"{"spec": {"completions": 3}}"#, "/spec/parallelism", "1"),
    ("batch", "Job", "{}", "/spec/backoffLimit", "6"),
    ("batch", "Job", r#"{"spec": {"backoffLimitPerIndex": 1}}"#, "/spec/backoffLimit", "2147483647"),
    ("batch", "Job", "{}", "/spec/completionMode", r#""NonIndexed""#),
    ("batch", "Job", r#"{"spec": {"completionMode": ""}}"#, "/spec/completionMode", r#""""#),
    ("batch", "Job", "{}", "/spec/suspend", "false"),
    ("batch", "Job", "{}", "/spec/manualSelector", "false"),
    ("batch", "Job", "{}", "/spec/podReplacementPolicy", r#""TerminatingOrFailed""#),
    ("batch", "Job", r#"{"spec": {"podFailurePolicy": {"rules": []}}}"#, "/spec/podReplacementPolicy", r#""Failed""#),
    ("batch", "Job", r#"{"spec": {"podFailurePolicy": {"rules": [{"onPodConditions": [{"type": "a"}]}]}}}"#, "/spec/podFailurePolicy/rules/0/onPodConditions/0/status", r#""True""#),
    ("batch", "CronJob", "{}", "/spec/concurrencyPolicy", r#""Allow""#),
    ("batch", "CronJob", "{}", "/spec/suspend", "false"),
    ("batch", "CronJob", "{}", "/spec/successfulJobsHistoryLimit", "3"),
    ("batch", "CronJob", "{}", "/spec/failedJobsHistoryLimit", "1"),
    ("batch", "CronJob", "{}", "/spec/jobTemplate/spec/backoffLimit", "null"),
    ("batch", "CronJob", r#"{"spec": {"jobTemplate": {"spec": {"podFailurePolicy": {"rules": [{"onPodConditions": [{"type": "a"}]}]}}}}}"#, "/spec/jobTemplate/spec/podFailurePolicy/rules/0/onPodConditions/0/status", r#""True""#),
    ("autoscaling", "HorizontalPodAutoscaler", "{}", "/spec/minReplicas", "1"),
    ("autoscaling", "HorizontalPodAutoscaler", "{}", "/spec/metrics", r#"[{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]"#),
    ("autoscaling", "HorizontalPodAutoscaler", r#"{"spec": {"behavior": {}}}"#, "/spec/behavior", r#"{"scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]}, "scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}}"#),
    ("autoscaling", "HorizontalPodAutoscaler", r#"{"spec": {"behavior": {"scaleDown": {"policies": []}}}}"#, "/spec/behavior/scaleDown", r#"{"selectPolicy": "Max", "policies": []}"#),
    ("networking.k8s.io", "IngressClass", r#"{"spec": {"parameters": {"kind": "A", "name": "b"}}}"#, "/spec/parameters/scope", r#""Cluster""#),
    ("networking.k8s.io", "IngressClass", r#"{"spec": {}}"#, "/spec/parameters", "null"),
    ("networking.k8s.io", "NetworkPolicy", "{}", "/spec/policyTypes", r#"["Ingress"]"#),
    ("networking.k8s.io", "NetworkPolicy", r#"{"spec": {"egress": [{"ports": [{"port": 1}]}]}}"#, "/spec/policyTypes", r#"["Ingress", "Egress"]"#),
    ("networking.k8s.io", "NetworkPolicy", r#"{"spec": {"egress": [{"ports": [{"port": 1}]}]}}"#, "/spec/egress/0/ports/0/protocol", r#""TCP""#),
    ("discovery.k8s.io", "EndpointSlice", r#"{"ports": [{"port": 1}]}"#, "/ports/0", r#"{"name": "", "port": 1, "protocol": "TCP"}"#),
    ("storage.k8s.io", "StorageClass", "{}", "/reclaimPolicy", r#""Delete""#),
    ("storage.k8s.io", "StorageClass", "{}", "/volumeBindingMode", r#""Immediate""#),
    ("storage.k8s.io", "CSIDriver", "{}", "/spec", r#"{"attachRequired": true, "podInfoOnMount": false, "storageCapacity": false, "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"], "requiresRepublish": false, "seLinuxMount": false}"#),
    ("scheduling.k8s.io", "PriorityClass", "{}", "/preemptionPolicy", r#""PreemptLowerPriority""#),
    ("scheduling.k8s.io", "PriorityClass", "{}", "/metadata/generation", "1"),
    ("rbac.authorization.k8s.io", "RoleBinding", r#"{"roleRef": {"kind": "Role", "name": "r"}}"#, "/roleRef/apiGroup", r#""rbac.authorization.k8s.io""#),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", r#"{"subjects": [{"kind": "Group", "name": "g"}]}"#, "/subjects/0/apiGroup", r#""rbac.authorization.k8s.io""#),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", r#"{"subjects": [{"kind": "ServiceAccount", "name": "g"}]}"#, "/subjects/0/apiGroup", "null"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", r#"{"webhooks": [{}]}"#, "/webhooks/0", r#"{"name": "", "admissionReviewVersions": null, "clientConfig": {}, "sideEffects": null, "failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "timeoutSeconds": 10}"#),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", r#"{"webhooks": [{"rules": [{}], "clientConfig": {"service": {}}}]}"#, "/webhooks/0", r#"{"name": "", "admissionReviewVersions": null, "sideEffects": null, "failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "timeoutSeconds": 10, "reinvocationPolicy": "Never", "rules": [{"scope": "*"}], "clientConfig": {"service": {"name": "", "namespace": "", "port": 443}}}"#),
    ("apiextensions.k8s.io", "CustomResourceDefinition", r#"{"spec": {"names": {"kind": "TabLe"}}}"#, "/spec/names", r#"{"kind": "TabLe", "plural": "", "singular": "table", "listKind": "TabLeList"}"#),
    ("apiextensions.k8s.io", "CustomResourceDefinition", r#"{"spec": {}}"#, "/spec/conversion", r#"{"strategy": "None"}"#),
    ("apiextensions.k8s.io", "CustomResourceDefinition", r#"{"spec": {"conversion": {"webhook": {"clientConfig": {"service": {}}}}}}"#, "/spec/conversion/webhook/clientConfig/service/port", "443"),
    ("apiextensions.k8s.io", "CustomResourceDefinition", r#"{"spec": {"versions": [{"name": "v1"}, {"name": "v2", "storage": true}]}}"#, "/status/storedVersions", r#"["v2"]"#),
];

#[test]
fn new_objects_get_what_kubernetes_fills_in() {
    let mut failures = Vec::new();
    for (group, kind, given, pointer, wanted) in ROWS {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let (mut object, wanted) = (parsed(given), parsed(wanted));
        let metadata = object.as_object_mut().unwrap().entry("metadata").or_insert_with(|| json!({}));
        metadata["name"] = "x".into();
        decode(group, kind, &mut object);
        let strategy = for_kind(group, kind);
        strategy.default(&mut object);
        strategy.prepare_create(&mut object);
        let found = object.pointer(pointer).cloned().unwrap_or_default();
        if found != wanted {
            failures.push(format!("{kind} {given} {pointer}\n  wanted {wanted}\n  found {found}"));
        }
    }
    super::verdict(&failures);
}

#[test]
fn updates_count_what_kubernetes_counts() {
    let slice = for_kind("discovery.k8s.io", "EndpointSlice");
    let old = json!({"metadata": {"generation": 4, "labels": {"a": "b"}}});
    let generation = |labels: Value| {
        let mut new = json!({"metadata": {"generation": 4, "labels": labels}});
        slice.prepare_update(&mut new, &old);
        meta::generation(&new)
    };
    assert_eq!((generation(json!({"a": "b"})), generation(json!({}))), (4, 5));
    let daemons = for_kind("apps", "DaemonSet");
    let daemon_set = |image: &str, count: &str| json!({"metadata": {"annotations": {"deprecated.daemonset.template.generation": count}}, "spec": {"template": image}});
    let counted = |mut new: Value| {
        daemons.prepare_update(&mut new, &daemon_set("i", "3"));
        meta::annotation(&new, "deprecated.daemonset.template.generation").map(str::to_owned)
    };
    assert_eq!(counted(daemon_set("i", "9")).as_deref(), Some("3"));
    assert_eq!(counted(daemon_set("j", "9")).as_deref(), Some("4"));
}

#[test]
fn a_put_creates_what_kubernetes_lets_it_create() {
    let made = |group, kind| for_kind(group, kind).create_on_update();
    assert!(made("node.k8s.io", "RuntimeClass") && made("coordination.k8s.io", "Lease"));
    assert!(
        ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"].iter().all(|kind| made(super::super::RBAC, kind))
    );
    assert!(!made("scheduling.k8s.io", "PriorityClass") && !made("discovery.k8s.io", "EndpointSlice"));
    let unconditional = |group, kind| for_kind(group, kind).unconditional_update();
    assert!(!unconditional("apiextensions.k8s.io", "CustomResourceDefinition"));
    assert!(!unconditional("coordination.k8s.io", "Lease") && !unconditional("node.k8s.io", "RuntimeClass"));
    assert!(
        unconditional("scheduling.k8s.io", "PriorityClass")
            && unconditional("certificates.k8s.io", "CertificateSigningRequest")
    );
}
