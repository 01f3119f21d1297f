//! The smaller groups: coordination, policy, autoscaling, rbac, storage, scheduling, node, certificates,
//! admission.

use super::Context;
use super::format::{AGE, Definition, NAME, age, bool_word, columns, condition, int, items, or, quantity, text};
use crate::kinds::Columns;
use crate::meta;
use crate::strategies::autoscaler::to_v2;
use crate::time;
use serde_json::Value;

const BINDINGS: &[Definition] = &[
    NAME,
    ("Role", "string", 0, "The role that is granted."),
    AGE,
    ("Users", "string", 1, "Users in the binding"),
    ("Groups", "string", 1, "Groups in the binding"),
    ("ServiceAccounts", "string", 1, "ServiceAccounts in the binding"),
];

const BUDGETS: &[Definition] = &[
    NAME,
    ("Min Available", "string", 0, "The minimum number of pods that must be available."),
    ("Max Unavailable", "string", 0, "The maximum number of pods that may be unavailable."),
    ("Allowed Disruptions", "integer", 0, "Calculated number of pods that may be disrupted at this time."),
    AGE,
];

const AUTOSCALERS: &[Definition] = &[
    NAME,
    ("Reference", "string", 0, "What is scaled."),
    ("Targets", "string", 0, "The metrics, their current and their desired values."),
    ("MinPods", "string", 0, "The lower limit for the number of replicas."),
    ("MaxPods", "string", 0, "The upper limit for the number of replicas."),
    ("Replicas", "string", 0, "The current number of replicas."),
    AGE,
];

const CLASSES: &[Definition] = &[
    NAME,
    ("Provisioner", "string", 0, "The type of the provisioner."),
    ("ReclaimPolicy", "string", 0, "The reclaim policy of the volumes that are made."),
    ("VolumeBindingMode", "string", 0, "When volumes are provisioned and bound."),
    ("AllowVolumeExpansion", "string", 0, "Whether volumes may be enlarged."),
    AGE,
];

const REQUESTS: &[Definition] = &[
    NAME,
    AGE,
    ("SignerName", "string", 0, "The requested signer."),
    ("Requestor", "string", 0, "The name of the user that made the request."),
    ("RequestedDuration", "string", 0, "The requested duration of validity."),
    ("Condition", "string", 0, "What has become of the request."),
];

const PRIORITIES: &[Definition] = &[
    NAME,
    ("Value", "integer", 0, "The priority that pods of this class have."),
    ("Global-Default", "boolean", 0, "Whether pods without a class have this one."),
    AGE,
    ("PreemptionPolicy", "string", 0, "Whether pods of this class preempt others."),
];

const ATTACHMENTS: &[Definition] = &[
    NAME,
    ("Attacher", "string", 0, "The volume driver that handles this request."),
    ("PV", "string", 0, "The volume to attach."),
    ("Node", "string", 0, "The node to attach it to."),
    ("Attached", "boolean", 0, "Whether the volume is attached."),
    AGE,
];

const DRIVERS: &[Definition] = &[
    NAME,
    ("AttachRequired", "boolean", 0, "Whether volumes must be attached to nodes."),
    ("PodInfoOnMount", "boolean", 0, "Whether the driver is told about the pod at mount."),
    ("StorageCapacity", "boolean", 0, "Whether the scheduler heeds the capacity that the driver reports."),
    ("TokenRequests", "string", 0, "Audiences of the service account tokens that the driver is given."),
    ("RequiresRepublish", "boolean", 0, "Whether mounted volumes are published again from time to time."),
    ("Modes", "string", 0, "The kinds of volumes that the driver supports."),
    AGE,
];

const CAPACITIES: &[Definition] = &[
    NAME,
    ("StorageClassName", "string", 0, "The StorageClass that the capacity is for."),
    ("Capacity", "string", 0, "How much can be provisioned."),
    AGE,
];

const WEBHOOKS: &[Definition] = &[
    NAME,
    ("Webhooks", "integer", 0, "Webhooks indicates the number of webhooks registered in this configuration"),
    AGE,
];

