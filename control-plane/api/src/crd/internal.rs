//! Parts of a CRD as Go marshals Kubernetes' internal form of them, in the order of its structs: what messages show of values
//! that are no plain ones (`pkg/apis/apiextensions/types.go`, `types_jsonschema.go`).

use crate::field::{self, Error, Path};
use serde_json::{Map, Value, json};

/// Most schema nodes that one message shows: each is a kilobyte.
const MAX_NODES: usize = 500;

/// An error with a value that is shown as it is.
pub(super) fn invalid(path: &Path<'_>, shown: &str, detail: &str) -> Error {
    Error { value: None, ..Error::invalid(path, Value::Null, format!("{shown}: {detail}")) }
}

/// The fields of a struct.
struct Struct(String);

impl Struct {
    fn new() -> Self {
        Self("{".into())
    }

    fn text(mut self, name: &str, value: &str) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&format!("\"{name}\":{value}"));
        self
    }

    fn value(self, name: &str, value: Option<&Value>, zero: &Value) -> Self {
        let value = value.filter(|value| !value.is_null()).unwrap_or(zero);
        let whole = value.as_f64().filter(|number| value.is_f64() && number.fract() == 0.0 && number.abs() < 1e15);
        let text = whole.map_or_else(|| field::json(value), |number| format!("{number}"));
        self.text(name, &text)
    }

    fn end(self) -> String {
        self.0 + "}"
    }
}

fn list<'v>(values: impl Iterator<Item = &'v Value>, mut show: impl FnMut(&Value) -> String) -> String {
    format!("[{}]", values.map(&mut show).collect::<Vec<_>>().join(","))
}

/// The list of versions; `own`: whether a part of them stands in each version.
pub(super) fn versions(versions: &[Value], own: impl Fn(&str) -> bool) -> String {
    let mut left = MAX_NODES;
    list(versions.iter().take(MAX_NODES), |version| {
        let part = |field: &str| version.get(field).filter(|value| own(field) && !value.is_null());
        let columns = |columns: &Value| {
            list(columns.as_array().into_iter().flatten(), |column| {
                let (text, names) = (json!(""), ["name", "type", "format", "description"]);
                let shown = names.iter().zip(["Name", "Type", "Format", "Description"]);
                let shown = shown.fold(Struct::new(), |out, (name, go)| out.value(go, column.get(name), &text));
                shown
                    .value("Priority", column.get("priority"), &json!(0))
                    .value("JSONPath", column.get("jsonPath"), &text)
                    .end()
            })
        };
        let fields = |fields: &Value| {
            list(fields.as_array().into_iter().flatten(), |field| {
                Struct::new().value("JSONPath", field.get("jsonPath"), &json!("")).end()
            })
        };
        let mut schema = |validation: &Value| {
            Struct::new().text("OpenAPIV3Schema", &node(validation.get("openAPIV3Schema"), &mut left)).end()
        };
        let null = || "null".to_owned();
        let flag = json!(false);
        Struct::new()
            .value("Name", version.get("name"), &json!(""))
            .value("Served", version.get("served"), &flag)
            .value("Storage", version.get("storage"), &flag)
            .value("Deprecated", version.get("deprecated"), &flag)
            .value("DeprecationWarning", version.get("deprecationWarning"), &Value::Null)
            .text("Schema", &part("schema").map_or_else(null, &mut schema))
            .text("Subresources", &part("subresources").map_or_else(null, subresources))
            .text("AdditionalPrinterColumns", &part("additionalPrinterColumns").map_or_else(null, columns))
            .text("SelectableFields", &part("selectableFields").map_or_else(null, fields))
            .end()
    })
}

fn subresources(value: &Value) -> String {
    let null = || "null".to_owned();
    let there = |name: &str| value.get(name).filter(|value| value.is_object());
    let scale = |scale: &Value| {
        let text = json!("");
        Struct::new()
            .value("SpecReplicasPath", scale.get("specReplicasPath"), &text)
            .value("StatusReplicasPath", scale.get("statusReplicasPath"), &text)
            .value("LabelSelectorPath", scale.get("labelSelectorPath"), &Value::Null)
            .end()
    };
    let status = there("status").map_or_else(null, |_| "{}".into());
    Struct::new().text("Status", &status).text("Scale", &there("scale").map_or_else(null, scale)).end()
}

/// A schema.
pub(super) fn schema(value: &Value) -> String {
    node(Some(value), &mut MAX_NODES.clone())
}

/// The `items` of a schema.
pub(super) fn items(value: &Value) -> String {
    schema_or_array(value, &mut MAX_NODES.clone())
}

fn schema_or_array(value: &Value, left: &mut usize) -> String {
    let single = node(Some(value).filter(|value| value.is_object()), left);
    let several = value.as_array().map_or_else(|| "null".to_owned(), |all| list(all.iter(), |v| node(Some(v), left)));
    Struct::new().text("Schema", &single).text("JSONSchemas", &several).end()
}

