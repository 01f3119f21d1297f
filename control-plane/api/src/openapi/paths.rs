//! The paths of a document: what may be asked of each resource. kubectl finds the kind of a resource here
//! (`x-kubernetes-group-version-kind`) and looks for `fieldValidation` and `dryRun` among the parameters of PATCH.

use super::definitions::Definitions;
use super::operation::{Body, Operation, Parameter, path_item};
use crate::kinds::{Resource, Subresource, Verb};
use serde_json::{Map, Value};

const PRETTY: &[Parameter] = &[("pretty", "string")];
const WRITE: &[Parameter] = &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const PATCH: &[Parameter] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
const DELETE: &[Parameter] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const LIST: &[Parameter] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const DELETE_COLLECTION: &[Parameter] = &[
    ("continue", "string"),
    ("dryRun", "string"),
    ("fieldSelector", "string"),
    ("gracePeriodSeconds", "integer"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
];

/// The query parameters that all operations of a subresource have: its options, where it takes them there.
fn options(sub: &Subresource) -> &'static [Parameter] {
    match (&*sub.kind, &*sub.name) {
        ("PodExecOptions", _) => &[
            ("command", "string"),
            ("container", "string"),
            ("stderr", "boolean"),
            ("stdin", "boolean"),
            ("stdout", "boolean"),
            ("tty", "boolean"),
        ],
        ("PodAttachOptions", _) => &[
            ("container", "string"),
            ("stderr", "boolean"),
            ("stdin", "boolean"),
            ("stdout", "boolean"),
            ("tty", "boolean"),
        ],
        ("PodPortForwardOptions", _) => &[("ports", "integer")],
        ("NodeProxyOptions" | "PodProxyOptions" | "ServiceProxyOptions", _) => &[("path", "string")],
        (_, "log") => &[
            ("container", "string"),
            ("follow", "boolean"),
            ("insecureSkipTLSVerifyBackend", "boolean"),
            ("limitBytes", "integer"),
            ("previous", "boolean"),
            ("sinceSeconds", "integer"),
            ("stream", "string"),
            ("tailLines", "integer"),
            ("timestamps", "boolean"),
        ],
        _ => PRETTY,
    }
}

/// Adds the paths of one resource.
pub(super) fn add(paths: &mut Map<String, Value>, row: &Resource, definitions: &mut Definitions) {
    let root = match &*row.group {
        "" => format!("/api/{}", row.version),
        group => format!("/apis/{group}/{}", row.version),
    };
    let everywhere = format!("{root}/{}", row.plural);
    let (collection, scope) = if row.namespaced() {
        (format!("{root}/namespaces/{{namespace}}/{}", row.plural), "Namespaced")
    } else {
        (everywhere.clone(), "")
    };
    let item = format!("{collection}/{{name}}");
    let mut found = Vec::new();
    if row.namespaced() {
        let operations = list(row, "", "ForAllNamespaces", definitions).into_iter().collect();
        found.push((everywhere, PRETTY, operations));
    }
    found.push((collection, PRETTY, on_collection(row, scope, definitions)));
    found.push((item.clone(), PRETTY, on_item(row, scope, definitions)));
    for sub in &row.subresources {
        found.push((format!("{item}/{}", sub.name), options(sub), on_subresource(row, sub, scope, definitions)));
    }
    let (dialect, tag) = (definitions.dialect, tag(row));
    for (path, query, operations) in found.into_iter().filter(|(_, _, operations)| !operations.is_empty()) {
        let item = path_item(&path, query, &operations, dialect, &tag);
        paths.insert(path, item);
    }
}

fn list<'a>(row: &'a Resource, scope: &str, suffix: &str, definitions: &mut Definitions) -> Option<Operation<'a>> {
    row.supports(Verb::List).then(|| Operation {
        method: "get",
        action: "list",
        id: id("list", row, scope, suffix),
        kind: own(row),
        parameters: LIST,
        body: Body::None,
        answer: Some(definitions.list(row)),
        success: &["200"],
    })
}

fn on_collection<'a>(row: &'a Resource, scope: &str, definitions: &mut Definitions) -> Vec<Operation<'a>> {
    let mut operations: Vec<Operation<'a>> = list(row, scope, "", definitions).into_iter().collect();
    if row.supports(Verb::Create) {
        let kind = definitions.kind(row);
        operations.push(Operation {
            method: "post",
            action: "post",
            id: id("create", row, scope, ""),
            kind: own(row),
            parameters: WRITE,
            body: Body::Object(kind.clone()),
            answer: Some(kind),
            success: &["200", "201", "202"],
        });
    }
    if row.supports(Verb::DeleteCollection) {
        operations.push(Operation {
            method: "delete",
            action: "deletecollection",
            id: id("delete", row, &format!("Collection{scope}"), ""),
            kind: own(row),
            parameters: DELETE_COLLECTION,
            body: Body::Optional(definitions.delete_options()),
            answer: Some(definitions.status()),
            success: &["200"],
        });
    }
    operations
}

