//! What Kubernetes says of CRDs, as its own code (`apiextensions/validation` of 1.36) said it when it was run on these rows:
//! a CRD, and all errors in order, with ` ;; ` between them; none: it is fine.

mod roots;
mod schemas;
mod specs;

use crate::strategies::for_kind;
use serde_json::{Value, json};

/// Whether the CRD has the status subresource.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    On,
    Off,
}

/// What was there before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Was {
    Nothing,
    Written,
    /// Written and established.
    Served,
}

/// Texts that many rows share.
const TEXTS: &[(&str, &str)] = &[
    (
        "@LABEL",
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
    ),
    (
        "@SUBDOMAIN",
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    ),
    ("@FORM", "; desired format: https://host[/path]"),
    ("@PLACE", "@ROOT.properties[spec].properties[p]"),
    ("@ROOT", "spec.validation.openAPIV3Schema"),
    ("@CLIENT", "spec.conversion.webhookClientConfig"),
    ("@RULES", "x-kubernetes-validations"),
];

fn field(schema: &Value) -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"p": schema}}}})
}

fn crd(schema: &Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "tabs.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
}

/// What is said of a CRD beyond what is expected; None: just that.
fn judged(mut new: Value, was: Was, expected: &str) -> Option<String> {
    let strategy = for_kind("apiextensions.k8s.io", "CustomResourceDefinition");
    strategy.default(&mut new);
    let errors = if was == Was::Nothing {
        strategy.prepare_create(&mut new);
        strategy.validate(&new)
    } else {
        let mut old = crd(&field(&json!({"type": "string"})));
        strategy.default(&mut old);
        old["status"] = json!({"storedVersions": ["v1"]});
        if was == Was::Served {
            old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
        }
        strategy.prepare_update(&mut new, &old);
        strategy.validate_change(&new, &old)
    };
    let full = TEXTS.iter().fold(expected.to_owned(), |text, (name, full)| text.replace(name, full));
    let wanted: Vec<&str> = full.split(" ;; ").filter(|error| !error.is_empty()).collect();
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    (found != wanted).then(|| format!("{}\n  wanted {wanted:#?}\n  found {found:#?}", new["spec"]))
}

fn verdict(failures: &[String]) {
    assert!(failures.is_empty(), "{} of them\n{}", failures.len(), failures.join("\n"));
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn schemas_of_fields_are_judged_as_kubernetes_judges_them() {
    let rows = schemas::ROWS.iter();
    let failures = rows.filter_map(|(schema, wanted)| judged(crd(&field(&parsed(schema))), Was::Nothing, wanted));
    verdict(&failures.collect::<Vec<_>>());
}

#[test]
fn schemas_of_objects_are_judged_as_kubernetes_judges_them() {
    let failures = roots::ROWS.iter().filter_map(|(schema, status, wanted)| {
        let mut crd = crd(&parsed(schema));
        if *status == Status::On {
            crd["spec"]["versions"][0]["subresources"] = json!({"status": {}});
        }
        judged(crd, Was::Nothing, wanted)
    });
    verdict(&failures.collect::<Vec<_>>());
}

#[test]
fn the_rest_of_a_crd_is_judged_as_kubernetes_judges_it() {
    let failures = specs::ROWS.iter().filter_map(|(was, pointer, value, wanted)| {
        let mut crd = crd(&field(&json!({"type": "string"})));
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = crd.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match parsed(value) {
            Value::Null => _ = parent.remove(name),
            value => _ = parent.insert(name.to_owned(), value),
        }
        judged(crd, *was, wanted)
    });
    verdict(&failures.collect::<Vec<_>>());
}

#[test]
fn formats_that_are_ignored_are_told_of_once_they_are_new() {
    let strategy = for_kind("apiextensions.k8s.io", "CustomResourceDefinition");
    let with = |kind: &str, format: &str| crd(&field(&json!({"type": kind, "format": format})));
    let told = |kind: &str, format: &str| strategy.warnings(&with(kind, format)).join(";");
    for (kind, format) in [("string", "date-time"), ("string", "password"), ("integer", "int64"), ("number", "double")]
    {
        assert_eq!(told(kind, format), "", "{kind} {format}");
    }
    for (kind, format) in [("string", "odd"), ("integer", "int16"), ("object", "uri")] {
        assert_eq!(told(kind, format), format!("unrecognized format {format:?}"));
    }
    let change = |old: &str, new: &str| strategy.change_warnings(&with("string", new), &with("string", old)).len();
    assert_eq!((change("odd", "odd"), change("odd", "even"), change("uri", "odd")), (0, 1, 1));
}
