//! PersistentVolume and PersistentVolumeClaim (`ValidatePersistentVolumeSpec`, `ValidatePersistentVolumeClaimSpec`).

use super::claim_sources;
use super::internal_diff;
use super::json::{
    check_immutable, check_name, check_one_of, existing_mut, fill, fill_zero, items, map, present, spec_mut, text,
};
use super::pod::{
    Holder, canonical_list, check_label_selector, check_node_selector, check_quantity, check_source,
    default_claim_spec, default_sources, outer_name,
};
use crate::field::{Error, Path};
use crate::quantity::Quantity;
use crate::strategy::{Strategy, keep_from_old, replace_status};
use crate::{meta, names};
use serde_json::{Value, json};

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const NOT_POSITIVE: &str = "must be greater than zero";

/// Sources in the order in which Kubernetes looks for them.
const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

pub(super) struct PersistentVolume;

impl Strategy for PersistentVolume {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_mut(object) else { return };
        fill_zero(spec, "persistentVolumeReclaimPolicy", "Retain");
        fill(spec, "volumeMode", "Filesystem");
        if let Some(capacity) = existing_mut(spec, "capacity") {
            canonical_list(capacity);
        }
        default_sources(spec);
    }

    fn prepare_create(&self, object: &mut Value) {
        replace_status(object, Some(json!({"phase": "Pending"})));
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        if items(spec, "accessModes").is_empty() {
            errors.push(Error::required(&path.child("accessModes"), ""));
        }
        check_access_modes(spec, &path, &mut errors);
        check_capacity(spec, &path.child("capacity"), &mut errors);
        let policies = &["Delete", "Recycle", "Retain"];
        check_one_of(spec, "persistentVolumeReclaimPolicy", policies, &path, &mut errors);
        if let Some(affinity) = present(spec, "nodeAffinity") {
            let at = path.child("nodeAffinity.required");
            match present(affinity, "required") {
                Some(selector) => check_node_selector(selector, &at, &mut errors),
                None => errors.push(Error::required(&at, "must specify required node constraints")),
            }
        }
        check_volume_sources(spec, meta::name(object), &path, &mut errors);
        let root = spec.pointer("/hostPath/path").and_then(Value::as_str).is_some_and(is_root);
        if root && text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
            let detail = "may not be 'recycle' for a hostPath mount of '/'";
            errors.push(Error::forbidden(&path.child("persistentVolumeReclaimPolicy"), detail));
        }
        check_class(spec, "storageClassName", &path, &mut errors);
        check_one_of(spec, "volumeMode", &["Block", "Filesystem"], &path, &mut errors);
        if let Some(class) = spec.get("volumeAttributesClassName").and_then(Value::as_str) {
            if class.is_empty() {
                let at = path.child("volumeAttributesClassName");
                errors.push(Error::required(&at, "an empty string is disallowed"));
            }
            check_class(spec, "volumeAttributesClassName", &path, &mut errors);
            if present(spec, "csi").is_none() {
                let detail = "has to be specified when using volumeAttributesClassName";
                errors.push(Error::required(&path.child("csi"), detail));
            }
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let (mut errors, new, old) = (Vec::new(), spec(object), spec(old));
        let mut sources = new.clone();
        // The one part of a source that may be added later.
        if old.get("csi").is_some_and(|csi| present(csi, "controllerExpandSecretRef").is_none())
            && let Some(csi) = sources.get_mut("csi").and_then(Value::as_object_mut)
        {
            csi.remove("controllerExpandSecretRef");
        }
        if SOURCES.iter().any(|source| sources.get(*source) != old.get(*source)) {
            let path = Path::new("spec.persistentvolumesource");
            let detail = "spec.persistentvolumesource is immutable after creation";
            let difference = internal_diff::of("PersistentVolumeSource", old, &sources);
            errors.push(Error::forbidden(&path, format!("{detail}\n{difference}")));
        }
        check_immutable(new, old, "volumeMode", &Path::new(""), &mut errors);
        check_affinity_change(new, old, &mut errors);
        let (class, path) = ("volumeAttributesClassName", Path::new("spec"));
        if present(old, class).is_some() && present(new, class).is_none() {
            errors.push(Error::forbidden(&path.child(class), "update from non-nil value to nil is forbidden"));
        }
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = super::workloads::no_controller("PersistentVolume");
        warnings.extend(super::deprecated::volume_warnings(object));
        warnings
    }

    fn has_generation(&self) -> bool {
        false
    }
}