fn on_item<'a>(row: &'a Resource, scope: &str, definitions: &mut Definitions) -> Vec<Operation<'a>> {
    let kind = definitions.kind(row);
    let mut operations: Vec<Operation<'a>> =
        row.verbs.iter().filter_map(|verb| simple(*verb, own(row), &kind, row, scope, "", definitions)).collect();
    if row.supports(Verb::Delete) {
        operations.push(Operation {
            method: "delete",
            action: "delete",
            id: id("delete", row, scope, ""),
            kind: own(row),
            parameters: DELETE,
            body: Body::Optional(definitions.delete_options()),
            answer: Some(definitions.status()),
            success: &["200", "202"],
        });
    }
    operations
}

/// GET, PUT and PATCH of one object.
fn simple<'a>(
    verb: Verb,
    kind: (&'a str, &'a str, &'a str),
    definition: &str,
    row: &'a Resource,
    scope: &str,
    suffix: &str,
    definitions: &mut Definitions,
) -> Option<Operation<'a>> {
    let (method, word, parameters, success): (_, _, _, &[&str]) = match verb {
        Verb::Get => ("get", "read", &[][..], &["200"]),
        Verb::Update => ("put", "replace", WRITE, &["200", "201"]),
        Verb::Patch => ("patch", "patch", PATCH, &["200", "201"]),
        _ => return None,
    };
    let body = match verb {
        Verb::Update => Body::Object(definition.into()),
        Verb::Patch if row.custom.is_some() => Body::CustomPatch(definitions.patch()),
        Verb::Patch => Body::Patch(definitions.patch()),
        _ => Body::None,
    };
    let answer = Some(definition.to_owned());
    Some(Operation {
        method,
        action: method,
        id: id(word, row, scope, suffix),
        kind,
        parameters,
        body,
        answer,
        success,
    })
}

fn on_subresource<'a>(
    row: &'a Resource,
    sub: &'a Subresource,
    scope: &str,
    definitions: &mut Definitions,
) -> Vec<Operation<'a>> {
    let kind = (&*sub.group, &*sub.version, &*sub.kind);
    let suffix = capitalized(&sub.name);
    let Some(definition) = definitions.subresource(row, sub) else {
        return sub.verbs.iter().map(|verb| connect(*verb, kind, row, scope, &suffix)).collect();
    };
    let mut operations = Vec::new();
    for verb in sub.verbs.iter() {
        operations.extend(simple(*verb, kind, &definition, row, scope, &suffix, definitions));
        if *verb == Verb::Create {
            operations.push(Operation {
                method: "post",
                action: "post",
                id: id("create", row, scope, &suffix),
                kind,
                parameters: WRITE,
                body: Body::Object(definition.clone()),
                answer: Some(definition.clone()),
                success: &["200", "201", "202"],
            });
        }
    }
    operations
}

/// A subresource that becomes a connection: its answer is not an object.
fn connect<'a>(
    verb: Verb,
    kind: (&'a str, &'a str, &'a str),
    row: &'a Resource,
    scope: &str,
    suffix: &str,
) -> Operation<'a> {
    let method = match verb {
        Verb::Create => "post",
        Verb::Delete | Verb::DeleteCollection => "delete",
        Verb::Patch => "patch",
        Verb::Update => "put",
        Verb::Get | Verb::List | Verb::Watch => "get",
    };
    Operation {
        method,
        action: "connect",
        id: id("connect", row, &format!("{}{scope}", capitalized(method)), suffix),
        kind,
        parameters: &[],
        body: Body::None,
        answer: None,
        success: &["200"],
    }
}

fn own(row: &Resource) -> (&str, &str, &str) {
    (&row.group, &row.version, &row.kind)
}

/// `list` + `AppsV1` + `Namespaced` + `Deployment` + suffix.
fn id(word: &str, row: &Resource, scope: &str, suffix: &str) -> String {
    let (group, version) = (group_words(&row.group), capitalized(&row.version));
    format!("{word}{group}{version}{scope}{}{suffix}", row.kind)
}

/// `rbacAuthorization_v1`.
fn tag(row: &Resource) -> String {
    let mut words = group_words(&row.group);
    words[..1].make_ascii_lowercase();
    format!("{words}_{}", row.version)
}

/// `RbacAuthorization` of `rbac.authorization.k8s.io`.
fn group_words(group: &str) -> String {
    match group {
        "" => "Core".into(),
        group => group.trim_end_matches(".k8s.io").split('.').map(capitalized).collect(),
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}
