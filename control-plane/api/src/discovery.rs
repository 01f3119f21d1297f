//! Discovery documents, made from the table of kinds: what clients read first, to learn what this server serves.
//! Knows nothing of HTTP; the API server chooses the document.

use crate::kinds::{Kinds, Resource, Subresource, Verb, group_version};
use base64::Engine as _;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// `/api`: `APIVersions`. `address` is the `host:port` that clients reach this server at.
#[must_use]
pub fn api_versions(kinds: &Kinds, address: &str) -> Value {
    let versions: Vec<&str> = groups(kinds).find(|g| g.name.is_empty()).map(|g| g.versions).unwrap_or_default();
    json!({
        "kind": "APIVersions",
        "versions": versions,
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`: `APIGroupList`.
#[must_use]
pub fn api_groups(kinds: &Kinds) -> Value {
    let list: Vec<Value> = groups(kinds).filter(|g| !g.name.is_empty()).map(|g| Value::Object(g.describe())).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list})
}

/// `/apis/{group}`: `APIGroup`.
#[must_use]
pub fn api_group(kinds: &Kinds, group: &str) -> Option<Value> {
    let found = groups(kinds).find(|g| g.name == group && !group.is_empty())?;
    let mut document = found.describe();
    document.insert("kind".into(), "APIGroup".into());
    document.insert("apiVersion".into(), "v1".into());
    Some(Value::Object(document))
}

/// `/api/v1` and `/apis/{group}/{version}`: `APIResourceList`. None: no such group and version.
#[must_use]
pub fn api_resources(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    if !kinds.serves(group, version) {
        return None;
    }
    let resources: Vec<Value> = rows(kinds, group, version)
        .flat_map(|row| std::iter::once(resource(row)).chain(row.subresources.iter().map(|sub| subresource(row, sub))))
        .collect();
    let mut list =
        json!({"kind": "APIResourceList", "groupVersion": group_version(group, version), "resources": resources});
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    Some(list)
}

/// Which of the two roots an aggregated document is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// `/api`: the core group.
    Core,
    /// `/apis`: all the others.
    Groups,
}

/// The version of `apidiscovery.k8s.io` that the client asked for in `Accept` (`…;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregatedVersion {
    V2,
    /// Asked for by kubectl 1.27 to 1.29; the same document under another apiVersion.
    V2Beta1,
}

/// `/api` and `/apis` as `APIGroupDiscoveryList`.
#[must_use]
pub fn aggregated(kinds: &Kinds, root: Root, version: AggregatedVersion) -> Value {
    let api_version = match version {
        AggregatedVersion::V2 => "apidiscovery.k8s.io/v2",
        AggregatedVersion::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
    };
    let items: Vec<Value> = groups(kinds)
        .filter(|group| group.name.is_empty() == (root == Root::Core))
        .map(|group| {
            let versions: Vec<Value> =
                group.versions.iter().map(|v| aggregated_version(kinds, group.name, v)).collect();
            let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items})
}

/// A group and its versions, the preferred one first.
struct Group<'a> {
    name: &'a str,
    versions: Vec<&'a str>,
}

impl Group<'_> {
    fn describe(&self) -> Map<String, Value> {
        let one = |version: &str| json!({"groupVersion": group_version(self.name, version), "version": version});
        let mut map = Map::new();
        map.insert("name".into(), self.name.into());
        map.insert("versions".into(), self.versions.iter().map(|v| one(v)).collect());
        map.insert("preferredVersion".into(), self.versions.first().map_or(Value::Null, |v| one(v)));
        map
    }
}

/// The groups in discovery's order; the table keeps rows of a group, and of a version, together.
fn groups(kinds: &Kinds) -> impl Iterator<Item = Group<'_>> {
    let mut list: Vec<Group<'_>> = Vec::new();
    for row in kinds.iter() {
        match list.last_mut() {
            Some(group) if group.name == row.group => {
                if group.versions.last() != Some(&row.version.as_ref()) {
                    group.versions.push(&row.version);
                }
            }
            _ => list.push(Group { name: &row.group, versions: vec![&row.version] }),
        }
    }
    list.into_iter()
}

fn rows<'a>(kinds: &'a Kinds, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Resource> {
    kinds.iter().map(AsRef::as_ref).filter(move |row| row.group == group && row.version == version)
}

fn resource(row: &Resource) -> Value {
    let mut entry = json!({
        "name": row.plural, "singularName": row.singular, "namespaced": row.namespaced(), "kind": row.kind,
        "verbs": verbs(row.advertised_verbs()),
    });
    add_names(&mut entry, row);
    if row.stored() {
        entry["storageVersionHash"] = storage_version_hash(row).into();
    }
    entry
}

