//! The defaults of a pod spec (`pkg/apis/core/v1/defaults.go`), shared by Pods and all pod templates.

use crate::strategies::json::{Object, each_mut, existing_mut, fill, fill_zero, object_mut};
use crate::{amounts, quantity};
use serde_json::{Map, Value, json};

/// Defaults that hold for every pod spec, in a Pod and in a template.
pub(in crate::strategies) fn default_spec(spec: &mut Object) {
    fill_zero(spec, "restartPolicy", "Always");
    fill_zero(spec, "dnsPolicy", "ClusterFirst");
    fill_zero(spec, "schedulerName", "default-scheduler");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "securityContext", json!({}));
    mirror_service_account(spec);
    for volume in each_mut(spec, "volumes") {
        default_volume(volume);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in each_mut(spec, list) {
            default_container(container);
        }
    }
    if let Some(overhead) = existing_mut(spec, "overhead") {
        canonical_list(overhead);
    }
}

/// Defaults that only Pods have, not templates: requests from limits, how to resize, service links, ports of the host.
pub(in crate::strategies) fn default_pod(spec: &mut Object) {
    for list in ["initContainers", "containers"] {
        for container in each_mut(spec, list) {
            if let Some(resources) = existing_mut(container, "resources") {
                requests_from_limits(resources);
            }
            if list == "containers" {
                default_resize_policy(container);
            }
        }
    }
    if let Some(resources) = existing_mut(spec, "resources") {
        canonical_resources(resources);
    }
    default_pod_requests(spec);
    fill(spec, "enableServiceLinks", true);
    if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
        for list in ["initContainers", "containers"] {
            for port in each_mut(spec, list).flat_map(|c| each_mut(c, "ports")) {
                if let Some(number) = port.get("containerPort").cloned() {
                    fill_zero(port, "hostPort", number);
                }
            }
        }
    }
}

/// What a container asks for of cpu and memory may change while it runs, unless it says otherwise.
fn default_resize_policy(container: &mut Object) {
    let requests = container.get("resources").and_then(|r| r.get("requests")).and_then(Value::as_object);
    let asked: Vec<&str> =
        ["cpu", "memory"].into_iter().filter(|name| requests.is_some_and(|list| list.contains_key(*name))).collect();
    if asked.is_empty() {
        return;
    }
    let policies = container.entry("resizePolicy").or_insert(Value::Null);
    if policies.is_null() {
        *policies = json!([]);
    }
    let Some(policies) = policies.as_array_mut() else { return };
    for name in asked {
        if policies.iter().all(|policy| policy.get("resourceName").is_none_or(|known| known != name)) {
            policies.push(json!({"resourceName": name, "restartPolicy": "NotRequired"}));
        }
    }
}

/// A pod that limits itself as a whole asks for what its containers do, or else for all of it.
fn default_pod_requests(spec: &mut Object) {
    let limits = spec.get("resources").and_then(|r| r.get("limits")).and_then(Value::as_object);
    let Some(limits) = limits.filter(|limits| !limits.is_empty()).cloned() else { return };
    let known = |name: &str| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
    let of_containers = amounts::containers(&Value::Object(spec.clone()), "requests");
    let Some(requests) = existing_mut(spec, "resources").and_then(|r| object_mut(r, "requests")) else { return };
    for (name, amount) in of_containers.into_iter().filter(|(name, _)| known(name)) {
        requests.entry(name).or_insert_with(|| amount.to_string().into());
    }
    for (name, limit) in limits.into_iter().filter(|(name, _)| known(name)) {
        requests.entry(name).or_insert(limit);
    }
}

/// The deprecated `serviceAccount` always reads the same as `serviceAccountName`.
fn mirror_service_account(spec: &mut Object) {
    let name = |field: &str| spec.get(field).and_then(Value::as_str).filter(|n| !n.is_empty()).map(String::from);
    if let Some(name) = name("serviceAccountName").or_else(|| name("serviceAccount")) {
        spec.insert("serviceAccount".into(), name.clone().into());
        spec.insert("serviceAccountName".into(), name.into());
    }
}

fn requests_from_limits(resources: &mut Object) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).filter(|l| !l.is_empty()).cloned() else {
        return;
    };
    let Some(requests) = object_mut(resources, "requests") else { return };
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

/// Writes the quantities of `limits` and `requests` in canonical form.
pub(in crate::strategies) fn canonical_resources(resources: &mut Object) {
    for list in ["limits", "requests"] {
        if let Some(list) = existing_mut(resources, list) {
            canonical_list(list);
        }
    }
}

/// Writes the quantities of a resource list in canonical form; what is no quantity stays for validation.
pub(in crate::strategies) fn canonical_list(list: &mut Object) {
    for value in list.values_mut() {
        if let Some(text) = quantity::written_in_list(value)
            && value.as_str() != Some(&text)
        {
            *value = Value::String(text.into_owned());
        }
    }
}

/// The same for one member that is a quantity.
pub(in crate::strategies) fn canonical_field(object: &mut Object, field: &str) {
    if let Some(value) = object.get_mut(field)
        && let Some(text) = quantity::written(value)
        && value.as_str() != Some(&text)
    {
        *value = Value::String(text.into_owned());
    }
}

