//! The rest of core: nodes, namespaces, configuration, storage, quotas, events.

use super::Context;
use super::format::{AGE, Definition, NAME, age, columns, condition, items, map, or, quantity, text};
use crate::kinds::Columns;
use crate::meta;
use crate::strategies::events::member;
use crate::time;
use serde_json::{Map, Value};

const NODES: &[Definition] = &[
    NAME,
    ("Status", "string", 0, "The status of the node"),
    ("Roles", "string", 0, "The roles of the node"),
    AGE,
    ("Version", "string", 0, "Kubelet Version reported by the node."),
    ("Internal-IP", "string", 1, "The node's first internal address."),
    ("External-IP", "string", 1, "The node's first external address."),
    ("OS-Image", "string", 1, "OS Image reported by the node."),
    ("Kernel-Version", "string", 1, "Kernel Version reported by the node."),
    ("Container-Runtime", "string", 1, "Container runtime and its version, reported by the node."),
];

const EVENTS: &[Definition] = &[
    ("Last Seen", "string", 0, "The time at which the most recent occurrence of this event was recorded."),
    ("Type", "string", 0, "Type of this event (Normal, Warning)."),
    ("Reason", "string", 0, "A short, machine understandable reason for this event."),
    ("Object", "string", 0, "The object that this event is about."),
    ("Subobject", "string", 1, "The part of the object that this event is about."),
    ("Source", "string", 1, "The component reporting this event."),
    ("Message", "string", 0, "A human-readable description of the event."),
    ("First Seen", "string", 1, "The time at which the event was first recorded."),
    ("Count", "string", 1, "The number of times this event has occurred."),
    ("Name", "string", 1, "Name must be unique within a namespace. Cannot be updated."),
];

const VOLUMES: &[Definition] = &[
    NAME,
    ("Capacity", "string", 0, "The volume's capacity."),
    ("Access Modes", "string", 0, "All ways the volume can be mounted."),
    ("Reclaim Policy", "string", 0, "What happens to the volume when it is released from its claim."),
    ("Status", "string", 0, "Whether the volume is available, bound to a claim, or released by a claim."),
    ("Claim", "string", 0, "The claim that the volume is bound to."),
    ("StorageClass", "string", 0, "StorageClass of the pv"),
    ("VolumeAttributesClass", "string", 0, "VolumeAttributesClass of the pv"),
    ("Reason", "string", 0, "Why the volume is in its state."),
    AGE,
    ("VolumeMode", "string", 1, "Whether the volume has a filesystem or is raw."),
];

const CLAIMS: &[Definition] = &[
    NAME,
    ("Status", "string", 0, "The current phase of the claim."),
    ("Volume", "string", 0, "The volume that backs the claim."),
    ("Capacity", "string", 0, "The actual resources of the underlying volume."),
    ("Access Modes", "string", 0, "The access modes that the volume has."),
    ("StorageClass", "string", 0, "StorageClass of the pvc"),
    ("VolumeAttributesClass", "string", 0, "VolumeAttributesClass of the pvc"),
    AGE,
    ("VolumeMode", "string", 1, "What type of volume the claim needs."),
];

const QUOTAS: &[Definition] = &[
    NAME,
    ("Request", "string", 0, "Request represents a minimum amount of cpu/memory that a container may consume."),
    (
        "Limit",
        "string",
        0,
        "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
    ),
    AGE,
];

const COMPONENTS: &[Definition] = &[
    NAME,
    ("Status", "string", 0, "Status of the component conditions"),
    ("Message", "string", 0, "Message of the component conditions"),
    ("Error", "string", 0, "Error of the component conditions"),
];

pub(super) fn find(kind: &str) -> Option<Columns> {
    const DATA: Definition = ("Data", "string", 0, "How many entries the data has.");
    Some(match kind {
        "Node" => columns(NODES, node),
        "Event" => columns(EVENTS, event),
        "Namespace" => {
            columns(&[NAME, ("Status", "string", 0, "The status of the namespace"), AGE], |object, context| {
                vec![meta::name(object).into(), text(object, "/status/phase").into(), age(object, context)]
            })
        }
        "ConfigMap" => columns(&[NAME, DATA, AGE], |object, context| {
            let count = count(object, "/data") + count(object, "/binaryData");
            vec![meta::name(object).into(), count.into(), age(object, context)]
        }),
        "Secret" => columns(
            &[NAME, ("Type", "string", 0, "Used to facilitate programmatic handling of secret data."), DATA, AGE],
            |object, context| {
                let count = count(object, "/data");
                vec![meta::name(object).into(), text(object, "/type").into(), count.into(), age(object, context)]
            },
        ),
        "ServiceAccount" => {
            columns(&[NAME, ("Secrets", "string", 0, "How many secrets the account names."), AGE], |object, context| {
                vec![meta::name(object).into(), items(object, "/secrets").len().into(), age(object, context)]
            })
        }
        "PersistentVolume" => columns(VOLUMES, volume),
        "PersistentVolumeClaim" => columns(CLAIMS, claim),
        "ResourceQuota" => columns(QUOTAS, quota),
        "ComponentStatus" => columns(COMPONENTS, component),
        _ => return None,
    })
}

fn count(object: &Value, pointer: &str) -> usize {
    map(object, pointer).map_or(0, Map::len)
}