fn subresource(row: &Resource, sub: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", row.plural, sub.name), "singularName": "", "namespaced": row.namespaced(),
        "kind": sub.kind, "verbs": verbs(&sub.verbs),
    });
    if speaks_another_version(row, sub) {
        entry["group"] = sub.group.as_ref().into();
        entry["version"] = sub.version.as_ref().into();
    }
    entry
}

fn aggregated_version(kinds: &Kinds, group: &str, version: &str) -> Value {
    let resources: Vec<Value> = rows(kinds, group, version)
        .map(|row| {
            let mut entry = json!({
                "resource": row.plural, "responseKind": {"group": "", "version": "", "kind": row.kind},
                "scope": if row.namespaced() { "Namespaced" } else { "Cluster" },
                "singularResource": row.singular, "verbs": verbs(row.advertised_verbs()),
            });
            add_names(&mut entry, row);
            if !row.subresources.is_empty() {
                entry["subresources"] = row.subresources.iter().map(|sub| aggregated_subresource(row, sub)).collect();
            }
            entry
        })
        .collect();
    json!({"version": version, "resources": resources, "freshness": "Current"})
}

fn aggregated_subresource(row: &Resource, sub: &Subresource) -> Value {
    let (group, version) = if speaks_another_version(row, sub) { (&*sub.group, &*sub.version) } else { ("", "") };
    json!({
        "subresource": sub.name, "responseKind": {"group": group, "version": version, "kind": sub.kind},
        "verbs": verbs(&sub.verbs),
    })
}

/// An empty group and version mean the resource's own.
fn speaks_another_version(row: &Resource, sub: &Subresource) -> bool {
    (&sub.group, &sub.version) != (&row.group, &row.version)
}

fn verbs(list: &[Verb]) -> Vec<&'static str> {
    list.iter().map(|verb| verb.as_str()).collect()
}

fn add_names(entry: &mut Value, row: &Resource) {
    if !row.short_names.is_empty() {
        entry["shortNames"] = row.short_names.iter().map(AsRef::as_ref).collect();
    }
    if !row.categories.is_empty() {
        entry["categories"] = row.categories.iter().map(AsRef::as_ref).collect();
    }
}

/// `discovery.StorageVersionHash`: base64 of the first eight bytes of SHA-256 of `group/version/kind` as stored.
fn storage_version_hash(row: &Resource) -> String {
    let stored = row.custom.as_ref().map(|custom| custom.definition.stored_api_version());
    let stored = stored.as_deref().unwrap_or(&row.storage_api_version);
    let (group, mut version) = stored.rsplit_once('/').unwrap_or(("", stored));
    if group == crate::crd::GROUP {
        // The hash that Kubernetes tells is of the version that it stores CRDs in to this day.
        version = "v1beta1";
    }
    let digest = Sha256::digest(format!("{group}/{version}/{}", row.kind));
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

#[cfg(test)]
mod tests {
    use super::{AggregatedVersion, Root, aggregated, api_group, api_groups, api_resources, api_versions};
    use crate::kinds::Kinds;
    use serde_json::json;

    #[test]
    fn the_core_group_is_under_api_and_the_others_under_apis() {
        let kinds = Kinds::builtin();
        assert_eq!(api_versions(&kinds, "1.2.3.4:6443")["versions"], json!(["v1"]));
        let groups = api_groups(&kinds);
        assert_eq!(groups["groups"][0]["name"], "apps");
        assert!(groups["groups"].as_array().unwrap().iter().all(|g| g["name"] != ""));
        assert_eq!(api_group(&kinds, "autoscaling").unwrap()["preferredVersion"]["version"], "v2");
        assert_eq!(api_group(&kinds, ""), None);
        assert_eq!(api_resources(&kinds, "apps", "v9"), None);
        let core = aggregated(&kinds, Root::Core, AggregatedVersion::V2Beta1);
        assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2beta1");
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn storage_version_hashes_are_kubernetes_own() {
        let kinds = Kinds::builtin();
        let list = api_resources(&kinds, "", "v1").unwrap();
        let entry =
            |name: &str| list["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone();
        assert_eq!(entry("configmaps")["storageVersionHash"], "qFsyl6wFWjQ=");
        assert_eq!(entry("pods/eviction")["group"], "policy");
        assert_eq!(entry("bindings").get("storageVersionHash"), None);
    }
}
