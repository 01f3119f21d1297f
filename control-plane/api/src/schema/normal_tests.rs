//! What Go's types leave out and what they always write: rows that were held against `k8s.io/api` 0.36.

use super::prune;
use crate::Kinds;
use serde_json::{Value, json};

/// (apiVersion, kind, a place, what a client writes there, what is there then; nothing when it is gone)
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // Values with `omitempty`, and pointers to them.
    ("v1", "Pod", "/spec", r#"{"containers": [], "nodeName": "", "hostNetwork": false, "nodeSelector": {}, "tolerations": [], "volumes": null}"#, r#"{"containers": null}"#),
    ("v1", "Pod", "/spec", r#"{"containers": null, "priority": 0, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false, "securityContext": {}}"#, r#"{"containers": null, "priority": 0, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false, "securityContext": {}}"#),
    ("v1", "Pod", "/spec/containers", r#"[{"image": "", "command": [], "args": null, "tty": false, "resources": null, "env": [{"name": "A", "value": ""}]}]"#, r#"[{"name": "", "resources": {}, "env": [{"name": "A"}]}]"#),
    ("v1", "Pod", "/spec/containers", r#"[{"name": "c", "ports": [{"protocol": "", "hostPort": 0}], "securityContext": {"runAsUser": 0, "privileged": false}}]"#, r#"[{"name": "c", "resources": {}, "ports": [{"containerPort": 0}], "securityContext": {"runAsUser": 0, "privileged": false}}]"#),
    ("v1", "Pod", "/spec/containers", r#"[{"name": "c", "livenessProbe": {"httpGet": {"path": ""}, "periodSeconds": 0}}, null]"#, r#"[{"name": "c", "resources": {}, "livenessProbe": {"httpGet": {"port": 0}}}, {"name": "", "resources": {}}]"#),
    ("v1", "Pod", "/spec/containers", r#"[{"name": "c", "resources": {"limits": {}, "requests": {"cpu": null, "memory": 0}, "claims": []}}]"#, r#"[{"name": "c", "resources": {"requests": {"cpu": "0", "memory": "0"}}}]"#),
    ("v1", "Pod", "/spec/containers", r#"[{"name": "c", "env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}, {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "", "key": "k", "optional": false}}}]}]"#, r#"[{"name": "c", "resources": {}, "env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}}, {"name": "B", "valueFrom": {"configMapKeyRef": {"key": "k", "optional": false}}}]}]"#),
    ("v1", "Pod", "/spec/volumes", r#"[{"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"name": "", "items": [], "defaultMode": 0}}, {"name": "c", "emptyDir": null}]"#, r#"[{"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"defaultMode": 0}}, {"name": "c"}]"#),
    ("v1", "Pod", "/spec/affinity", r#"{"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0}]}, "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}"#, r#"{"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "podAffinityTerm": {"topologyKey": ""}}]}, "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": null}}}"#),
    ("v1", "Pod", "/status", "null", "{}"),
    ("v1", "Pod", "/status", r#"{"conditions": [{"type": "Ready", "status": "True", "reason": ""}], "containerStatuses": [{"name": "c", "started": false}], "startTime": null}"#, r#"{"conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": null}], "containerStatuses": [{"name": "c", "started": false, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {}, "lastState": {}}]}"#),
    // Metadata.
    ("v1", "ConfigMap", "/metadata", r#"{"name": "a", "namespace": "", "labels": {}, "annotations": {"k": null}, "creationTimestamp": null, "generation": 0, "ownerReferences": [], "finalizers": null}"#, r#"{"name": "a", "annotations": {"k": ""}}"#),
    ("v1", "ConfigMap", "/metadata/ownerReferences", r#"[{"controller": false}]"#, r#"[{"apiVersion": "", "kind": "", "name": "", "uid": "", "controller": false}]"#),
    ("v1", "ConfigMap", "/metadata/creationTimestamp", r#""0001-01-01T00:00:00Z""#, ""),
    ("v1", "ConfigMap", "/metadata/managedFields", r#"[{"operation": "", "time": null}]"#, "[{}]"),
    ("apps/v1", "Deployment", "/spec/template/metadata", r#"{"creationTimestamp": null, "managedFields": []}"#, "{}"),
    // Maps, bytes, and structs that are always there.
    ("v1", "ConfigMap", "/data", "{}", ""),
    ("v1", "ConfigMap", "/data", r#"{"a": null, "b": ""}"#, r#"{"a": "", "b": ""}"#),
    ("v1", "ConfigMap", "/immutable", "false", "false"),
    ("v1", "ConfigMap", "/metadata", "null", "{}"),
    ("v1", "Secret", "/data", r#"{"a": null, "b": ""}"#, r#"{"a": "", "b": ""}"#),
    ("v1", "Secret", "/stringData", "{}", ""),
    ("v1", "Service", "/spec", r#"{"ports": [{"port": 80, "protocol": "", "nodePort": 0, "targetPort": null, "appProtocol": ""}], "selector": {}, "clusterIP": "", "clusterIPs": [], "ipFamilies": null, "publishNotReadyAddresses": false}"#, r#"{"ports": [{"port": 80, "targetPort": 0, "appProtocol": ""}]}"#),
    ("v1", "Service", "/status", "null", r#"{"loadBalancer": {}}"#),
    ("v1", "Event", "/eventTime", "null", "null"),
    ("v1", "Event", "/involvedObject", "null", "{}"),
    ("v1", "Event", "/series", r#"{"count": 0}"#, r#"{"lastObservedTime": null}"#),
    ("v1", "Namespace", "/spec/finalizers", "[]", ""),
    ("v1", "Node", "/status", "{}", r#"{"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": {"architecture": "", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": ""}}"#),
    ("v1", "PersistentVolumeClaim", "/spec", r#"{"storageClassName": "", "volumeName": "", "accessModes": []}"#, r#"{"storageClassName": "", "resources": {}}"#),
    ("apps/v1", "Deployment", "/spec", r#"{"replicas": 0, "paused": false, "minReadySeconds": 0, "revisionHistoryLimit": 0, "selector": null, "strategy": null}"#, r#"{"replicas": 0, "revisionHistoryLimit": 0, "selector": null, "strategy": {}, "template": {"metadata": {}, "spec": {"containers": null}}}"#),
    ("apps/v1", "Deployment", "/spec/selector", r#"{"matchLabels": {}, "matchExpressions": []}"#, "{}"),
    ("apps/v1", "StatefulSet", "/status", "null", r#"{"replicas": 0, "availableReplicas": 0}"#),
    ("apps/v1", "ControllerRevision", "/data", "null", "null"),
    ("apps/v1", "ControllerRevision", "/data", r#"{"a": "", "b": null, "c": []}"#, r#"{"a": "", "b": null, "c": []}"#),
    ("batch/v1", "Job", "/spec", r#"{"completions": 0, "suspend": false, "managedBy": "", "podFailurePolicy": {"rules": []}, "template": {}}"#, r#"{"completions": 0, "suspend": false, "managedBy": "", "podFailurePolicy": {"rules": null}, "template": {"metadata": {}, "spec": {"containers": null}}}"#),
    ("batch/v1", "CronJob", "/spec", r#"{"timeZone": "", "startingDeadlineSeconds": 0, "concurrencyPolicy": ""}"#, r#"{"timeZone": "", "startingDeadlineSeconds": 0, "schedule": "", "jobTemplate": {"metadata": {}, "spec": {"template": {"metadata": {}, "spec": {"containers": null}}}}}"#),
    ("networking.k8s.io/v1", "NetworkPolicy", "/spec", r#"{"podSelector": null, "ingress": [{}], "egress": [], "policyTypes": []}"#, r#"{"podSelector": {}, "ingress": [{}]}"#),
    ("networking.k8s.io/v1", "Ingress", "/spec", r#"{"ingressClassName": "", "tls": [{"hosts": [], "secretName": ""}], "rules": [{"host": "", "http": {"paths": [{"path": "", "pathType": null}]}}]}"#, r#"{"ingressClassName": "", "tls": [{}], "rules": [{"http": {"paths": [{"pathType": null, "backend": {}}]}}]}"#),
    ("networking.k8s.io/v1", "IPAddress", "/spec/parentRef", r#"{"group": "", "resource": "services", "name": "a"}"#, r#"{"resource": "services", "name": "a"}"#),
    ("policy/v1", "PodDisruptionBudget", "/spec", r#"{"minAvailable": 0, "selector": {}, "unhealthyPodEvictionPolicy": ""}"#, r#"{"minAvailable": 0, "selector": {}, "unhealthyPodEvictionPolicy": ""}"#),
    ("policy/v1", "PodDisruptionBudget", "/status", r#"{"disruptedPods": {}, "observedGeneration": 0, "conditions": [{"observedGeneration": 0}]}"#, r#"{"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0, "conditions": [{"type": "", "status": "", "reason": "", "message": "", "lastTransitionTime": null}]}"#),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "/spec", r#"{"minReplicas": 0, "metrics": [{"type": "", "resource": {}}]}"#, r#"{"minReplicas": 0, "maxReplicas": 0, "scaleTargetRef": {"kind": "", "name": ""}, "metrics": [{"type": "", "resource": {"name": "", "target": {"type": ""}}}]}"#),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "/status", "null", r#"{"currentMetrics": null, "desiredReplicas": 0}"#),
    ("rbac.authorization.k8s.io/v1", "Role", "/rules", "[]", "null"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", "/rules", r#"[{"apiGroups": [], "resources": null, "nonResourceURLs": []}]"#, r#"[{"verbs": null}]"#),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "/subjects", r#"[{"kind": "User", "name": "a", "namespace": "", "apiGroup": ""}]"#, r#"[{"kind": "User", "name": "a"}]"#),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "/roleRef", "null", r#"{"apiGroup": "", "kind": "", "name": ""}"#),
    ("discovery.k8s.io/v1", "EndpointSlice", "/endpoints", r#"[{"addresses": null, "conditions": {"ready": false}, "hostname": "", "nodeName": null}]"#, r#"[{"addresses": null, "conditions": {"ready": false}, "hostname": ""}]"#),
    ("discovery.k8s.io/v1", "EndpointSlice", "/ports", r#"[{"name": "", "port": 0, "protocol": ""}]"#, r#"[{"name": "", "port": 0, "protocol": ""}]"#),
    ("storage.k8s.io/v1", "StorageClass", "/provisioner", "null", r#""""#),
    ("storage.k8s.io/v1", "StorageClass", "/reclaimPolicy", r#""""#, r#""""#),
    ("scheduling.k8s.io/v1", "PriorityClass", "/value", "null", "0"),
    ("scheduling.k8s.io/v1", "PriorityClass", "/globalDefault", "false", ""),
    ("certificates.k8s.io/v1", "CertificateSigningRequest", "/spec", r#"{"usages": [], "extra": {"a": null, "b": []}, "expirationSeconds": 0}"#, r#"{"request": null, "signerName": "", "extra": {"a": [], "b": []}, "expirationSeconds": 0}"#),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "/webhooks", r#"[{"rules": [], "timeoutSeconds": 0, "clientConfig": {"caBundle": "", "url": ""}}]"#, r#"[{"name": "", "admissionReviewVersions": null, "sideEffects": null, "timeoutSeconds": 0, "clientConfig": {"url": ""}}]"#),
    // Kept as JSON, which tells an empty list from none, and with values that may be anything.
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "/spec", r#"{"versions": [], "preserveUnknownFields": false, "names": {"categories": [], "singular": ""}}"#, r#"{"group": "", "scope": "", "versions": [], "names": {"plural": "", "kind": ""}}"#),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "/spec/versions", r#"[{"name": "v1", "deprecated": false, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {"type": "", "nullable": false, "default": null, "properties": {"a": {"default": "", "minimum": 0, "maxLength": 0, "enum": ["", null, 0], "required": []}, "b": null}, "items": {"description": ""}, "additionalProperties": false, "x-kubernetes-preserve-unknown-fields": false, "x-kubernetes-embedded-resource": false, "x-kubernetes-validations": [{"rule": "true", "message": "", "optionalOldSelf": false}]}}}]"#, r#"[{"name": "v1", "served": false, "storage": false, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {"properties": {"a": {"default": "", "minimum": 0, "maxLength": 0, "enum": ["", null, 0]}, "b": {}}, "items": {}, "additionalProperties": false, "x-kubernetes-preserve-unknown-fields": false, "x-kubernetes-validations": [{"rule": "true", "optionalOldSelf": false}]}}}]"#),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "/status", "null", r#"{"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": null}"#),
];

fn put(object: &mut Value, pointer: &str, value: Value) {
    let at = pointer.split('/').skip(1).fold(object, |at, step| &mut at[step]);
    *at = value;
}

#[test]
fn a_time_that_is_none_is_gone_at_once() {
    let mut map =
        json!({"metadata": {"deletionTimestamp": "0001-01-01T00:00:00Z", "creationTimestamp": "0001-01-01T00:00:00Z"}});
    prune(Kinds::builtin().by_kind("", "v1", "ConfigMap").unwrap().schema.get(), &mut map);
    assert_eq!(map, json!({"metadata": {}}));
}

#[test]
fn zeros_are_left_out_and_written_as_go_does() {
    let kinds = Kinds::builtin();
    let mut failures = Vec::new();
    for (api_version, kind, pointer, given, wanted) in ROWS {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let row = kinds.by_kind(group, version, kind).unwrap();
        let mut object = json!({"apiVersion": api_version, "kind": kind});
        put(&mut object, pointer, serde_json::from_str(given).unwrap());
        assert_eq!(row.check(&object), Ok(Vec::new()), "{kind} {given}");
        prune(row.schema.get(), &mut object);
        let found = object.pointer(pointer).map(ToString::to_string).unwrap_or_default();
        let wanted = serde_json::from_str::<Value>(wanted).map(|wanted| wanted.to_string()).unwrap_or_default();
        if found != wanted {
            failures.push(format!("{kind} {pointer} = {given}\n  go {wanted}\n  we {found}"));
        }
        let once = object.clone();
        prune(row.schema.get(), &mut object);
        assert_eq!(object, once, "{kind} {given}: twice is once");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
