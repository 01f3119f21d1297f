//! Compares discovery and OpenAPI with the documents that Kubernetes 1.36 publishes: name by name, verb by verb, field by
//! field. They are not part of this repository; the test looks for them in `$SKIFF_K8S_SPEC`, then in `shared/kubernetes-1.36`
//! beside the checkout. Without them the snapshot of what we serve stands alone.

use api::discovery::{AggregatedVersion, Root, aggregated, api_group, api_groups, api_resources};
use api::{Kinds, openapi};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Group versions that Kubernetes publishes and Skiff does not serve (yet), and why.
const NOT_SERVED: &[(&str, &str)] = &[
    ("admissionregistration.k8s.io/v1alpha1", "alpha: off by default"),
    ("admissionregistration.k8s.io/v1beta1", "beta: off by default"),
    ("apiregistration.k8s.io/", "aggregated APIs are a later issue"),
    ("certificates.k8s.io/v1alpha1", "alpha: off by default"),
    ("certificates.k8s.io/v1beta1", "beta: off by default"),
    ("coordination.k8s.io/v1alpha2", "alpha: off by default"),
    ("coordination.k8s.io/v1beta1", "beta: off by default"),
    ("flowcontrol.apiserver.k8s.io/", "priority and fairness is a later issue"),
    ("internal.apiserver.k8s.io/", "alpha: off by default"),
    ("networking.k8s.io/v1beta1", "beta: off by default"),
    ("resource.k8s.io/", "dynamic resource allocation is not planned"),
    ("scheduling.k8s.io/v1alpha2", "alpha: off by default"),
    ("storage.k8s.io/v1beta1", "beta: off by default"),
    ("storagemigration.k8s.io/", "beta: off by default"),
];

/// Resources of group versions that are served otherwise, and why they are not.
const NOT_SERVED_RESOURCES: &[(&str, &str)] = &[
    ("mutatingadmissionpolic", "admission policies in CEL are a later issue"),
    ("validatingadmissionpolic", "admission policies in CEL are a later issue"),
];

/// Definitions that only those resources use.
const NOT_SERVED_DEFINITIONS: &[&str] =
    &["io.k8s.api.admissionregistration.v1.", "io.k8s.apimachinery.pkg.apis.meta.v1.Condition"];

fn is_served_resource(name: &str) -> bool {
    !NOT_SERVED_RESOURCES.iter().any(|(prefix, _)| name.starts_with(prefix))
}

/// `theirs` without the resources that are known to be missing.
fn without_unserved(mut list: Value, key: &str) -> Value {
    if let Some(resources) = list["resources"].as_array_mut() {
        resources.retain(|resource| is_served_resource(resource[key].as_str().unwrap_or_default()));
    }
    list
}

fn served(group_version: &str) -> bool {
    !NOT_SERVED.iter().any(|(prefix, _)| group_version.starts_with(prefix))
}