fn node(object: &Value, context: &Context) -> Vec<Value> {
    let mut status = match condition(object, "/status/conditions", "Ready") {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if object.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let address = |type_: &str| {
        let found = items(object, "/status/addresses").iter().find(|a| a["type"] == type_);
        found.map_or("<none>", |a| text(a, "/address"))
    };
    let info = |pointer: &str| Value::from(or(text(object, pointer), "<unknown>"));
    vec![
        meta::name(object).into(),
        status.into(),
        or(&roles(object), "<none>").into(),
        age(object, context),
        text(object, "/status/nodeInfo/kubeletVersion").into(),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        info("/status/nodeInfo/osImage"),
        info("/status/nodeInfo/kernelVersion"),
        info("/status/nodeInfo/containerRuntimeVersion"),
    ]
}

/// From the labels `node-role.kubernetes.io/<role>` and `kubernetes.io/role=<role>`.
fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = meta::labels(node)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    roles.join(",")
}

fn event(object: &Value, context: &Context) -> Vec<Value> {
    let ago = |value: &Value| value.as_str().map(|then| time::age(Some(then), context.now));
    let first = ago(member(object, "firstTimestamp")).or_else(|| ago(&object["eventTime"]));
    let first = first.unwrap_or_else(|| "<unknown>".into());
    let series = object.get("series").filter(|s| s.is_object());
    let last = match series {
        Some(series) => ago(&series["lastObservedTime"]).unwrap_or_else(|| "<unknown>".into()),
        None => ago(member(object, "lastTimestamp")).unwrap_or_else(|| first.clone()),
    };
    let involved = member(object, "involvedObject");
    let kind = text(involved, "/kind").to_lowercase();
    let target = match text(involved, "/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let source = member(object, "source");
    let reporter = member(object, "reportingComponent").as_str().unwrap_or_default();
    let component = or(text(source, "/component"), reporter);
    let instance = or(text(source, "/host"), text(object, "/reportingInstance"));
    let source = if instance.is_empty() { component.to_owned() } else { format!("{component}, {instance}") };
    vec![
        last.into(),
        text(object, "/type").into(),
        text(object, "/reason").into(),
        target.into(),
        text(involved, "/fieldPath").into(),
        source.into(),
        member(object, "message").as_str().unwrap_or_default().trim().into(),
        first.into(),
        crate::strategies::events::count(object).into(),
        meta::name(object).into(),
    ]
}

/// `RWO,ROX`, in Kubernetes' order.
fn access_modes(modes: &[Value]) -> String {
    let known =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let short: Vec<&str> = known.iter().filter(|(long, _)| modes.iter().any(|m| m == long)).map(|(_, s)| *s).collect();
    short.join(",")
}

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

fn storage_class(object: &Value) -> &str {
    meta::annotation(object, CLASS_ANNOTATION).unwrap_or_else(|| text(object, "/spec/storageClassName"))
}

fn phase(object: &Value) -> &str {
    if meta::deletion_timestamp(object).is_some() { "Terminating" } else { text(object, "/status/phase") }
}

fn volume(object: &Value, context: &Context) -> Vec<Value> {
    let claim = match map(object, "/spec/claimRef") {
        Some(_) => format!("{}/{}", text(object, "/spec/claimRef/namespace"), text(object, "/spec/claimRef/name")),
        None => String::new(),
    };
    vec![
        meta::name(object).into(),
        quantity(object, "/spec/capacity/storage").into(),
        access_modes(items(object, "/spec/accessModes")).into(),
        text(object, "/spec/persistentVolumeReclaimPolicy").into(),
        phase(object).into(),
        claim.into(),
        storage_class(object).into(),
        or(text(object, "/spec/volumeAttributesClassName"), "<unset>").into(),
        text(object, "/status/reason").into(),
        age(object, context),
        or(text(object, "/spec/volumeMode"), "<unset>").into(),
    ]
}

fn claim(object: &Value, context: &Context) -> Vec<Value> {
    let volume = text(object, "/spec/volumeName");
    let (capacity, modes) = if volume.is_empty() {
        (String::new(), String::new())
    } else {
        (quantity(object, "/status/capacity/storage"), access_modes(items(object, "/status/accessModes")))
    };
    vec![
        meta::name(object).into(),
        phase(object).into(),
        volume.into(),
        capacity.into(),
        modes.into(),
        storage_class(object).into(),
        or(text(object, "/spec/volumeAttributesClassName"), "<unset>").into(),
        age(object, context),
        or(text(object, "/spec/volumeMode"), "<unset>").into(),
    ]
}

fn quota(object: &Value, context: &Context) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in map(object, "/status/hard").into_iter().flatten() {
        let amount = |value: Option<&Value>| {
            value.and_then(|v| crate::quantity::Quantity::from_value(v).ok()).unwrap_or_default().to_string()
        };
        let used = map(object, "/status/used").and_then(|used| used.get(name));
        let list = if name.starts_with("limits.") { &mut limits } else { &mut requests };
        list.push(format!("{name}: {}/{}", amount(used), amount(Some(hard))));
    }
    vec![meta::name(object).into(), requests.join(", ").into(), limits.join(", ").into(), age(object, context)]
}

fn component(object: &Value, _context: &Context) -> Vec<Value> {
    let healthy = items(object, "/conditions").iter().find(|c| c["type"] == "Healthy");
    let status = match healthy.map(|c| text(c, "/status")) {
        Some("True") => "Healthy",
        Some("False") => "Unhealthy",
        _ => "Unknown",
    };
    let part = |field: &str| Value::from(healthy.map_or("", |c| text(c, field)));
    vec![meta::name(object).into(), status.into(), part("/message"), part("/error")]
}