/// Whether a path is the root, written in whatever way.
fn is_root(place: &str) -> bool {
    let mut depth = 0_i32;
    for part in place.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = (depth - 1).max(0),
            _ => depth += 1,
        }
    }
    place.starts_with('/') && depth == 0
}

/// Each mode a known one; the one that excludes others without others.
fn check_access_modes(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (modes, path) = (items(spec, "accessModes"), path.child("accessModes"));
    for mode in modes.iter().filter_map(Value::as_str).filter(|m| !MODES.contains(m)) {
        errors.push(Error::not_supported(&path, mode, MODES));
    }
    let single = modes.iter().any(|m| m == "ReadWriteOncePod");
    let other = modes.iter().any(|m| m != "ReadWriteOncePod" && MODES.iter().any(|known| m == known));
    if single && other {
        errors.push(Error::forbidden(&path, "may not use ReadWriteOncePod with other access modes"));
    }
}

fn check_capacity(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let capacity = map(spec, "capacity").filter(|c| !c.is_empty());
    if capacity.is_none() {
        errors.push(Error::required(path, ""));
    }
    if capacity.is_none_or(|c| !c.contains_key("storage") || c.len() > 1) {
        let shown = spec.get("capacity").cloned().unwrap_or_default();
        errors.push(Error::not_supported(path, shown, &["storage"]));
    }
    for (name, value) in capacity.into_iter().flatten() {
        let path = path.key(name);
        let Ok(quantity) = Quantity::from_value(value) else {
            check_quantity(name, value, &path, errors);
            continue;
        };
        if quantity.value() < 0 {
            errors.push(Error::invalid(&path, quantity.value(), "must be a valid resource quantity"));
        }
        check_positive(quantity, &path, errors);
    }
}

/// Whether a quantity is above zero, or a complaint.
fn check_positive(quantity: Quantity, path: &Path<'_>, errors: &mut Vec<Error>) -> bool {
    let positive = !quantity.is_zero() && !quantity.is_negative();
    if !positive {
        errors.push(Error::invalid(path, quantity.to_string(), NOT_POSITIVE));
    }
    positive
}

fn check_volume_sources(spec: &Value, name: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut found = false;
    for kind in SOURCES {
        let Some(source) = present(spec, kind) else { continue };
        if found && *kind != "flexVolume" {
            errors.push(Error::forbidden(&path.child(outer_name(kind)), "may not specify more than 1 volume type"));
            continue;
        }
        found = true;
        check_source(kind, source, Holder::Persistent(name), path, errors);
        if *kind == "local" && present(spec, "nodeAffinity").is_none() {
            errors.push(Error::required(&path.child("nodeAffinity"), "Local volume requires node affinity"));
        }
    }
    if !found {
        errors.push(Error::required(path, "must specify a volume type"));
    }
}

fn check_class(spec: &Value, field: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    match text(spec, field) {
        "" => {}
        class => check_name(class, &path.child(field), names::check_dns1123_subdomain, errors),
    }
}

pub(super) struct PersistentVolumeClaim;

