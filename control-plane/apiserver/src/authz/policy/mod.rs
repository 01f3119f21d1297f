//! The roles and bindings that every cluster has: read from `policy.txt`, written at start where they are missing, and
//! completed where somebody took something away (`rbac.authorization.kubernetes.io/autoupdate`).

mod reconcile;

pub(crate) use reconcile::{Step, step};

use super::rbac::rules::Rule;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::OnceLock;

const TEXT: &str = include_str!("policy.txt");
const GROUP: &str = "rbac.authorization.k8s.io";
const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

/// One object of the policy, without what the server adds to it.
pub(crate) struct PolicyObject {
    pub plural: &'static str,
    /// Empty: cluster-scoped.
    pub namespace: String,
    pub object: Value,
}

/// The rules of `system:node`, which the Node authorizer grants.
pub(super) fn node_rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let roles = parse().roles;
        roles.into_iter().find(|role| role.name == "system:node").map(|role| role.rules).unwrap_or_default()
    })
}

/// All objects of the policy.
pub(crate) fn objects() -> Vec<PolicyObject> {
    let Policy { mut roles, bindings } = parse();
    fill_aggregated(&mut roles);
    let roles = roles.into_iter().map(Role::into_object);
    roles.chain(bindings.into_iter().map(Binding::into_object)).collect()
}

#[derive(Default)]
struct Policy {
    roles: Vec<Role>,
    bindings: Vec<Binding>,
}

#[derive(Default)]
struct Role {
    namespace: String,
    name: String,
    /// Aggregated roles that take this one in.
    part_of: Vec<String>,
    aggregates: Option<String>,
    rules: Vec<Rule>,
}

struct Binding {
    namespace: String,
    name: String,
    role: (&'static str, String),
    subjects: Vec<Value>,
}

fn parse() -> Policy {
    let mut policy = Policy::default();
    for line in TEXT.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["clusterrole", name, labels @ ..] => {
                let with = |sign: char| labels.iter().filter_map(move |l| l.strip_prefix(sign)).map(String::from);
                let (part_of, aggregates) = (with('+').collect(), with('=').next());
                policy.roles.push(Role { name: (*name).into(), part_of, aggregates, ..Role::default() });
            }
            ["controller", account] => {
                let name = format!("system:controller:{account}");
                policy.roles.push(Role { name: name.clone(), ..Role::default() });
                let subjects = vec![subject(&format!("sa/kube-system/{account}"))];
                let role = ("ClusterRole", name.clone());
                policy.bindings.push(Binding { namespace: String::new(), name, role, subjects });
            }
            ["role", namespace, name] => {
                policy.roles.push(Role { namespace: (*namespace).into(), name: (*name).into(), ..Role::default() });
            }
            ["bind", name, subjects @ ..] => policy.bindings.push(Binding {
                namespace: String::new(),
                name: (*name).into(),
                role: ("ClusterRole", (*name).into()),
                subjects: subjects.iter().map(|text| subject(text)).collect(),
            }),
            ["bindrole", namespace, name, role, subjects @ ..] => policy.bindings.push(Binding {
                namespace: (*namespace).into(),
                name: (*name).into(),
                role: ("Role", (*role).into()),
                subjects: subjects.iter().map(|text| subject(text)).collect(),
            }),
            rule => policy.roles.last_mut().into_iter().for_each(|role| role.rules.extend(parse_rule(rule))),
        }
    }
    policy
}

fn parse_rule(words: &[&str]) -> Option<Rule> {
    match words {
        ["events"] => parse_rule(&["create,patch,update", "core,events.k8s.io:events"]),
        ["url", verbs, paths] => {
            Some(Rule { verbs: split_verbs(verbs), non_resource_urls: split(paths), ..Rule::default() })
        }
        [verbs, what] | [verbs, what, _] => {
            let (groups, resources) = what.split_once(':')?;
            let groups = split(groups).into_iter().map(|g| if g == "core" { String::new() } else { g });
            Some(Rule {
                verbs: split_verbs(verbs),
                api_groups: groups.collect(),
                resources: split(resources),
                resource_names: words.get(2).map(|names| split(names)).unwrap_or_default(),
                ..Rule::default()
            })
        }
        _ => None,
    }
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(String::from).collect()
}

fn split_verbs(list: &str) -> Vec<String> {
    let verbs = list.split(',').flat_map(|verb| match verb {
        "read" => READ.to_vec(),
        "write" => WRITE.to_vec(),
        one => vec![one],
    });
    let mut verbs: Vec<String> = verbs.map(String::from).collect();
    verbs.sort();
    verbs
}

/// `user/NAME`, `group/NAME`, `sa/NAMESPACE/NAME`.
fn subject(text: &str) -> Value {
    match text.split_once('/') {
        Some(("user", name)) => json!({"kind": "User", "apiGroup": GROUP, "name": name}),
        Some(("group", name)) => json!({"kind": "Group", "apiGroup": GROUP, "name": name}),
        Some((_, account)) => {
            let (namespace, name) = account.split_once('/').unwrap_or_default();
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        }
        None => Value::Null,
    }
}

/// Gives the aggregated roles the rules that the aggregation controller would: a new cluster need not wait for it.
fn fill_aggregated(roles: &mut [Role]) {
    // Three levels deep: view is part of edit, edit of admin.
    for _ in 0..3 {
        let mut rules: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
        let mut parts: Vec<&Role> = roles.iter().filter(|role| !role.part_of.is_empty()).collect();
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        for part in parts {
            for label in &part.part_of {
                let whole = rules.entry(label.clone()).or_default();
                for rule in &part.rules {
                    if !whole.contains(rule) {
                        whole.push(rule.clone());
                    }
                }
            }
        }
        for role in roles.iter_mut() {
            if let Some(label) = &role.aggregates {
                role.rules = rules.get(label).cloned().unwrap_or_default();
            }
        }
    }
}

fn metadata(namespace: &str, name: &str) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("name".into(), name.into());
    if !namespace.is_empty() {
        metadata.insert("namespace".into(), namespace.into());
    }
    metadata.insert("labels".into(), json!({"kubernetes.io/bootstrapping": "rbac-defaults"}));
    metadata.insert("annotations".into(), json!({"rbac.authorization.kubernetes.io/autoupdate": "true"}));
    metadata
}

fn label(name: &str) -> String {
    format!("{GROUP}/aggregate-to-{name}")
}

impl Role {
    fn into_object(self) -> PolicyObject {
        let mut metadata = metadata(&self.namespace, &self.name);
        for part in &self.part_of {
            metadata["labels"][label(part)] = "true".into();
        }
        let mut object = json!({"metadata": metadata, "rules": self.rules});
        if let Some(aggregates) = &self.aggregates {
            object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label(aggregates): "true"}}]});
        }
        let plural = if self.namespace.is_empty() { "clusterroles" } else { "roles" };
        PolicyObject { plural, namespace: self.namespace, object }
    }
}

impl Binding {
    fn into_object(self) -> PolicyObject {
        let (kind, name) = &self.role;
        let mut object = json!({
            "metadata": metadata(&self.namespace, &self.name),
            "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name},
        });
        if !self.subjects.is_empty() {
            object["subjects"] = self.subjects.into();
        }
        let plural = if self.namespace.is_empty() { "clusterrolebindings" } else { "rolebindings" };
        PolicyObject { plural, namespace: self.namespace, object }
    }
}

#[cfg(test)]
mod facts;
#[cfg(test)]
mod tests;