fn schema_or_bool(value: &Value, left: &mut usize) -> String {
    let allows = (value.is_object() || value == true).to_string();
    Struct::new().text("Allows", &allows).text("Schema", &node(Some(value).filter(|v| v.is_object()), left)).end()
}

fn node(value: Option<&Value>, left: &mut usize) -> String {
    let Some(map) = value.and_then(Value::as_object) else { return "null".into() };
    if *left == 0 {
        return "{}".into();
    }
    *left -= 1;
    let (text, flag, none) = (json!(""), json!(false), Value::Null);
    let get = |name: &str| map.get(name).filter(|value| !value.is_null());
    let plain = |out: Struct, rows: &[(&str, &str, &Value)]| {
        rows.iter().fold(out, |out, (go, name, zero)| out.value(go, get(name), zero))
    };
    let out = plain(
        Struct::new(),
        &[
            ("ID", "id", &text),
            ("Schema", "$schema", &text),
            ("Ref", "$ref", &none),
            ("Description", "description", &text),
            ("Type", "type", &text),
            ("Nullable", "nullable", &flag),
            ("Format", "format", &text),
            ("Title", "title", &text),
            ("Default", "default", &none),
            ("Maximum", "maximum", &none),
            ("ExclusiveMaximum", "exclusiveMaximum", &flag),
            ("Minimum", "minimum", &none),
            ("ExclusiveMinimum", "exclusiveMinimum", &flag),
            ("MaxLength", "maxLength", &none),
            ("MinLength", "minLength", &none),
            ("Pattern", "pattern", &text),
            ("MaxItems", "maxItems", &none),
            ("MinItems", "minItems", &none),
            ("UniqueItems", "uniqueItems", &flag),
            ("MultipleOf", "multipleOf", &none),
            ("Enum", "enum", &none),
            ("MaxProperties", "maxProperties", &none),
            ("MinProperties", "minProperties", &none),
            ("Required", "required", &none),
        ],
    );
    let out = inner(out, map, left);
    let docs = get("externalDocs").map_or_else(
        || "null".to_owned(),
        |docs| {
            Struct::new()
                .value("Description", docs.get("description"), &text)
                .value("URL", docs.get("url"), &text)
                .end()
        },
    );
    let out = plain(
        out.text("ExternalDocs", &docs),
        &[
            ("Example", "example", &none),
            ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", &none),
            ("XEmbeddedResource", "x-kubernetes-embedded-resource", &flag),
            ("XIntOrString", "x-kubernetes-int-or-string", &flag),
            ("XListMapKeys", "x-kubernetes-list-map-keys", &none),
            ("XListType", "x-kubernetes-list-type", &none),
            ("XMapType", "x-kubernetes-map-type", &none),
        ],
    );
    let rules = get("x-kubernetes-validations").and_then(Value::as_array);
    let rules = rules.map_or_else(|| "null".to_owned(), |rules| list(rules.iter(), rule));
    out.text("XValidations", &rules).end()
}

/// The schemas within a schema.
fn inner(out: Struct, map: &Map<String, Value>, left: &mut usize) -> Struct {
    let null = || "null".to_owned();
    let get = |name: &str| map.get(name).filter(|value| !value.is_null());
    let named = |name: &str, left: &mut usize| {
        get(name).and_then(Value::as_object).map_or_else(null, |fields| {
            let field = |(name, value): (&String, &Value)| {
                format!("{}:{}", field::json(&name.as_str().into()), node(Some(value), left))
            };
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
        })
    };
    let several = |name: &str, left: &mut usize| {
        get(name).and_then(Value::as_array).map_or_else(null, |all| list(all.iter(), |v| node(Some(v), left)))
    };
    let mut out = out.text("Items", &get("items").map_or_else(null, |items| schema_or_array(items, left)));
    for (go, name) in [("AllOf", "allOf"), ("OneOf", "oneOf"), ("AnyOf", "anyOf")] {
        out = out.text(go, &several(name, left));
    }
    out = out.text("Not", &node(get("not"), left)).text("Properties", &named("properties", left));
    let additional = get("additionalProperties").map_or_else(null, |value| schema_or_bool(value, left));
    out = out.text("AdditionalProperties", &additional).text("PatternProperties", &named("patternProperties", left));
    out = out.text("Dependencies", &named("dependencies", left));
    let additional = get("additionalItems").map_or_else(null, |value| schema_or_bool(value, left));
    out.text("AdditionalItems", &additional).text("Definitions", &named("definitions", left))
}

/// A rule in CEL.
pub(super) fn rule(rule: &Value) -> String {
    let text = json!("");
    Struct::new()
        .value("Rule", rule.get("rule"), &text)
        .value("Message", rule.get("message"), &text)
        .value("MessageExpression", rule.get("messageExpression"), &text)
        .value("Reason", rule.get("reason"), &Value::Null)
        .value("FieldPath", rule.get("fieldPath"), &text)
        .value("OptionalOldSelf", rule.get("optionalOldSelf"), &Value::Null)
        .end()
}