/// `Always` for images without a tag or with the tag `latest`, else `IfNotPresent`.
pub(in crate::strategies) fn pull_policy(image: &str) -> &'static str {
    // A URL is no image reference: it has no tag that could move.
    if image.is_empty() || image.contains("://") {
        return "IfNotPresent";
    }
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.split_once(':'), digest) {
        (Some((_, "latest")), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

fn default_container(container: &mut Object) {
    let policy = pull_policy(container.get("image").and_then(Value::as_str).unwrap_or_default());
    fill_zero(container, "imagePullPolicy", policy);
    fill_zero(container, "terminationMessagePath", "/dev/termination-log");
    fill_zero(container, "terminationMessagePolicy", "File");
    if let Some(resources) = object_mut(container, "resources") {
        canonical_resources(resources);
    }
    for port in each_mut(container, "ports") {
        fill_zero(port, "protocol", "TCP");
    }
    for env in each_mut(container, "env") {
        if let Some(source) = existing_mut(env, "valueFrom") {
            default_field_ref(source);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = existing_mut(container, probe) {
            default_probe(probe);
        }
    }
    if let Some(lifecycle) = existing_mut(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = existing_mut(lifecycle, hook) {
                default_http_get(hook);
            }
        }
    }
}

fn default_probe(probe: &mut Object) {
    fill_zero(probe, "timeoutSeconds", 1);
    fill_zero(probe, "periodSeconds", 10);
    fill_zero(probe, "successThreshold", 1);
    fill_zero(probe, "failureThreshold", 3);
    default_http_get(probe);
    if let Some(grpc) = existing_mut(probe, "grpc") {
        fill(grpc, "service", "");
    }
}

fn default_http_get(handler: &mut Object) {
    if let Some(get) = existing_mut(handler, "httpGet") {
        fill_zero(get, "path", "/");
        fill_zero(get, "scheme", "HTTP");
    }
}

/// `fieldRef.apiVersion`, and the divisor of a `resourceFieldRef`, of an env source or downward API item.
fn default_field_ref(source: &mut Object) {
    if let Some(reference) = existing_mut(source, "fieldRef") {
        fill_zero(reference, "apiVersion", "v1");
    }
    if let Some(reference) = existing_mut(source, "resourceFieldRef") {
        fill(reference, "divisor", "0");
        canonical_field(reference, "divisor");
    }
}

const FILE_MODE: i32 = 0o644;

fn default_volume(volume: &mut Object) {
    if !volume.iter().any(|(name, value)| name != "name" && !value.is_null()) {
        volume.insert("emptyDir".into(), Value::Object(Map::new()));
    }
    if let Some(source) = existing_mut(volume, "emptyDir") {
        canonical_field(source, "sizeLimit");
    }
    for plain in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = existing_mut(volume, plain) {
            fill(source, "defaultMode", FILE_MODE);
            for item in each_mut(source, "items") {
                default_field_ref(item);
            }
            for projection in each_mut(source, "sources") {
                default_projection(projection);
            }
        }
    }
    default_sources(volume);
    if let Some(source) = existing_mut(volume, "image") {
        let policy = pull_policy(source.get("reference").and_then(Value::as_str).unwrap_or_default());
        fill_zero(source, "pullPolicy", policy);
    }
    if let Some(spec) = existing_mut(volume, "ephemeral")
        .and_then(|e| existing_mut(e, "volumeClaimTemplate"))
        .and_then(|t| existing_mut(t, "spec"))
    {
        default_claim_spec(spec);
    }
}

/// (source, field, default) of the volume sources that pods and PersistentVolumes share.
const SOURCES: &[(&str, &str, &str)] = &[
    ("hostPath", "type", ""),
    ("iscsi", "iscsiInterface", "default"),
    ("azureDisk", "cachingMode", "ReadWrite"),
    ("azureDisk", "fsType", "ext4"),
    ("azureDisk", "kind", "Shared"),
    ("rbd", "keyring", "/etc/ceph/keyring"),
    ("rbd", "pool", "rbd"),
    ("rbd", "user", "admin"),
    ("scaleIO", "fsType", "xfs"),
    ("scaleIO", "storageMode", "ThinProvisioned"),
];

/// Defaults of the sources of a volume or a PersistentVolume's spec.
pub(in crate::strategies) fn default_sources(volume: &mut Object) {
    for (source, field, value) in SOURCES {
        if let Some(fields) = existing_mut(volume, source) {
            // What is there may be empty where Kubernetes keeps a pointer.
            if matches!(*source, "hostPath" | "azureDisk") {
                fill(fields, field, *value);
            } else {
                fill_zero(fields, field, *value);
            }
        }
    }
    if let Some(disk) = existing_mut(volume, "azureDisk") {
        fill(disk, "readOnly", false);
    }
}

fn default_projection(projection: &mut Object) {
    if let Some(token) = existing_mut(projection, "serviceAccountToken") {
        fill(token, "expirationSeconds", 3600);
    }
    if let Some(downward) = existing_mut(projection, "downwardAPI") {
        for item in each_mut(downward, "items") {
            default_field_ref(item);
        }
    }
}

/// The defaults of a PersistentVolumeClaim's spec, wherever it stands.
pub(in crate::strategies) fn default_claim_spec(spec: &mut Object) {
    fill(spec, "volumeMode", "Filesystem");
    if let Some(resources) = existing_mut(spec, "resources") {
        canonical_resources(resources);
    }
}
