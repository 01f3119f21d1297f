//! One path and its operations as text, in either dialect.

use super::definitions::{Dialect, gvk};
use serde_json::{Map, Value, json};

/// A query parameter and its type.
pub(super) type Parameter = (&'static str, &'static str);

/// What an operation takes and gives, as definitions.
pub(super) enum Body {
    None,
    Object(String),
    /// `DeleteOptions`, which need not be there.
    Optional(String),
    Patch(String),
    /// A patch of a custom resource: never a strategic one. kubectl chooses its patch by what is said here.
    CustomPatch(String),
}

/// One method of one path.
pub(super) struct Operation<'a> {
    pub(super) method: &'static str,
    /// `x-kubernetes-action`.
    pub(super) action: &'static str,
    /// `listAppsV1NamespacedDeployment`.
    pub(super) id: String,
    pub(super) kind: (&'a str, &'a str, &'a str),
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Body,
    /// The definition of the answer; None: bytes.
    pub(super) answer: Option<String>,
    pub(super) success: &'static [&'static str],
}

/// A path, the query parameters of all its operations, and those. `tag` is `apps_v1`.
pub(super) fn path_item(
    path: &str,
    query: &[Parameter],
    operations: &[Operation<'_>],
    dialect: Dialect,
    tag: &str,
) -> Value {
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
    for operation in operations {
        let mut text = operation_text(operation, dialect);
        text["tags"] = json!([tag]);
        item.insert(operation.method.into(), text);
    }
    Value::Object(item)
}

fn parameter((name, type_): &Parameter, place: &str, dialect: Dialect) -> Value {
    match dialect {
        Dialect::V2 => json!({"name": name, "in": place, "type": type_, "uniqueItems": true}),
        Dialect::V3 => {
            json!({"name": name, "in": place, "schema": {"type": type_, "uniqueItems": true}})
        }
    }
}

const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

const CUSTOM_PATCH_TYPES: &[&str] =
    &["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];

fn operation_text(operation: &Operation<'_>, dialect: Dialect) -> Value {
    let mut parameters: Vec<Value> = operation.parameters.iter().map(|p| parameter(p, "query", dialect)).collect();
    let mut text = Map::new();
    match dialect {
        Dialect::V2 => {
            if let Body::Object(name) | Body::Optional(name) | Body::Patch(name) | Body::CustomPatch(name) =
                &operation.body
            {
                let required = !matches!(operation.body, Body::Optional(_));
                let schema = dialect.reference(name);
                parameters.insert(0, json!({"name": "body", "in": "body", "required": required, "schema": schema}));
            }
            let consumes = match operation.body {
                Body::Patch(_) => &PATCH_TYPES[..],
                Body::CustomPatch(_) => CUSTOM_PATCH_TYPES,
                _ => &["*/*"],
            };
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
        Body::CustomPatch(name) => json!({"required": true, "content": of(CUSTOM_PATCH_TYPES, name)}),
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
