//! What differs between two specs of a PersistentVolumeClaim, as Kubernetes prints it (`apimachinery/pkg/util/diff`): a
//! unified diff of the JSON of its internal struct, which has every field, under its name in Go and in its order.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value};
use similar::TextDiff;

/// Bytes of a spec that are compared line by line: none that is valid has more.
const MAX_BYTES: usize = 32 << 10;
/// Lines around a change.
const CONTEXT: usize = 3;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Spec<'a> {
    access_modes: &'a Value,
    selector: Option<Selector<'a>>,
    resources: Resources<'a>,
    volume_name: &'a str,
    storage_class_name: &'a Value,
    volume_mode: &'a Value,
    data_source: Option<Source<'a>>,
    data_source_ref: Option<OtherSource<'a>>,
    volume_attributes_class_name: &'a Value,
}

/// Of the types that internal ones share with the API, this one has JSON names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Selector<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    match_labels: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    match_expressions: Option<&'a Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Resources<'a> {
    limits: &'a Value,
    requests: &'a Value,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Source<'a> {
    #[serde(rename = "APIGroup")]
    api_group: &'a Value,
    kind: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OtherSource<'a> {
    #[serde(flatten)]
    source: Source<'a>,
    namespace: &'a Value,
}

const NULL: &Value = &Value::Null;

fn field<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(NULL)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    field(value, name).as_str().unwrap_or_default()
}

fn object<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.get(name).filter(|value| value.is_object())
}

fn source(of: &Value) -> Source<'_> {
    Source { api_group: field(of, "apiGroup"), kind: text(of, "kind"), name: text(of, "name") }
}

fn print(spec: &Value) -> String {
    let filled = |selector, name: &str| Some(field(selector, name)).filter(|value| is_filled(value));
    let selector = |selector| Selector {
        match_labels: filled(selector, "matchLabels"),
        match_expressions: filled(selector, "matchExpressions"),
    };
    let resources = field(spec, "resources");
    let spec = Spec {
        access_modes: field(spec, "accessModes"),
        selector: object(spec, "selector").map(selector),
        resources: Resources { limits: field(resources, "limits"), requests: field(resources, "requests") },
        volume_name: text(spec, "volumeName"),
        storage_class_name: field(spec, "storageClassName"),
        volume_mode: field(spec, "volumeMode"),
        data_source: object(spec, "dataSource").map(source),
        data_source_ref: object(spec, "dataSourceRef")
            .map(|of| OtherSource { source: source(of), namespace: field(of, "namespace") }),
        volume_attributes_class_name: field(spec, "volumeAttributesClassName"),
    };
    let mut out = Vec::with_capacity(512);
    let mut serializer = Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b" "));
    spec.serialize(&mut serializer).expect("writing to memory cannot fail");
    out.push(b'\n');
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn is_filled(value: &Value) -> bool {
    value.as_object().is_some_and(|map: &Map<_, _>| !map.is_empty()) || value.as_array().is_some_and(|l| !l.is_empty())
}

/// The difference from `before` to `after`; `None` for specs that are too large to be compared.
pub(super) fn of(before: &Value, after: &Value) -> Option<String> {
    let (before, after) = (print(before), print(after));
    if before.len().max(after.len()) > MAX_BYTES {
        return None;
    }
    Some(TextDiff::from_lines(&before, &after).unified_diff().context_radius(CONTEXT).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim() -> Value {
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "a", "volumeMode": "Filesystem"})
    }

    fn changed(change: impl FnOnce(&mut Value)) -> String {
        let mut after = claim();
        change(&mut after);
        of(&claim(), &after).unwrap()
    }

    #[test]
    fn differences_are_printed_as_kubernetes_own_code_does() {
        let class = changed(|claim| claim["storageClassName"] = "b".into());
        assert_eq!(
            class,
            r#"@@ -10,7 +10,7 @@
   }
  },
  "VolumeName": "",
- "StorageClassName": "a",
+ "StorageClassName": "b",
  "VolumeMode": "Filesystem",
  "DataSource": null,
  "DataSourceRef": null,
"#
        );
        let sources = changed(|claim| {
            claim["dataSource"] = json!({"kind": "PersistentVolumeClaim", "name": "x"});
            claim["dataSourceRef"] = json!({"apiGroup": "g", "kind": "K", "name": "x"});
            claim["accessModes"] = json!([]);
        });
        assert_eq!(
            sources,
            r#"@@ -1,7 +1,5 @@
 {
- "AccessModes": [
-  "ReadWriteOnce"
- ],
+ "AccessModes": [],
  "Selector": null,
  "Resources": {
   "Limits": null,
@@ -12,7 +10,16 @@
  "VolumeName": "",
  "StorageClassName": "a",
  "VolumeMode": "Filesystem",
- "DataSource": null,
- "DataSourceRef": null,
+ "DataSource": {
+  "APIGroup": null,
+  "Kind": "PersistentVolumeClaim",
+  "Name": "x"
+ },
+ "DataSourceRef": {
+  "APIGroup": "g",
+  "Kind": "K",
+  "Name": "x",
+  "Namespace": null
+ },
  "VolumeAttributesClassName": null
 }
"#
        );
        let selector = changed(|claim| {
            let expressions =
                json!([{"key": "k", "operator": "In", "values": ["v"]}, {"key": "e", "operator": "Exists"}]);
            claim["selector"] = json!({"matchExpressions": expressions, "matchLabels": {"a": "b"}});
        });
        assert_eq!(
            selector,
            r#"@@ -2,7 +2,24 @@
  "AccessModes": [
   "ReadWriteOnce"
  ],
- "Selector": null,
+ "Selector": {
+  "matchLabels": {
+   "a": "b"
+  },
+  "matchExpressions": [
+   {
+    "key": "k",
+    "operator": "In",
+    "values": [
+     "v"
+    ]
+   },
+   {
+    "key": "e",
+    "operator": "Exists"
+   }
+  ]
+ },
  "Resources": {
   "Limits": null,
   "Requests": {
"#
        );
    }

    #[test]
    fn what_is_too_large_is_not_compared() {
        let mut after = claim();
        after["volumeName"] = "x".repeat(MAX_BYTES).into();
        assert_eq!(of(&claim(), &after), None);
    }
}
