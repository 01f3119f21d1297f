//! What kube-apiserver answers to a wrong field or a forbidden change, kind by kind: texts of its validation code.

use super::for_kind;
use crate::schema::prune;
use crate::{Kinds, Resource, meta};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// A valid object of the kind, as it is stored.
pub(super) fn stored(kind: &str) -> (&'static str, Value) {
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    let workload = json!({"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    let mut once = template.clone();
    once["spec"]["restartPolicy"] = "Never".into();
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let (group, body) = match kind {
        "Pod" => ("", json!({"spec": template["spec"]})),
        "ConfigMap" => ("", json!({"data": {"a": "1"}, "immutable": true})),
        "Secret" => ("", json!({"type": "Opaque", "data": {"a": "MQ=="}, "immutable": true})),
        "Service" => ("", json!({"spec": {"ports": [{"port": 80}], "clusterIP": "10.0.0.1"}})),
        "PersistentVolume" => (
            "",
            json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/a"}}}),
        ),
        "PersistentVolumeClaim" => (
            "",
            json!({"spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}}),
        ),
        "Node" => ("", json!({"spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"], "providerID": "a"}})),
        "Deployment" | "ReplicaSet" => ("apps", json!({"spec": workload})),
        "DaemonSet" => {
            let mut spec = workload;
            spec.as_object_mut().unwrap().remove("replicas");
            ("apps", json!({"spec": spec}))
        }
        "StatefulSet" => {
            let mut spec = workload;
            spec["serviceName"] = "web".into();
            ("apps", json!({"spec": spec}))
        }
        "ControllerRevision" => ("apps", json!({"data": {"a": 1}, "revision": 1})),
        "Job" => ("batch", json!({"spec": {"template": once}})),
        "CronJob" => ("batch", json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": once}}}})),
        "PodDisruptionBudget" => ("policy", json!({"spec": {"minAvailable": 1}})),
        "HorizontalPodAutoscaler" => (
            "autoscaling",
            json!({"spec": {"maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}),
        ),
        "Ingress" => (
            "networking.k8s.io",
            json!({"spec": {"rules": [{"host": "a.example", "http":
            {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}}),
        ),
        "IngressClass" => ("networking.k8s.io", json!({"spec": {"controller": "example.com/c"}})),
        "NetworkPolicy" => (
            "networking.k8s.io",
            json!({"spec": {"podSelector": {}, "ingress":
            [{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}]}}),
        ),
        "ServiceCIDR" => ("networking.k8s.io", json!({"spec": {"cidrs": ["10.0.0.0/24"]}})),
        "IPAddress" => ("networking.k8s.io", json!({"spec": {"parentRef": {"resource": "services", "name": "a"}}})),
        other => driven(other),
    };
    let mut object = body;
    object["metadata"] = json!({"name": "x", "namespace": "default", "uid": "u-1"});
    let strategy = for_kind(group, kind);
    decode(group, kind, &mut object);
    strategy.default(&mut object);
    strategy.prepare_create(&mut object);
    let errors: Vec<String> = strategy.validate(&object).iter().map(ToString::to_string).collect();
    assert_eq!(errors, Vec::<String>::new(), "the example of {kind} is valid");
    (group, object)
}

/// Makes of an object what decoding makes of it.
pub(super) fn decode(group: &str, kind: &str, object: &mut Value) {
    static KINDS: LazyLock<Kinds> = LazyLock::new(Kinds::builtin);
    let row = KINDS.by_kind(group, "v2", kind).or_else(|| KINDS.by_kind(group, "v1", kind)).unwrap();
    prune(row.schema.get(), object);
}

/// The same of the kinds of classes, drivers and leases.
fn driven(kind: &str) -> (&'static str, Value) {
    match kind {
        "PriorityClass" => ("scheduling.k8s.io", json!({"value": 10})),
        "StorageClass" => ("storage.k8s.io", json!({"provisioner": "example.com/p", "parameters": {"a": "b"}})),
        "RuntimeClass" => ("node.k8s.io", json!({"handler": "wasm"})),
        "VolumeAttributesClass" => {
            ("storage.k8s.io", json!({"driverName": "example.com/p", "parameters": {"iops": "1"}}))
        }
        "CSIDriver" => ("storage.k8s.io", json!({"spec": {}})),
        "CSINode" => ("storage.k8s.io", json!({"spec": {"drivers": [{"name": "example.com", "nodeID": "n"}]}})),
        "CSIStorageCapacity" => ("storage.k8s.io", json!({"storageClassName": "fast", "capacity": "1Gi"})),
        "VolumeAttachment" => (
            "storage.k8s.io",
            json!({"spec": {"attacher": "example.com", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}}),
        ),
        "Lease" => ("coordination.k8s.io", json!({"spec": {"leaseDurationSeconds": 10}})),
        "EndpointSlice" => (
            "discovery.k8s.io",
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.0.1"]}],
            "ports": [{"port": 80}]}),
        ),
        other => ruling(other),
    }
}

/// The same of the kinds of rights and webhooks.
fn ruling(kind: &str) -> (&'static str, Value) {
    let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    let subjects =
        json!([{"kind": "User", "name": "bob"}, {"kind": "ServiceAccount", "name": "a", "namespace": "default"}]);
    let hook = json!({"name": "a.b.example", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": {"service": {"name": "s", "namespace": "n"}},
        "matchConditions": [{"name": "a", "expression": "true"}],
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]});
    match kind {
        "Role" => ("rbac.authorization.k8s.io", json!({"rules": [rule]})),
        "ClusterRole" => (
            "rbac.authorization.k8s.io",
            json!({"rules": [rule], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}),
        ),
        "RoleBinding" => {
            ("rbac.authorization.k8s.io", json!({"subjects": subjects, "roleRef": {"kind": "Role", "name": "r"}}))
        }
        "ClusterRoleBinding" => (
            "rbac.authorization.k8s.io",
            json!({"subjects": subjects, "roleRef": {"kind": "ClusterRole", "name": "r"}}),
        ),
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            ("admissionregistration.k8s.io", json!({"webhooks": [hook]}))
        }
        other => panic!("no example of {other}"),
    }
}

/// Sets what `pointer` points at; `null` takes it away.
pub(super) fn set(object: &mut Value, pointer: &str, value: &str) {
    let value: Value = serde_json::from_str(value).unwrap();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let mut at = object;
    for part in parent.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(index) if at.is_array() => &mut at[index],
            _ => &mut at[part],
        };
    }
    match (field.parse::<usize>(), value) {
        (Ok(index), value) if at.is_array() => at[index] = value,
        (_, Value::Null) => _ = at.as_object_mut().unwrap().remove(field),
        (_, value) => at[field] = value,
    }
}

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const PORT: &str = "must be between 1 and 65535, inclusive";

/// (kind, pointer, value, the error)
#[rustfmt::skip]
const NEW: &[(&str, &str, &str, &str)] = &[
    ("Pod", "/spec/containers", "[]", "spec.containers: Required value"),
    ("Pod", "/spec/containers/0/name", "\"A\"", "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"),
    ("Pod", "/spec/containers/0/image", "\"\"", "spec.containers[0].image: Required value"),
    ("Pod", "/spec/containers/0/ports", "[{\"containerPort\": 0}]", "spec.containers[0].ports[0].containerPort: Required value"),
    ("Pod", "/spec/containers/0/ports", "[{\"containerPort\": 70000}]", "spec.containers[0].ports[0].containerPort: Invalid value: 70000: PORT"),
    ("Pod", "/spec/containers/0/resources", "{\"requests\": {\"cpu\": \"2\"}, \"limits\": {\"cpu\": \"1\"}}", "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"),
    ("Pod", "/spec/containers/0/env", "[{\"name\": \"\"}]", "spec.containers[0].env[0].name: Required value"),
    ("Pod", "/spec/containers/0/volumeMounts", "[{\"name\": \"v\", \"mountPath\": \"/v\"}]", "spec.containers[0].volumeMounts[0].name: Not found: \"v\""),
    ("Pod", "/spec/restartPolicy", "\"Sometimes\"", "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\""),
    ("Pod", "/spec/activeDeadlineSeconds", "0", "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"),
    ("Pod", "/spec/ephemeralContainers", "[{\"name\": \"d\", \"image\": \"i\", \"terminationMessagePolicy\": \"File\"}]", "spec.ephemeralContainers: Forbidden: cannot be set on create"),
    ("Pod", "/spec/volumes", "[{\"name\": \"v\", \"emptyDir\": {}}, {\"name\": \"v\", \"emptyDir\": {}}]", "spec.volumes[1].name: Duplicate value: \"v\""),
    ("ConfigMap", "/data", "{\"a b\": \"1\"}", "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"),
    ("Secret", "/type", "\"kubernetes.io/ssh-auth\"", "data[ssh-privatekey]: Required value"),
    ("Service", "/spec/ports", "[]", "spec.ports: Required value"),
    ("Service", "/spec/ports/0/port", "0", "spec.ports[0].port: Invalid value: 0: PORT"),
    ("Service", "/spec/type", "\"Odd\"", "spec.type: Unsupported value: \"Odd\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\""),
    ("Service", "/spec/ports", "[{\"port\": 80, \"protocol\": \"TCP\"}, {\"name\": \"b\", \"port\": 81, \"protocol\": \"TCP\"}]", "spec.ports[0].name: Required value"),
    ("Service", "/spec/ports/0/nodePort", "30000", "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"),
    ("Service", "/spec/sessionAffinity", "\"Odd\"", "spec.sessionAffinity: Unsupported value: \"Odd\": supported values: \"ClientIP\", \"None\""),
    ("PersistentVolume", "/spec/accessModes", "[]", "spec.accessModes: Required value"),
    ("PersistentVolume", "/spec/capacity", "{\"storage\": \"0\"}", "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero"),
    ("PersistentVolume", "/spec/hostPath", "null", "spec: Required value: must specify a volume type"),
    ("PersistentVolumeClaim", "/spec/accessModes", "[]", "spec.accessModes: Required value: at least 1 access mode is required"),
    ("PersistentVolumeClaim", "/spec/resources", "{}", "spec.resources[storage]: Required value"),
    ("Node", "/spec/taints", "[{\"key\": \"a\", \"effect\": \"Odd\"}]", "metadata.taints[0].effect: Unsupported value: \"Odd\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""),
    ("Deployment", "/spec/replicas", "-1", "spec.replicas: Invalid value: -1: NOT_NEGATIVE"),
    ("Deployment", "/spec/revisionHistoryLimit", "-1", "spec.revisionHistoryLimit: Invalid value: -1: NOT_NEGATIVE"),
    ("Deployment", "/spec/strategy/rollingUpdate/maxUnavailable", "\"101%\"", "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"),
    ("ReplicaSet", "/spec/minReadySeconds", "-1", "spec.minReadySeconds: Invalid value: -1: NOT_NEGATIVE"),
    ("ReplicaSet", "/spec/template/metadata/labels", "{\"app\": \"db\"}", "spec.template.metadata.labels: Invalid value: {\"app\":\"db\"}: `selector` does not match template `labels`"),
    ("DaemonSet", "/spec/template/spec/restartPolicy", "\"Never\"", "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""),
    ("StatefulSet", "/spec/podManagementPolicy", "\"Odd\"", "spec.podManagementPolicy: Invalid value: \"Odd\": must be 'OrderedReady' or 'Parallel'"),
    ("StatefulSet", "/spec/ordinals", "{\"start\": -1}", "spec.ordinals.start: Invalid value: -1: NOT_NEGATIVE"),
    ("StatefulSet", "/spec/persistentVolumeClaimRetentionPolicy", "{\"whenDeleted\": \"Odd\", \"whenScaled\": \"Retain\"}", "spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: \"Odd\": supported values: \"Retain\", \"Delete\""),
    ("ControllerRevision", "/revision", "-1", "revision: Invalid value: -1: NOT_NEGATIVE"),
    ("Job", "/spec/parallelism", "-1", "spec.parallelism: Invalid value: -1: NOT_NEGATIVE"),
    ("Job", "/spec/template/spec/restartPolicy", "\"Always\"", "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""),
    ("Job", "/spec/completionMode", "\"Odd\"", "spec.completionMode: Unsupported value: \"Odd\": supported values: \"NonIndexed\", \"Indexed\""),
    ("Job", "/spec/backoffLimitPerIndex", "1", "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"),
    ("Job", "/spec/podFailurePolicy", "{\"rules\": [{\"action\": \"Odd\", \"onExitCodes\": {\"operator\": \"In\", \"values\": [1]}}]}", "spec.podFailurePolicy.rules[0].action: Unsupported value: \"Odd\": supported values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\""),
    ("Job", "/spec/podFailurePolicy", "{\"rules\": [{\"action\": \"FailJob\"}]}", "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"),
    ("Job", "/spec/podFailurePolicy", "{\"rules\": [{\"action\": \"FailJob\", \"onExitCodes\": {\"operator\": \"In\", \"values\": []}}]}", "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: []: at least one value is required"),
    ("Job", "/spec/podFailurePolicy", "{\"rules\": [{\"action\": \"FailJob\", \"onExitCodes\": {\"operator\": \"In\", \"values\": [0]}}]}", "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"),
    ("Job", "/spec/successPolicy", "{\"rules\": [{\"succeededCount\": 1}]}", "spec.successPolicy: Invalid value: {\"rules\":[{\"succeededCount\":1}]}: requires indexed completion mode"),
    ("CronJob", "/spec/schedule", "\"\"", "spec.schedule: Required value"),
    ("CronJob", "/spec/schedule", "\"TZ=UTC * * * * *\"", "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
    ("CronJob", "/spec/timeZone", "\"Local\"", "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"),
    ("CronJob", "/spec/timeZone", "\"Mars/Olympus Mons\"", "spec.timeZone: Invalid value: \"Mars/Olympus Mons\": unknown time zone Mars/Olympus Mons"),
    ("CronJob", "/spec/concurrencyPolicy", "\"Odd\"", "spec.concurrencyPolicy: Unsupported value: \"Odd\": supported values: \"Allow\", \"Forbid\", \"Replace\""),
    ("PodDisruptionBudget", "/spec/maxUnavailable", "1", "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set"),
    ("PodDisruptionBudget", "/spec/minAvailable", "-1", "spec.minAvailable: Invalid value: -1: NOT_NEGATIVE"),
    ("PodDisruptionBudget", "/spec/minAvailable", "\"200%\"", "spec.minAvailable: Invalid value: \"200%\": must not be greater than 100%"),
    ("PodDisruptionBudget", "/spec/unhealthyPodEvictionPolicy", "\"Odd\"", "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Odd\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\""),
    ("HorizontalPodAutoscaler", "/spec/maxReplicas", "-1", "spec.maxReplicas: Invalid value: -1: must be greater than 0"),
    ("HorizontalPodAutoscaler", "/spec/minReplicas", "5", "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"),
    ("HorizontalPodAutoscaler", "/spec/scaleTargetRef/name", "\"\"", "spec.scaleTargetRef.name: Required value"),
    ("HorizontalPodAutoscaler", "/spec/metrics", "[{\"type\": \"Pods\"}]", "spec.metrics[0].pods: Required value: must populate information for the given metric source"),
    ("HorizontalPodAutoscaler", "/spec/metrics", "[{\"type\": \"Odd\"}]", "spec.metrics[0].type: Unsupported value: \"Odd\": supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\""),
    ("HorizontalPodAutoscaler", "/spec/metrics", "[{\"type\": \"Resource\", \"resource\": {\"name\": \"cpu\", \"target\": {\"type\": \"Utilization\"}}}]", "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization"),
    ("HorizontalPodAutoscaler", "/spec/behavior", "{\"scaleUp\": {\"stabilizationWindowSeconds\": 9999}}", "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 9999: must be less than or equal to 3600"),
    ("Ingress", "/spec/rules", "null", "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"),
    ("Ingress", "/spec/rules/0/host", "\"10.0.0.1\"", "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address"),
    ("Ingress", "/spec/rules/0/http/paths", "[]", "spec.rules[0].http.paths: Required value"),
    ("Ingress", "/spec/rules/0/http/paths/0/pathType", "null", "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"),
    ("Ingress", "/spec/rules/0/http/paths/0/pathType", "\"Odd\"", "spec.rules[0].http.paths[0].pathType: Unsupported value: \"Odd\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\""),
    ("Ingress", "/spec/rules/0/http/paths/0/path", "\"a\"", "spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path"),
    ("Ingress", "/spec/rules/0/http/paths/0/path", "\"/a//b\"", "spec.rules[0].http.paths[0].path: Invalid value: \"/a//b\": must not contain '//'"),
    ("Ingress", "/spec/rules/0/http/paths/0/backend", "{}", "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required"),
    ("Ingress", "/spec/rules/0/http/paths/0/backend/service/port", "{}", "spec.rules[0].http.paths[0].backend: Required value: port name or number is required"),
    ("Ingress", "/spec/rules/0/http/paths/0/backend/service/port", "{\"name\": \"a\", \"number\": 1}", "spec.rules[0].http.paths[0].backend: Invalid value: \"\": cannot set both port name & port number"),
    ("IngressClass", "/spec/controller", "\"\"", "spec.controller: Required value"),
    ("IngressClass", "/spec/controller", "\"plain\"", "spec.controller: Invalid value: \"plain\": must be a domain-prefixed path (such as \"acme.io/foo\")"),
    ("IngressClass", "/spec/parameters", "{\"kind\": \"A\", \"name\": \"b\", \"scope\": \"Namespace\"}", "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"),
    ("NetworkPolicy", "/spec/ingress/0/from/0", "{}", "spec.ingress[0].from[0]: Required value: must specify a peer"),
    ("NetworkPolicy", "/spec/ingress/0/ports/0/port", "0", "spec.ingress[0].ports[0].port: Invalid value: 0: PORT"),
    ("NetworkPolicy", "/spec/ingress/0/ports/0/endPort", "79", "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"),
    ("NetworkPolicy", "/spec/ingress/0/ports/0/protocol", "\"ICMP\"", "spec.ingress[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \"UDP\", \"SCTP\""),
    ("NetworkPolicy", "/spec/ingress/0/from/0", "{\"ipBlock\": {\"cidr\": \"10.0.0.0/8\", \"except\": [\"11.0.0.0/16\"]}}", "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`"),
    ("NetworkPolicy", "/spec/ingress/0/from/0", "{\"ipBlock\": {\"cidr\": \"10.0.0.0/8\"}, \"podSelector\": {}}", "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"),
    ("NetworkPolicy", "/spec/policyTypes", "[\"Odd\"]", "spec.policyTypes[0]: Unsupported value: \"Odd\": supported values: \"Ingress\", \"Egress\""),
    ("PriorityClass", "/value", "2000000000", "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"),
    ("PriorityClass", "/metadata/name", "\"system-mine\"", "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class"),
    ("PriorityClass", "/preemptionPolicy", "\"Odd\"", "preemptionPolicy: Unsupported value: \"Odd\": supported values: \"PreemptLowerPriority\", \"Never\""),
    ("StorageClass", "/provisioner", "\"\"", "provisioner: Required value"),
    ("StorageClass", "/reclaimPolicy", "\"Recycle\"", "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\""),
    ("Lease", "/spec/leaseDurationSeconds", "0", "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"),
    ("Lease", "/spec/leaseTransitions", "-1", "spec.leaseTransitions: Invalid value: -1: NOT_NEGATIVE"),
    ("EndpointSlice", "/addressType", "\"Odd\"", "addressType: Unsupported value: \"Odd\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""),
    ("EndpointSlice", "/endpoints/0/addresses", "[]", "endpoints[0].addresses: Required value: must contain at least 1 address"),
    ("EndpointSlice", "/ports", "[{\"name\": \"\", \"protocol\": \"TCP\"}, {\"name\": \"\", \"protocol\": \"TCP\"}]", "ports[1].name: Duplicate value: \"\""),
];

/// (kind, pointer, new value, the error; empty: the change is allowed)
#[rustfmt::skip]
const CHANGED: &[(&str, &str, &str, &str)] = &[
    ("Pod", "/spec/containers/0/image", "\"i:2\"", ""),
    ("Pod", "/spec/activeDeadlineSeconds", "10", ""),
    ("Pod", "/spec/containers", "[]", "spec.containers: Forbidden: pod updates may not add or remove containers"),
    ("Pod", "/spec/tolerations", "[{\"key\": \"a\", \"operator\": \"Exists\"}]", ""),
    ("Pod", "/spec/hostname", "\"h\"", "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"),
    ("ConfigMap", "/data", "{}", "data: Forbidden: field is immutable when `immutable` is set"),
    ("ConfigMap", "/immutable", "false", "immutable: Forbidden: field is immutable when `immutable` is set"),
    ("Secret", "/data", "{}", "data: Forbidden: field is immutable when `immutable` is set"),
    ("Secret", "/type", "\"other\"", "type: Invalid value: \"other\": field is immutable"),
    ("Service", "/spec/clusterIP", "\"10.0.0.2\"", "spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"),
    ("PersistentVolume", "/spec/hostPath/path", "\"/b\"", "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"),
    ("PersistentVolume", "/spec/volumeMode", "\"Block\"", "volumeMode: Invalid value: \"Block\": field is immutable"),
    ("PersistentVolume", "/spec/capacity", "{\"storage\": \"2Gi\"}", ""),
    ("PersistentVolumeClaim", "/spec/storageClassName", "\"fast\"", ""),
    ("PersistentVolumeClaim", "/spec/accessModes", "[\"ReadWriteMany\"]", "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"),
    ("Node", "/spec/podCIDRs", "[\"10.2.0.0/24\"]", ""),
    ("Node", "/spec/podCIDR", "\"10.2.0.0/24\"", "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"),
    ("Node", "/spec/providerID", "\"b\"", "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid"),
    ("Deployment", "/spec/selector/matchLabels", "{\"app\": \"web\", \"b\": \"c\"}", "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"b\":\"c\"}}: field is immutable"),
    ("ReplicaSet", "/spec/selector/matchLabels", "{\"app\": \"web\", \"b\": \"c\"}", "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"b\":\"c\"}}: field is immutable"),
    ("DaemonSet", "/spec/selector/matchLabels", "{\"app\": \"web\", \"b\": \"c\"}", "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"b\":\"c\"}}: field is immutable"),
    ("StatefulSet", "/spec/serviceName", "\"other\"", "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"),
    ("StatefulSet", "/spec/replicas", "3", ""),
    ("StatefulSet", "/spec/minReadySeconds", "3", ""),
    ("ControllerRevision", "/data", "{\"a\": 2}", "data: Invalid value: {\"a\":2}: field is immutable"),
    ("Job", "/spec/parallelism", "4", ""),
    ("Job", "/spec/suspend", "true", ""),
    ("Job", "/spec/completions", "4", "spec.completions: Invalid value: 4: field is immutable"),
    ("Job", "/spec/completionMode", "\"Indexed\"", "spec.completionMode: Invalid value: \"Indexed\": field is immutable"),
    ("Job", "/spec/managedBy", "\"example.com/me\"", "spec.managedBy: Invalid value: \"example.com/me\": field is immutable"),
    ("CronJob", "/spec/schedule", "\"@daily\"", ""),
    ("CronJob", "/spec/schedule", "\"@never\"", "spec.schedule: Invalid value: \"@never\": unrecognized descriptor: @never"),
    ("PodDisruptionBudget", "/spec/minAvailable", "2", ""),
    ("HorizontalPodAutoscaler", "/spec/maxReplicas", "9", ""),
    ("IngressClass", "/spec/controller", "\"example.com/other\"", "spec.controller: Invalid value: \"example.com/other\": field is immutable"),
    ("ServiceCIDR", "/spec/cidrs", "[\"10.0.1.0/24\"]", "spec.cidrs[0]: Invalid value: \"10.0.1.0/24\": field is immutable"),
    ("ServiceCIDR", "/spec/cidrs", "[\"10.0.0.0/24\", \"fd00::/108\"]", ""),
    ("IPAddress", "/spec/parentRef/name", "\"b\"", "spec.parentRef: Invalid value: {\"Group\":\"\",\"Resource\":\"services\",\"Namespace\":\"\",\"Name\":\"b\"}: field is immutable"),
    ("PriorityClass", "/value", "11", "value: Forbidden: may not be changed in an update."),
    ("PriorityClass", "/preemptionPolicy", "\"Never\"", "preemptionPolicy: Invalid value: \"Never\": field is immutable"),
    ("PriorityClass", "/description", "\"words\"", ""),
    ("StorageClass", "/parameters/a", "\"c\"", "parameters: Forbidden: updates to parameters are forbidden."),
    ("StorageClass", "/provisioner", "\"example.com/q\"", "provisioner: Forbidden: updates to provisioner are forbidden."),
    ("StorageClass", "/reclaimPolicy", "\"Retain\"", "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden."),
    ("StorageClass", "/volumeBindingMode", "\"WaitForFirstConsumer\"", "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable"),
    ("StorageClass", "/allowVolumeExpansion", "true", ""),
    ("RuntimeClass", "/handler", "\"other\"", "handler: Invalid value: \"other\": field is immutable"),
    ("EndpointSlice", "/addressType", "\"IPv6\"", "addressType: Invalid value: \"IPv6\": field is immutable"),
];

fn expected(text: &str) -> String {
    text.replace("NOT_NEGATIVE", NOT_NEGATIVE).replace(": PORT", &format!(": {PORT}"))
}

/// Each failure, rather than the first: the tables are long.
pub(super) fn verdict(failures: &[String]) {
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What strategies fill in and take away leaves an object in the form that Go's encoder gives it.
#[test]
fn strategies_write_what_go_would_write() {
    let mut failures = Vec::new();
    let served_as_stored = |row: &Resource| row.storage_api_version == row.api_version();
    for row in Kinds::builtin().iter().filter(|row| served_as_stored(row)) {
        let mut object = json!({"metadata": {"name": "x"}, "spec": {"replicas": 1, "template": {}, "names": {"kind": "X"},
            "schedulingGates": [{"name": "g"}]}});
        let mut look = |object: &Value, when: &str| {
            let mut normal = object.clone();
            prune(row.schema.get(), &mut normal);
            if normal != *object {
                failures.push(format!("{} {when}\n  go {normal}\n  we {object}", row.kind));
            }
        };
        prune(row.schema.get(), &mut object);
        row.strategy.default(&mut object);
        look(&object, "defaulted");
        row.strategy.prepare_create(&mut object);
        look(&object, "created");
        let mut next = object.clone();
        row.strategy.prepare_update(&mut next, &object);
        look(&next, "updated");
        row.strategy.prepare_status_update(&mut next, &object);
        look(&next, "its status updated");
    }
    verdict(&failures);
}

#[test]
fn conversions_write_what_go_would_write() {
    let rows = Kinds::builtin();
    let mut event = json!({"metadata": {}, "series": {}, "message": "m"});
    let normal = |version: &str, kind: &str, object: &Value| {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let mut normal = object.clone();
        prune(rows.by_kind(group, version, kind).unwrap().schema.get(), &mut normal);
        normal
    };
    event = normal("v1", "Event", &event);
    for (group, version) in [("events.k8s.io", "events.k8s.io/v1"), ("", "v1"), ("", "v1")] {
        super::events::convert(&mut event, group);
        assert_eq!(event, normal(version, "Event", &event));
    }
    let mut scaler = normal("autoscaling/v2", "HorizontalPodAutoscaler", &json!({"metadata": {}, "spec": {}}));
    super::autoscaler::to_v1(&mut scaler);
    assert_eq!(scaler, normal("autoscaling/v1", "HorizontalPodAutoscaler", &scaler));
    super::autoscaler::to_v2(&mut scaler);
    assert_eq!(scaler, normal("autoscaling/v2", "HorizontalPodAutoscaler", &scaler));
}

#[test]
fn wrong_fields_are_told_in_kubernetes_words() {
    let mut failures = Vec::new();
    for (kind, pointer, value, text) in NEW {
        let (group, mut object) = stored(kind);
        set(&mut object, pointer, value);
        decode(group, kind, &mut object);
        let errors: Vec<String> = for_kind(group, kind).validate(&object).iter().map(ToString::to_string).collect();
        if !errors.contains(&expected(text)) {
            failures.push(format!("{kind} {pointer} = {value}\n  wanted {}\n  got {errors:#?}", expected(text)));
        }
    }
    verdict(&failures);
}

#[test]
fn what_may_change_and_what_may_not() {
    let mut failures = Vec::new();
    for (kind, pointer, value, text) in CHANGED {
        let (group, old) = stored(kind);
        let mut new = old.clone();
        set(&mut new, pointer, value);
        decode(group, kind, &mut new);
        let strategy = for_kind(group, kind);
        strategy.default(&mut new);
        strategy.prepare_update(&mut new, &old);
        let errors: Vec<String> = strategy.validate_change(&new, &old).iter().map(ToString::to_string).collect();
        let fine = match *text {
            "" => errors.is_empty(),
            // Some texts end in the difference between the two.
            text => errors.iter().any(|error| *error == text || error.starts_with(&format!("{text}\n"))),
        };
        if !fine {
            failures.push(format!("{kind} {pointer} = {value}\n  wanted {text:?}\n  got {errors:#?}"));
        }
    }
    verdict(&failures);
}

#[test]
fn kinds_with_a_spec_count_its_changes() {
    for (kind, counts) in [
        ("Pod", true),
        ("Deployment", true),
        ("ReplicaSet", true),
        ("DaemonSet", true),
        ("StatefulSet", true),
        ("Job", true),
        ("CronJob", true),
        ("PodDisruptionBudget", true),
        ("Ingress", true),
        ("IngressClass", true),
        ("NetworkPolicy", true),
        ("PriorityClass", false),
        ("EndpointSlice", true),
        ("Service", false),
        ("ConfigMap", false),
        ("Secret", false),
        ("Node", false),
        ("Lease", false),
        ("PersistentVolume", false),
        ("StorageClass", false),
        ("HorizontalPodAutoscaler", false),
    ] {
        let (group, old) = stored(kind);
        let strategy = for_kind(group, kind);
        assert_eq!(strategy.has_generation(), counts, "{kind}");
        if counts {
            let mut new = old.clone();
            set(&mut new, "/other", "1");
            meta::bump_generation(&mut new, &old);
            assert_eq!(new["metadata"]["generation"], 1, "{kind}");
        }
    }
}