impl Strategy for PersistentVolumeClaim {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = spec_mut(object) {
            default_claim_spec(spec);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        replace_status(object, Some(json!({"phase": "Pending"})));
        if let Some(spec) = spec_mut(object) {
            claim_sources::complete(spec, None);
        }
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep_from_old(object, old, "status");
        if let Some(new) = spec_mut(object) {
            claim_sources::complete(new, Some(spec(old)));
        }
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_claim_spec(spec(object), &Path::new("spec"), &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (new_spec, old_spec, path) = (spec(object), spec(old), Path::new("spec"));
        let bound = object.pointer("/status/phase").is_some_and(|phase| phase == "Bound");
        check_claim_change(object, old, bound, &mut errors);
        let size = |object: &Value, at: &str| {
            object.pointer(at).and_then(|value| Quantity::from_value(value).ok()).unwrap_or_default()
        };
        let requested = "/spec/resources/requests/storage";
        let smaller = size(object, requested) < size(old, requested);
        if smaller && size(object, requested) <= size(old, "/status/capacity/storage") {
            let detail = "field can not be less than status.capacity";
            errors.push(Error::forbidden(&path.child("resources.requests.storage"), detail));
        }
        check_immutable(new_spec, old_spec, "volumeMode", &Path::new(""), &mut errors);
        if old.pointer("/status/currentVolumeAttributesClassName").is_some_and(|class| !class.is_null()) {
            let class = new_spec.get("volumeAttributesClassName").and_then(Value::as_str);
            let gone = match class {
                None => Some("nil"),
                Some("") => Some("empty string"),
                Some(_) => None,
            };
            if let Some(gone) = gone {
                let detail =
                    format!("update to {gone} is forbidden when status.currentVolumeAttributesClassName is not nil");
                errors.push(Error::forbidden(&path.child("volumeAttributesClassName"), detail));
            }
        }
        errors
    }

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        let (mut errors, path) = (Vec::new(), Path::new("status.capacity"));
        let capacity = object.pointer("/status/capacity").and_then(Value::as_object);
        for (name, value) in capacity.into_iter().flatten() {
            if let Some(amount) = Quantity::from_value(value).ok().map(Quantity::value).filter(|amount| *amount < 0) {
                errors.push(Error::invalid(&path.key(name), amount, "must be a valid resource quantity"));
            }
        }
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = super::workloads::no_controller("PersistentVolumeClaim");
        warnings.extend(super::deprecated::claim_warnings(object));
        warnings
    }

    fn has_generation(&self) -> bool {
        false
    }
}

/// Where a volume can be used is said once.
fn check_affinity_change(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    let field = "nodeAffinity";
    let Some(before) = present(old, field) else { return };
    let after = new.get(field).unwrap_or(&Value::Null);
    if !is_same_affinity(before, after) {
        let detail = format!("{}, except for updating from beta label to GA", meta::IMMUTABLE);
        let error = Error::invalid(&Path::new(field), Value::Null, detail);
        errors.push(internal_diff::showing(error, "VolumeNodeAffinity", after));
    }
}

/// Keys of labels that have a newer name.
const RENAMED: [(&str, &str); 5] = [
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
];

fn is_same_affinity(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.len() == after.len()
                && before.iter().all(|(name, before)| {
                    let Some(after) = after.get(name) else { return false };
                    let renamed = |(old, new): &(&str, &str)| before == old && after == new;
                    is_same_affinity(before, after) || (name == "key" && RENAMED.iter().any(renamed))
                })
        }
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len()
                && before.iter().zip(after).all(|(before, after)| is_same_affinity(before, after))
        }
        _ => before == after,
    }
}

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// A claim's spec stays, but for its volume, which binding fills in, its class, where none was asked for, and of bound
/// claims the size and the class of attributes.
fn check_claim_change(object: &Value, old: &Value, bound: bool, errors: &mut Vec<Error>) {
    let (mut after, mut before) = (spec(object).clone(), spec(old).clone());
    let (Some(_), Some(known)) = (after.as_object(), before.as_object_mut()) else { return };
    claim_sources::mirror(known);
    if text(&before, "volumeName").is_empty() {
        before["volumeName"] = after.get("volumeName").cloned().unwrap_or_default();
        after["volumeName"] = before["volumeName"].clone();
    }
    let (annotation, annotated) = (meta::annotation(object, BETA_CLASS), meta::annotation(old, BETA_CLASS));
    let class = after.get("storageClassName").and_then(Value::as_str).map(str::to_owned);
    let had_class = present(&before, "storageClassName").is_some();
    let upgraded = annotated.is_some()
        && !had_class
        && class.as_deref() == annotated
        && (annotation.is_none() || annotation == annotated);
    if !upgraded && annotation.unwrap_or_default() != annotated.unwrap_or_default() {
        let path = Path::new("metadata.annotations");
        let shown = annotation.unwrap_or_default();
        errors.push(Error::invalid(&path.child(BETA_CLASS), shown, meta::IMMUTABLE));
    }
    let from_nothing = class.is_some() && !had_class && (annotated.is_none() || class.as_deref() == annotated);
    if (upgraded || from_nothing)
        && let Some(after) = after.as_object_mut()
    {
        after.remove("storageClassName");
    }
    if bound {
        for pointer in ["/resources/requests/storage", "/volumeAttributesClassName"] {
            copy(&mut after, &before, pointer);
        }
    }
    if after == before {
        return;
    }
    let detail =
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    let difference = internal_diff::of("PersistentVolumeClaimSpec", &before, &after);
    errors.push(Error::forbidden(&Path::new("spec"), format!("{detail}\n{difference}")));
}

