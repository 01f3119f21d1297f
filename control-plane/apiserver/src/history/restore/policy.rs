//! What is intent and goes back, and what is not: reports of the moment, and what controllers make.
//! Data about Kubernetes' kinds; no I/O.

use crate::history::kinds::Place;
use api::meta;
use serde_json::Value;

/// Kinds whose objects only say how things are: machines, heartbeats, events, and requests that are long answered.
const REPORTS: &[&str] = &[
    "core/events",
    "core/nodes",
    "coordination.k8s.io/leases",
    "certificates.k8s.io/certificatesigningrequests",
    "storage.k8s.io/csinodes",
    "storage.k8s.io/volumeattachments",
];

/// Kinds whose `status` is not found out again by looking, so that it comes back with the object.
const RECORDS: &[&str] = &[
    "batch/jobs",
    "batch/cronjobs",
    "core/namespaces",
    "core/persistentvolumes",
    "core/persistentvolumeclaims",
    "certificates.k8s.io/certificatesigningrequests",
    "apiextensions.k8s.io/customresourcedefinitions",
];

/// Labels by which the makers of derived objects know theirs.
const DERIVED: &[&str] = &[
    "endpointslice.kubernetes.io/managed-by",
    "endpoints.kubernetes.io/managed-by",
    "ipaddress.kubernetes.io/managed-by",
    "kubernetes.io/bootstrapping",
];

/// Whether nobody's intent is in the object: whoever makes it will make it again from what goes back.
pub(super) fn is_derived(place: &Place, object: &Value) -> bool {
    let own = match place.name.as_str() {
        "kubernetes" => place.namespace == "default" || place.storage == "networking.k8s.io/servicecidrs",
        _ => false,
    };
    let controlled = meta::owner_references(object).iter().any(|owner| owner["controller"] == true);
    own || controlled || DERIVED.iter().any(|label| meta::label(object, label).is_some())
}

/// Whether the kind is left out unless an object of it is named.
pub(super) fn is_report(place: &Place) -> bool {
    REPORTS.contains(&place.storage.as_str())
}

/// Whether `status` comes back with an object that was gone.
pub(super) fn keeps_status(place: &Place) -> bool {
    RECORDS.contains(&place.storage.as_str())
}

/// What later steps build on comes first: definitions, then namespaces and ranges of addresses, then the rest.
pub(super) fn rank(place: &Place) -> u8 {
    match place.storage.as_str() {
        "apiextensions.k8s.io/customresourcedefinitions" => 0,
        "core/namespaces" | "networking.k8s.io/servicecidrs" => 1,
        _ => 2,
    }
}

pub(super) fn is_pod(place: &Place) -> bool {
    place.storage == "core/pods"
}

pub(super) fn is_namespace(place: &Place) -> bool {
    place.storage == "core/namespaces"
}

/// Whether a pod's containers have ended for good.
pub(super) fn has_finished(pod: &Value) -> bool {
    matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"))
}