pub(super) fn find(group: &str, kind: &str) -> Option<Columns> {
    Some(match (group, kind) {
        ("coordination.k8s.io", "Lease") => {
            columns(&[NAME, ("Holder", "string", 0, "The identity of the holder of a current lease."), AGE], |o, c| {
                vec![meta::name(o).into(), text(o, "/spec/holderIdentity").into(), age(o, c)]
            })
        }
        ("policy", "PodDisruptionBudget") => columns(BUDGETS, budget),
        ("autoscaling", "HorizontalPodAutoscaler") => columns(AUTOSCALERS, autoscaler),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => columns(BINDINGS, binding),
        ("storage.k8s.io", "StorageClass") => columns(CLASSES, storage_class),
        ("storage.k8s.io", "VolumeAttachment") => columns(ATTACHMENTS, attachment),
        ("storage.k8s.io", "CSINode") => {
            let drivers =
                ("Drivers", "integer", 0, "Drivers indicates the number of CSI drivers registered on the node");
            columns(&[NAME, drivers, AGE], |o, c| {
                vec![meta::name(o).into(), items(o, "/spec/drivers").len().into(), age(o, c)]
            })
        }
        ("storage.k8s.io", "CSIDriver") => columns(DRIVERS, driver),
        ("storage.k8s.io", "CSIStorageCapacity") => columns(CAPACITIES, |o, c| {
            let class = text(o, "/storageClassName");
            let capacity = o.get("capacity").map_or_else(|| "<unset>".into(), |_| quantity(o, "/capacity"));
            vec![meta::name(o).into(), class.into(), capacity.into(), age(o, c)]
        }),
        ("storage.k8s.io", "VolumeAttributesClass") => {
            columns(&[NAME, ("DriverName", "string", 0, "The name of the CSI driver."), AGE], |o, c| {
                vec![meta::name(o).into(), text(o, "/driverName").into(), age(o, c)]
            })
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => columns(REQUESTS, signing_request),
        ("scheduling.k8s.io", "PriorityClass") => columns(PRIORITIES, |o, c| {
            let default = o["globalDefault"].as_bool().unwrap_or(false);
            let policy = text(o, "/preemptionPolicy");
            vec![meta::name(o).into(), int(o, "/value").into(), default.into(), age(o, c), policy.into()]
        }),
        ("node.k8s.io", "RuntimeClass") => {
            columns(&[NAME, ("Handler", "string", 0, "The runtime that handles pods of this class."), AGE], |o, c| {
                vec![meta::name(o).into(), text(o, "/handler").into(), age(o, c)]
            })
        }
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration") => {
            columns(WEBHOOKS, |o, c| vec![meta::name(o).into(), items(o, "/webhooks").len().into(), age(o, c)])
        }
        ("apiregistration.k8s.io", "APIService") => {
            let service = ("Service", "string", 0, "The reference to the service that hosts this API endpoint.");
            let available = ("Available", "string", 0, "Whether this service is available.");
            columns(&[NAME, service, available, AGE], |o, c| {
                let service = match o.pointer("/spec/service") {
                    Some(Value::Object(_)) => {
                        format!("{}/{}", text(o, "/spec/service/namespace"), text(o, "/spec/service/name"))
                    }
                    _ => "Local".into(),
                };
                let available = condition(o, "/status/conditions", "Available").unwrap_or("Unknown");
                vec![meta::name(o).into(), service.into(), available.into(), age(o, c)]
            })
        }
        _ => return None,
    })
}

fn driver(object: &Value, context: &Context) -> Vec<Value> {
    let flag =
        |pointer: &str, default: bool| Value::Bool(object.pointer(pointer).and_then(Value::as_bool).unwrap_or(default));
    let joined =
        |texts: Vec<&str>, empty: &str| Value::from(if texts.is_empty() { empty.to_owned() } else { texts.join(",") });
    let audiences = items(object, "/spec/tokenRequests").iter().map(|request| text(request, "/audience")).collect();
    let modes = items(object, "/spec/volumeLifecycleModes").iter().filter_map(Value::as_str).collect();
    vec![
        meta::name(object).into(),
        flag("/spec/attachRequired", true),
        flag("/spec/podInfoOnMount", false),
        flag("/spec/storageCapacity", false),
        joined(audiences, "<unset>"),
        flag("/spec/requiresRepublish", false),
        joined(modes, "<none>"),
        age(object, context),
    ]
}

fn budget(object: &Value, context: &Context) -> Vec<Value> {
    let bound = |pointer: &str| match object.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "N/A".into(),
    };
    vec![
        meta::name(object).into(),
        bound("/spec/minAvailable").into(),
        bound("/spec/maxUnavailable").into(),
        int(object, "/status/disruptionsAllowed").into(),
        age(object, context),
    ]
}

