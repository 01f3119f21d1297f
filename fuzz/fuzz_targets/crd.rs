//! CRDs: a schema, and objects under it. What validation lets pass can be served: its schema prunes and defaults to a state
//! that it leaves as it is, and judges (rules in CEL among it) within the time that one write may take.
#![no_main]

use api::crd::{Definition, rows, spec, value::validate};
use api::{Kinds, Resource, schema};
use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use skiff_fuzz::{altered, documents, is_text, shaped, soon, value, word};
use std::sync::{Arc, LazyLock};

static CRD: LazyLock<Arc<Resource>> = LazyLock::new(|| {
    Kinds::builtin().by_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap()
});

const RULES: &[&str] = &[
    "true", "self == self", "self == oldSelf", "has(self.a)", "self.a == 'x'", "size(self) < 3", "self.all(x, x != '')",
    "self.map(x, x + x).size() > 0", "self.exists(k, self[k] == 1)", "self.matches('^a+$')", "quantity(self).isInteger()",
    "self.?a.orValue('') != 'b'", "oldSelf.hasValue()", "self.b.c.all(x, self.b.c.all(y, x == y))", "isIP(self)", "1", "self.",
];

fn schema_of(u: &mut Unstructured<'_>, depth: usize) -> arbitrary::Result<Value> {
    let mut node = Map::new();
    let kind = *u.choose(&["object", "object", "array", "string", "integer", "number", "boolean", "any"])?;
    if kind == "any" {
        node.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
    } else {
        node.insert("type".into(), kind.into());
    }
    match kind {
        _ if depth > 5 => {}
        "object" if u.ratio(1, 3_u8)? => {
            node.insert("additionalProperties".into(), schema_of(u, depth + 1)?);
        }
        "object" => {
            let mut fields = Map::new();
            for _ in 0..u.int_in_range(0..=4)? {
                fields.insert(word(u)?.into(), schema_of(u, depth + 1)?);
            }
            if u.ratio(1, 4_u8)? {
                node.insert("required".into(), fields.keys().take(1).cloned().collect());
            }
            node.insert("properties".into(), fields.into());
        }
        "array" => {
            node.insert("items".into(), schema_of(u, depth + 1)?);
        }
        _ => {}
    }
    for _ in 0..u.int_in_range(0..=2)? {
        let (name, value) = match u.int_in_range(0..=15)? {
            0 => ("maxLength", u.int_in_range(-1..=9)?.into()),
            1 => ("maxItems", u.int_in_range(0..=9)?.into()),
            2 => ("maxProperties", u.int_in_range(0..=9)?.into()),
            3 => ("pattern", (*u.choose(&["^a*$", "(a+)+$", "[", "\\d{1,1000}", ".*"])?).into()),
            4 => ("format", (*u.choose(&["date-time", "byte", "int32", "duration", "ipv4", "uuid", "x"])?).into()),
            5 => ("enum", (0..u.int_in_range(0..=3)?).map(|_| value(u, 6)).collect::<arbitrary::Result<_>>()?),
            6 | 7 => ("default", value(u, 5)?),
            8 => ("nullable", u.arbitrary::<bool>()?.into()),
            9 => ("x-kubernetes-list-type", (*u.choose(&["set", "map", "atomic"])?).into()),
            10 => ("x-kubernetes-list-map-keys", json!([word(u)?])),
            11 => ("x-kubernetes-embedded-resource", true.into()),
            12 => ("x-kubernetes-int-or-string", true.into()),
            13 => (*u.choose(&["minimum", "maximum", "multipleOf"])?, u.int_in_range(-3..=3)?.into()),
            14 => (*u.choose(&["anyOf", "allOf", "oneOf"])?, json!([{"required": [word(u)?]}, {"properties": {word(u)?: {"minimum": 1}}}])),
            _ => ("x-kubernetes-validations", json!([{"rule": u.choose(RULES)?, "messageExpression": "string(self)"}])),
        };
        node.insert(name.into(), value);
    }
    Ok(node.into())
}

fn crd(schema: &Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tabs.example.com", "uid": "u", "generation": 1},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}]},
        "status": {"storedVersions": ["v1"]}})
}

/// The definition, as the server keeps one that it has accepted.
fn accepted(mut crd: Value) -> Option<(Value, Definition)> {
    CRD.check(&crd).ok()?;
    schema::prune(CRD.schema.get(), &mut crd);
    spec::default(&mut crd);
    let mut again = crd.clone();
    spec::default(&mut again);
    assert_eq!(again, crd);
    let errors = soon("checking a CRD", || spec::validate(&crd, None));
    assert!(errors.len() < 10_000);
    if !errors.is_empty() {
        let _: Vec<String> = errors.iter().take(20).map(ToString::to_string).collect();
        return None;
    }
    let definition = Definition::of(&crd)?;
    Some((crd, definition))
}

fn judge(crd: &Value, definition: Definition, mut objects: [Value; 2]) {
    let definition = Arc::new(definition);
    let rows = soon("making rows", || rows(crd, &definition));
    let Some(row) = rows.first() else { return };
    let schema = row.schema.get();
    for object in &mut objects {
        let Some(map) = object.as_object_mut() else { return };
        map.insert("apiVersion".into(), "example.com/v1".into());
        map.insert("kind".into(), "Tab".into());
        map.insert("metadata".into(), json!({"name": "x"}));
        if row.check(object).is_err() {
            return;
        }
        schema::prune(schema, object);
        row.strategy.default(object);
        let mut again = object.clone();
        schema::prune(schema, &mut again);
        row.strategy.default(&mut again);
        assert_eq!(&again, object, "pruned and defaulted twice");
    }
    let [object, old] = &objects;
    let errors = soon("judging an object", || validate(schema, object, None));
    let _: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let _ = soon("judging an update", || validate(schema, object, Some(old)));
    assert_eq!(validate(schema, object, Some(object)), Vec::new(), "what does not change is let be");
    let _ = api::table::row(row, object, &api::table::Context::at(Default::default()), api::table::IncludeObject::None);
}

fn made(data: &[u8]) -> arbitrary::Result<()> {
    let mut u = Unstructured::new(data);
    let mut root = schema_of(&mut u, 0)?;
    root["type"] = "object".into();
    let Some((crd, definition)) = accepted(crd(&root)) else { return Ok(()) };
    let object = shaped(&mut u, definition.stored_version().schema.get(), 0)?;
    let old = altered(&mut u, &object, 0)?;
    judge(&crd, definition, [object, old]);
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    if !is_text(data) {
        let _ = made(data);
        return;
    }
    let [schema, object, old] = documents::<3>(data);
    let whole = if schema.get("spec").is_some() { schema } else { crd(&schema) };
    if let Some((crd, definition)) = accepted(whole) {
        judge(&crd, definition, [object, old]);
    }
});