/// Makes what `pointer` points at in `to` what it is in `from`.
fn copy(to: &mut Value, from: &Value, pointer: &str) {
    let Some((parent, field)) = pointer.rsplit_once('/') else { return };
    let Some(holder) = to.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
    match from.pointer(pointer) {
        Some(value) => holder.insert(field.into(), value.clone()),
        None => holder.remove(field),
    };
}

/// The spec of a claim, wherever it stands.
pub(super) fn check_claim_spec(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if items(spec, "accessModes").is_empty() {
        errors.push(Error::required(&path.child("accessModes"), "at least 1 access mode is required"));
    }
    check_label_selector(spec.get("selector"), &path.child("selector"), errors);
    check_access_modes(spec, path, errors);
    let resources = path.child("resources");
    let at = resources.key("storage");
    match spec.pointer("/resources/requests/storage") {
        None => errors.push(Error::required(&at, "")),
        Some(value) => match Quantity::from_value(value) {
            Ok(quantity) => _ = check_positive(quantity, &at, errors),
            Err(_) => _ = check_quantity("storage", value, &at, errors),
        },
    }
    check_class(spec, "storageClassName", path, errors);
    check_one_of(spec, "volumeMode", &["Block", "Filesystem"], path, errors);
    for field in ["dataSource", "dataSourceRef"] {
        if let Some(source) = present(spec, field) {
            check_data_source(source, &path.child(field), errors);
        }
    }
    check_both_sources(spec, path, errors);
    check_class(spec, "volumeAttributesClassName", path, errors);
}

fn check_data_source(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    for field in ["name", "kind"] {
        if text(source, field).is_empty() {
            errors.push(Error::required(&path.child(field), ""));
        }
    }
    match text(source, "apiGroup") {
        "" => {
            let kind = text(source, "kind");
            if kind != "PersistentVolumeClaim" {
                let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
                errors.push(Error::invalid(path, kind, detail));
            }
        }
        group => check_name(group, &path.child("apiGroup"), names::check_dns1123_subdomain, errors),
    }
    match text(source, "namespace") {
        "" => {}
        namespace => check_name(namespace, &path.child("namespace"), names::check_dns1123_label, errors),
    }
}

/// The two ways of naming where the data comes from agree.
fn check_both_sources(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (Some(source), Some(reference)) = (present(spec, "dataSource"), present(spec, "dataSourceRef")) else {
        return;
    };
    let agree = ["apiGroup", "kind", "name"].iter().all(|field| source.get(*field) == reference.get(*field));
    let detail = if !text(reference, "namespace").is_empty() {
        "may not be specified when dataSourceRef.namespace is specified"
    } else if agree {
        return;
    } else {
        "must match dataSourceRef"
    };
    // Kubernetes shows the field's path as the value; a path has no public fields.
    errors.push(Error::invalid(path, json!({}), detail));
}