fn folder() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/kubernetes-1.36");
    let folder = std::env::var_os("SKIFF_K8S_SPEC").map_or(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

fn published(path: &str) -> Option<Value> {
    let text = std::fs::read(folder()?.join(path)).ok()?;
    Some(serde_json::from_slice(&text).expect("the published documents are JSON"))
}

fn versions(kinds: &Kinds) -> BTreeSet<(String, String)> {
    kinds.iter().map(|row| (row.group.to_string(), row.version.to_string())).collect()
}

/// One line for each resource and subresource.
#[test]
fn what_we_serve() {
    let kinds = Kinds::builtin();
    let mut text = String::new();
    for row in kinds.iter() {
        let verbs: Vec<_> = row.verbs.iter().map(|v| v.as_str()).collect();
        let scope = if row.namespaced() { "namespaced" } else { "cluster" };
        let all = if verbs.len() == 8 { "all".to_owned() } else { verbs.join(",") };
        let short = row.short_names.join(",");
        let place = if row.stored() { row.storage.as_ref() } else { "not stored" };
        writeln!(text, "{}/{} {scope} {all} [{short}] {} -> {place}", row.api_version(), row.plural, row.kind).unwrap();
        for sub in &row.subresources {
            let verbs: Vec<_> = sub.verbs.iter().map(|v| v.as_str()).collect();
            writeln!(text, "  /{} {} {}", sub.name, verbs.join(","), sub.kind).unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn discovery_is_kubernetes_own() {
    if folder().is_none() {
        return;
    }
    let kinds = Kinds::builtin();
    for (group, version) in versions(&kinds) {
        let file = if group.is_empty() {
            format!("discovery/api__{version}.json")
        } else {
            format!("discovery/apis__{group}__{version}.json")
        };
        let ours = api_resources(&kinds, &group, &version).unwrap();
        assert_eq!(ours, without_unserved(published(&file).unwrap(), "name"), "{group}/{version}");
    }
    let named = |list: &Value| -> Vec<Value> { list.as_array().unwrap().clone() };
    let theirs: Vec<Value> = named(&published("discovery/apis.json").unwrap()["groups"])
        .into_iter()
        .filter_map(|mut group| {
            let versions: Vec<Value> =
                named(&group["versions"]).into_iter().filter(|v| served(v["groupVersion"].as_str().unwrap())).collect();
            group["versions"] = versions.clone().into();
            (!versions.is_empty()).then_some(group)
        })
        .collect();
    assert_eq!(named(&api_groups(&kinds)["groups"]), theirs);
    assert_eq!(api_group(&kinds, "apps"), published("discovery/apis__apps.json"));
    let mut theirs = published("discovery/aggregated_v2.json").unwrap();
    for group in theirs["items"].as_array_mut().unwrap() {
        let name = group["metadata"]["name"].as_str().unwrap().to_owned();
        let versions = group["versions"].as_array_mut().unwrap();
        versions.retain(|v| served(&format!("{name}/{}", v["version"].as_str().unwrap())));
        for version in versions.iter_mut() {
            *version = without_unserved(version.take(), "resource");
        }
    }
    theirs["items"].as_array_mut().unwrap().retain(|group| !group["versions"].as_array().unwrap().is_empty());
    assert_eq!(aggregated(&kinds, Root::Groups, AggregatedVersion::V2), theirs);
}

/// The two OpenAPI v3 documents of each group and version that we serve.
fn documents() -> Vec<(String, Value, Value)> {
    let kinds = Kinds::builtin();
    let both = |(group, version): (String, String)| {
        let name = if group.is_empty() { format!("api__{version}") } else { format!("apis__{group}__{version}") };
        let theirs = published(&format!("openapi-spec/v3/{name}_openapi.json"))?;
        Some((name, openapi::v3_document(&kinds, &group, &version)?, theirs))
    };
    versions(&kinds).into_iter().filter_map(both).collect()
}

fn object<'a>(node: &'a Value, key: &str) -> &'a Map<String, Value> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    node.get(key).and_then(Value::as_object).unwrap_or(&EMPTY)
}

/// Takes out of a published schema what we leave out everywhere: defaults that are the type's zero value (they say nothing),
/// unions (which only document), and descriptions.
fn simplified(node: &Value) -> Value {
    match node {
        Value::Object(map) => {
            let zero = |v: &Value| *v == "" || *v == 0 || *v == false || v.as_object().is_some_and(Map::is_empty);
            let left_out = |key: &str, value| match key {
                "description" | "x-kubernetes-unions" => true,
                "default" => zero(value),
                _ => false,
            };
            let mut out: Map<String, Value> = map
                .iter()
                .filter(|(key, value)| !left_out(key, value))
                .map(|(key, value)| match (key.as_str(), value) {
                    // Here the keys are names of fields, one of which may be "description".
                    ("properties", Value::Object(fields)) => {
                        (key.clone(), fields.iter().map(|(name, field)| (name.clone(), simplified(field))).collect())
                    }
                    ("required", Value::Array(names)) => {
                        let sorted: BTreeSet<_> = names.iter().filter_map(Value::as_str).collect();
                        (key.clone(), sorted.into_iter().collect())
                    }
                    _ => (key.clone(), simplified(value)),
                })
                .collect();
            // `{"allOf": [{"$ref": X}]}` is how a reference with a description is written.
            if let Some(reference) = out.get("allOf").and_then(|list| list.get(0)?.get("$ref")).cloned() {
                out.remove("allOf");
                out.insert("$ref".into(), reference);
            }
            Value::Object(out)
        }
        Value::Array(list) => list.iter().map(simplified).collect(),
        other => other.clone(),
    }
}

/// `x-kubernetes-group-version-kind` of the types that every group has lists all groups there; ours names the core group.
fn shared_kind(name: &str) -> bool {
    ["DeleteOptions", "Status", "WatchEvent"]
        .iter()
        .any(|kind| name == format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"))
}

/// Places where our schemas differ, and why.
const KNOWN: &[(&str, &str)] = &[
    ("io.k8s.api.core.v1.Event.required", "metadata is required of no other kind; every request has it"),
    (
        "io.k8s.api.events.v1.Event.required",
        "k8s-openapi leaves eventTime optional; the API server does not, for new Events",
    ),
];

#[test]
fn schemas_are_kubernetes_own() {
    let mut found = Vec::new();
    for (name, ours, theirs) in documents() {
        let (ours, theirs) = (object(&ours["components"], "schemas"), object(&theirs["components"], "schemas"));
        for (definition, body) in ours {
            let Some(wanted) = theirs.get(definition) else { panic!("{name}: {definition} is not published") };
            let (mut body, mut wanted) = (simplified(body), simplified(wanted));
            if shared_kind(definition) {
                body["x-kubernetes-group-version-kind"].take();
                wanted["x-kubernetes-group-version-kind"].take();
            }
            differences(Some(&body), Some(&wanted), definition, &mut found);
        }
        for definition in theirs.keys().filter(|definition| !ours.contains_key(*definition)) {
            // Of discovery and of the deprecated watch paths, which are not in our documents.
            let only_theirs = name.contains("admissionregistration")
                && NOT_SERVED_DEFINITIONS.iter().any(|prefix| definition.starts_with(prefix));
            let allowed = ["APIResource", "APIResourceList", "WatchEvent", "RawExtension"];
            assert!(only_theirs || allowed.iter().any(|a| definition.ends_with(a)), "{name}: {definition} is missing");
        }
    }
    let differing: BTreeSet<_> =
        found.into_iter().filter(|text| !KNOWN.iter().any(|(known, _)| text.starts_with(known))).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

/// The leaves in which two documents differ, as `path: ours / theirs`.
fn differences(ours: Option<&Value>, theirs: Option<&Value>, path: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                differences(a.get(key), b.get(key), &format!("{path}.{key}"), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path}: {} / {}", a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null))),
    }
}

/// Paths that Kubernetes documents and we leave out: its deprecated `/watch/` prefix, the document's own root, and proxies
/// with a path behind them (the same resource as without).
fn left_out(path: &str) -> bool {
    path.split('/').any(|part| !is_served_resource(part))
        || path.contains("/watch/")
        || path.ends_with('/')
        || path.ends_with("/proxy/{path}")
}

#[test]
fn paths_and_operations_are_kubernetes_own() {
    let mut found = Vec::new();
    let methods = ["get", "put", "post", "patch", "delete"];
    for (name, ours, theirs) in documents() {
        let (ours, theirs) = (object(&ours, "paths"), object(&theirs, "paths"));
        for (path, item) in theirs.iter().filter(|(path, _)| !left_out(path)) {
            let Some(own) = ours.get(path) else { panic!("{name}: {path} is missing") };
            for method in methods {
                let (own, wanted) = (own.get(method), item.get(method));
                let told = |operation: Option<&Value>| {
                    operation.map(|o| {
                        let id = o["operationId"].clone();
                        (
                            id,
                            o["x-kubernetes-action"].clone(),
                            o["x-kubernetes-group-version-kind"].clone(),
                            o["tags"].clone(),
                        )
                    })
                };
                if told(own) != told(wanted) {
                    found.push(format!("{method} {path}: {:?} / {:?}", told(own), told(wanted)));
                }
                let parameters = |operation: Option<&Value>| -> BTreeSet<String> {
                    let list = operation
                        .and_then(|o| o.get("parameters"))
                        .and_then(Value::as_array)
                        .cloned()
                        .unwrap_or_default();
                    list.iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
                };
                let missing: Vec<_> = parameters(wanted).difference(&parameters(own)).cloned().collect();
                let shared =
                    parameters(item.into()).union(&parameters(ours.get(path))).cloned().collect::<BTreeSet<_>>();
                let missing: Vec<_> = missing.into_iter().filter(|p| !shared.contains(p) && !unsupported(p)).collect();
                if !missing.is_empty() {
                    found.push(format!("{method} {path} lacks {missing:?}"));
                }
            }
        }
        for path in ours.keys() {
            assert!(theirs.contains_key(path), "{name}: {path} is not published");
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Query parameters that we do not know: sharded lists (alpha), and deleting what cannot be decoded.
fn unsupported(parameter: &str) -> bool {
    matches!(parameter, "shardSelector" | "ignoreStoreReadErrorWithClusterBreakingPotential")
}
