//! The paths of a document: what may be asked of each resource. kubectl finds the kind of a resource here
//! (`x-kubernetes-group-version-kind`) and looks for `fieldValidation` and `dryRun` among the parameters of PATCH.

use super::definitions::{Definitions, Dialect, gvk};
use crate::kinds::{Resource, Subresource, Verb};
use serde_json::{Map, Value, json};

/// A query parameter and its type.
type Parameter = (&'static str, &'static str);

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

/// The query parameters of subresources that take their options there.
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
        _ => &[],
    }
}

/// What an operation takes and gives, as definitions.
enum Body {
    None,
    Object(String),
    /// `DeleteOptions`, which need not be there.
    Optional(String),
    Patch(String),
}

/// One method of one path.
struct Operation<'a> {
    method: &'static str,
    /// `x-kubernetes-action`.
    action: &'static str,
    /// `listAppsV1NamespacedDeployment`.
    id: String,
    kind: (&'a str, &'a str, &'a str),
    parameters: &'static [Parameter],
    body: Body,
    /// The definition of the answer; None: bytes.
    answer: Option<String>,
    success: &'static [&'static str],
}

/// Adds the paths of one resource.
pub(super) fn add(paths: &mut Map<String, Value>, row: &Resource, definitions: &mut Definitions) {
    let root = match &*row.group {
        "" => format!("/api/{}", row.version),
        group => format!("/apis/{group}/{}", row.version),
    };
    let (collection, scope) = if row.namespaced() {
        (format!("{root}/namespaces/{{namespace}}/{}", row.plural), "Namespaced")
    } else {
        (format!("{root}/{}", row.plural), "")
    };
    let mut put = |path: String, query: &[Parameter], operations: Vec<Operation<'_>>, dialect: Dialect| {
        if !operations.is_empty() {
            paths.insert(path.clone(), path_item(&path, query, &operations, dialect, row));
        }
    };
    let dialect = definitions.dialect;
    let everywhere = if row.namespaced() { list(row, "", "ForAllNamespaces", definitions) } else { None };
    put(format!("{root}/{}", row.plural), PRETTY, everywhere.into_iter().collect(), dialect);
    put(collection.clone(), PRETTY, on_collection(row, scope, definitions), dialect);
    let item = format!("{collection}/{{name}}");
    put(item.clone(), PRETTY, on_item(row, scope, definitions), dialect);
    for sub in &row.subresources {
        let query = options(sub);
        let query: Vec<Parameter> = query.iter().chain(if query.is_empty() { PRETTY } else { &[] }).copied().collect();
        put(format!("{item}/{}", sub.name), &query, on_subresource(row, sub, scope, definitions), dialect);
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
        Verb::Patch => Body::Patch(definitions.patch()),
        _ => Body::None,
    };
    let answer = Some(definition.to_owned());
    Some(Operation { method, action: method, id: id(word, row, scope, suffix), kind, parameters, body, answer, success })
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
fn connect<'a>(verb: Verb, kind: (&'a str, &'a str, &'a str), row: &'a Resource, scope: &str, suffix: &str) -> Operation<'a> {
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

fn path_item(path: &str, query: &[Parameter], operations: &[Operation<'_>], dialect: Dialect, row: &Resource) -> Value {
    let mut item = Map::new();
    let in_path = ["name", "namespace"].into_iter().filter(|name| path.contains(&format!("{{{name}}}")));
    let mut parameters: Vec<Value> = in_path
        .map(|name| {
            let mut parameter = parameter(&(name, "string"), "path", dialect);
            parameter["required"] = true.into();
            parameter
        })
        .collect();
    parameters.extend(query.iter().map(|p| parameter(p, "query", dialect)));
    item.insert("parameters".into(), parameters.into());
    let mut tag = group_words(&row.group);
    tag[..1].make_ascii_lowercase();
    for operation in operations {
        let mut text = operation_text(operation, dialect);
        text["tags"] = json!([format!("{tag}_{}", row.version)]);
        item.insert(operation.method.into(), text);
    }
    Value::Object(item)
}

fn parameter((name, type_): &Parameter, place: &str, dialect: Dialect) -> Value {
    match dialect {
        Dialect::V2 => json!({"name": name, "in": place, "type": type_, "uniqueItems": true}),
        Dialect::V3 => json!({"name": name, "in": place, "schema": {"type": type_, "uniqueItems": true}}),
    }
}

const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

fn operation_text(operation: &Operation<'_>, dialect: Dialect) -> Value {
    let mut parameters: Vec<Value> = operation.parameters.iter().map(|p| parameter(p, "query", dialect)).collect();
    let mut text = Map::new();
    match dialect {
        Dialect::V2 => {
            if let Body::Object(name) | Body::Optional(name) | Body::Patch(name) = &operation.body {
                let required = !matches!(operation.body, Body::Optional(_));
                let schema = dialect.reference(name);
                parameters.insert(0, json!({"name": "body", "in": "body", "required": required, "schema": schema}));
            }
            let consumes = if matches!(operation.body, Body::Patch(_)) { PATCH_TYPES.to_vec() } else { vec!["*/*"] };
            text.insert("consumes".into(), json!(consumes));
            text.insert("produces".into(), json!(answer_types(operation)));
        }
        Dialect::V3 => {
            if let Some(body) = request_body(&operation.body, dialect) {
                text.insert("requestBody".into(), body);
            }
        }
    }
    if !parameters.is_empty() {
        text.insert("parameters".into(), parameters.into());
    }
    let (group, version, kind) = operation.kind;
    text.insert("operationId".into(), operation.id.as_str().into());
    text.insert("responses".into(), responses(operation, dialect));
    text.insert("x-kubernetes-action".into(), operation.action.into());
    text.insert("x-kubernetes-group-version-kind".into(), gvk(group, version, kind));
    Value::Object(text)
}

fn request_body(body: &Body, dialect: Dialect) -> Option<Value> {
    let of = |types: &[&str], name: &str| -> Map<String, Value> {
        types.iter().map(|t| ((*t).to_owned(), json!({"schema": dialect.reference(name)}))).collect()
    };
    Some(match body {
        Body::None => return None,
        Body::Object(name) => json!({"required": true, "content": of(&["*/*"], name)}),
        Body::Optional(name) => json!({"content": of(&["*/*"], name)}),
        Body::Patch(name) => json!({"required": true, "content": of(&PATCH_TYPES, name)}),
    })
}

fn answer_types(operation: &Operation<'_>) -> &'static [&'static str] {
    match (&operation.answer, operation.action) {
        (None, _) => &["*/*"],
        (_, "list") => &["application/json", "application/json;stream=watch", "application/yaml"],
        _ => &["application/json", "application/yaml"],
    }
}

fn responses(operation: &Operation<'_>, dialect: Dialect) -> Value {
    let schema = match &operation.answer {
        Some(name) => dialect.reference(name),
        None => json!({"type": "string"}),
    };
    let answer = |code: &str| {
        let description = match code {
            "200" => "OK",
            "201" => "Created",
            _ => "Accepted",
        };
        match dialect {
            Dialect::V2 => json!({"description": description, "schema": schema}),
            Dialect::V3 => {
                let content: Map<String, Value> =
                    answer_types(operation).iter().map(|t| ((*t).to_owned(), json!({"schema": schema}))).collect();
                json!({"description": description, "content": content})
            }
        }
    };
    let mut all: Map<String, Value> = operation.success.iter().map(|code| ((*code).to_owned(), answer(code))).collect();
    all.insert("401".into(), json!({"description": "Unauthorized"}));
    Value::Object(all)
}