fn autoscaler(object: &Value, context: &Context) -> Vec<Value> {
    let mut newest;
    let object = if text(object, "/apiVersion") == "autoscaling/v1" {
        newest = object.clone();
        to_v2(&mut newest);
        &newest
    } else {
        object
    };
    let target = format!("{}/{}", text(object, "/spec/scaleTargetRef/kind"), text(object, "/spec/scaleTargetRef/name"));
    let min =
        object.pointer("/spec/minReplicas").and_then(Value::as_i64).map_or_else(|| "<unset>".into(), |n| n.to_string());
    vec![
        meta::name(object).into(),
        target.into(),
        metrics(object).into(),
        min.into(),
        int(object, "/spec/maxReplicas").into(),
        int(object, "/status/currentReplicas").into(),
        age(object, context),
    ]
}

/// `cpu: 12%/80%` for each metric.
fn metrics(object: &Value) -> String {
    const SHOWN: usize = 2;
    let current = items(object, "/status/currentMetrics");
    let list: Vec<String> = items(object, "/spec/metrics")
        .iter()
        .enumerate()
        .map(|(i, metric)| one_metric(metric, current.get(i).unwrap_or(&Value::Null)))
        .collect();
    match list.as_slice() {
        [] => "<none>".into(),
        list if list.len() <= SHOWN => list.join(", "),
        list => format!("{} + {} more...", list[..SHOWN].join(", "), list.len() - SHOWN),
    }
}

fn one_metric(metric: &Value, status: &Value) -> String {
    let (part, named) = match text(metric, "/type") {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".into(),
    };
    let target = &metric[part]["target"];
    let now = &status[part]["current"];
    let prefix = if named { format!("{}: ", text(&metric[part], "/name")) } else { String::new() };
    if !text(target, "/averageValue").is_empty() {
        let current = or(text(now, "/averageValue"), "<unknown>");
        let suffix = if matches!(part, "external" | "object") { " (avg)" } else { "" };
        return format!("{prefix}{current}/{}{suffix}", text(target, "/averageValue"));
    }
    if named {
        let percent = |value: &Value, none: &str| {
            value["averageUtilization"].as_i64().map_or_else(|| none.to_owned(), |n| format!("{n}%"))
        };
        return format!("{prefix}{}/{}", percent(now, "<unknown>"), percent(target, "<auto>"));
    }
    format!("{}/{}", or(text(now, "/value"), "<unknown>"), text(target, "/value"))
}

fn binding(object: &Value, context: &Context) -> Vec<Value> {
    let names = |kind: &str| {
        let subjects = items(object, "/subjects").iter().filter(|s| s["kind"] == kind);
        let names: Vec<String> = subjects
            .map(|s| match (kind, text(s, "/namespace")) {
                ("ServiceAccount", namespace) => format!("{namespace}/{}", text(s, "/name")),
                _ => text(s, "/name").into(),
            })
            .collect();
        Value::from(names.join(", "))
    };
    let role = format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name"));
    vec![
        meta::name(object).into(),
        role.into(),
        age(object, context),
        names("User"),
        names("Group"),
        names("ServiceAccount"),
    ]
}

fn storage_class(object: &Value, context: &Context) -> Vec<Value> {
    let default = meta::annotation(object, "storageclass.kubernetes.io/is-default-class") == Some("true");
    let name = if default { format!("{} (default)", meta::name(object)) } else { meta::name(object).to_owned() };
    let expansion = object["allowVolumeExpansion"].as_bool().unwrap_or(false);
    vec![
        name.into(),
        text(object, "/provisioner").into(),
        or(text(object, "/reclaimPolicy"), "Delete").into(),
        or(text(object, "/volumeBindingMode"), "Immediate").into(),
        expansion.into(),
        age(object, context),
    ]
}

fn attachment(object: &Value, context: &Context) -> Vec<Value> {
    let attached = bool_word(object.pointer("/status/attached")) == "True";
    vec![
        meta::name(object).into(),
        text(object, "/spec/attacher").into(),
        text(object, "/spec/source/persistentVolumeName").into(),
        text(object, "/spec/nodeName").into(),
        attached.into(),
        age(object, context),
    ]
}

fn signing_request(object: &Value, context: &Context) -> Vec<Value> {
    let has = |type_: &str| items(object, "/status/conditions").iter().any(|c| c["type"] == type_);
    let mut state = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(object, "/status/certificate").is_empty() {
        state.push_str(",Issued");
    }
    let duration = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    let duration =
        duration.map_or_else(|| "<none>".into(), |s| time::human_duration(jiff::SignedDuration::from_secs(s)));
    vec![
        meta::name(object).into(),
        age(object, context),
        or(text(object, "/spec/signerName"), "<none>").into(),
        text(object, "/spec/username").into(),
        duration.into(),
        state.into(),
    ]
}
