//! What differs between two values of a struct, as Kubernetes prints it (`apimachinery/pkg/util/diff`): a unified diff of the
//! JSON of its internal struct, which has every field, under its name in Go and in its order. `facts/internal.txt` has the
//! structs.

use crate::field::Error;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer as Json};
use similar::TextDiff;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Bytes of a printed value that are compared line by line: more says nothing to its reader, and takes time.
const MAX_BYTES: usize = 64 << 10;
/// Lines around a change.
const CONTEXT: usize = 3;

/// The structs by their names.
static STRUCTS: LazyLock<HashMap<&'static str, Vec<Member>>> = LazyLock::new(|| {
    let lines = include_str!("../../facts/internal.txt").lines().filter(|line| !line.starts_with('#'));
    let read = |line: &'static str| {
        let (name, members) = line.split_once(": ")?;
        Some((name, members.split(", ").filter_map(Member::read).collect()))
    };
    lines.filter_map(read).collect()
});

/// A field of a struct.
struct Member {
    go: &'static str,
    /// Its name in JSON is that in Go with a small letter where the table says nothing.
    json: String,
    kind: Kind,
    /// Not shown when there is nothing in it: those types that internal ones share with the API.
    omitted: bool,
}

enum Kind {
    /// Shown as it is in JSON; absent, as this.
    Plain(Value),
    Struct(&'static str),
    Pointer(&'static str),
    List(&'static str),
    Embedded(&'static str),
}

impl Member {
    fn read(text: &'static str) -> Option<Self> {
        if let Some(name) = text.strip_prefix('+') {
            return Some(Self { go: name, json: String::new(), kind: Kind::Embedded(name), omitted: false });
        }
        let (names, kind) = text.split_once(' ')?;
        let (go, json) = names.split_once(':').unwrap_or((names, ""));
        let json = if json.is_empty() { go[..1].to_ascii_lowercase() + &go[1..] } else { json.to_owned() };
        let (omitted, kind) = kind.strip_prefix('?').map_or((false, kind), |kind| (true, kind));
        let kind = match kind {
            "s" => Kind::Plain("".into()),
            "b" => Kind::Plain(false.into()),
            "n" => Kind::Plain(0.into()),
            "q" => Kind::Plain("0".into()),
            "-" => Kind::Plain(Value::Null),
            _ => match (kind.strip_prefix('*'), kind.strip_prefix('[')) {
                (Some(name), _) => Kind::Pointer(name),
                (_, Some(name)) => Kind::List(name),
                _ => Kind::Struct(kind),
            },
        };
        Some(Self { go, json, kind, omitted })
    }
}

/// A value as a struct of that name.
struct Shown<'a>(&'a str, &'a Value);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.members(&mut map)?;
        map.end()
    }
}

impl Shown<'_> {
    fn members<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        for member in STRUCTS.get(self.0).into_iter().flatten() {
            if let Kind::Embedded(name) = member.kind {
                Shown(name, self.1).members(map)?;
                continue;
            }
            let value = self.1.get(&member.json).unwrap_or(&Value::Null);
            if member.omitted && is_empty(value) {
                continue;
            }
            match (&member.kind, value) {
                (Kind::Plain(zero), Value::Null) => map.serialize_entry(member.go, zero)?,
                (Kind::Pointer(_) | Kind::List(_), Value::Null) | (Kind::Plain(_), _) => {
                    map.serialize_entry(member.go, value)?;
                }
                (Kind::List(name), value) => {
                    let items = value.as_array().into_iter().flatten();
                    map.serialize_entry(member.go, &items.map(|item| Shown(name, item)).collect::<Vec<_>>())?;
                }
                (Kind::Struct(name) | Kind::Pointer(name) | Kind::Embedded(name), value) => {
                    map.serialize_entry(member.go, &Shown(name, value))?;
                }
            }
        }
        Ok(())
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn print(name: &str, value: &Value) -> String {
    let mut out = Vec::with_capacity(4096);
    let mut serializer = Json::with_formatter(&mut out, PrettyFormatter::with_indent(b" "));
    Shown(name, value).serialize(&mut serializer).expect("writing to memory cannot fail");
    let mut text = String::from_utf8(out).expect("JSON is UTF-8");
    if text.contains(['<', '>', '&']) {
        text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    }
    text + "\n"
}

/// The difference from `before` to `after`, which are structs of this name; nothing for such as are too large to be compared.
pub(super) fn of(name: &str, before: &Value, after: &Value) -> String {
    let (before, after) = (print(name, before), print(name, after));
    if before.len().max(after.len()) > MAX_BYTES {
        return String::new();
    }
    TextDiff::from_lines(&before, &after).unified_diff().context_radius(CONTEXT).to_string()
}

/// The error with `value`, as a struct of this name, in it.
pub(super) fn showing(mut error: Error, name: &str, value: &Value) -> Error {
    let shown = if value.is_null() {
        "null".into()
    } else {
        serde_json::to_string(&Shown(name, value)).expect("writing to memory cannot fail")
    };
    error.value = None;
    error.detail = format!("{shown}: {}", error.detail);
    error
}

/// The same of specs of pods, whose internal struct has what they share with their node in the security context.
pub(super) fn of_pod_specs(before: &Value, after: &Value) -> String {
    let shared = ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"];
    let moved = |spec: &Value| {
        let mut spec = spec.clone();
        let mut context = spec.get("securityContext").and_then(Value::as_object).cloned().unwrap_or_default();
        context.extend(shared.iter().filter_map(|field| Some(((*field).to_owned(), spec.get(*field)?.clone()))));
        spec["securityContext"] = context.into();
        spec
    };
    of("PodSpec", &moved(before), &moved(after))
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
        of("PersistentVolumeClaimSpec", &claim(), &after)
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
        assert_eq!(of("PersistentVolumeClaimSpec", &claim(), &after), "");
    }

    #[test]
    fn pods_and_volumes_are_printed_as_kubernetes_own_types() {
        let spec = json!({"containers": [{"name": "c", "image": "x"}], "hostNetwork": true});
        let mut after = spec.clone();
        after["containers"][0]["env"] = json!([{"name": "A", "value": "<b>"}]);
        assert_eq!(
            of_pod_specs(&spec, &after),
            r#"@@ -10,7 +10,13 @@
    "WorkingDir": "",
    "Ports": null,
    "EnvFrom": null,
-   "Env": null,
+   "Env": [
+    {
+     "Name": "A",
+     "Value": "\u003cb\u003e",
+     "ValueFrom": null
+    }
+   ],
    "Resources": {
     "Limits": null,
     "Requests": null,
"#
        );
        after = spec.clone();
        after.as_object_mut().unwrap().remove("hostNetwork");
        assert!(of_pod_specs(&spec, &after).contains("-  \"HostNetwork\": true,\n+  \"HostNetwork\": false,\n"));
        let source = |path: &str| json!({"hostPath": {"path": path}, "capacity": {"storage": "1Gi"}});
        assert_eq!(
            of("PersistentVolumeSource", &source("/a"), &source("/b")),
            r#"@@ -2,7 +2,7 @@
  "GCEPersistentDisk": null,
  "AWSElasticBlockStore": null,
  "HostPath": {
-  "Path": "/a",
+  "Path": "/b",
   "Type": null
  },
  "Glusterfs": null,
"#
        );
    }

    #[test]
    fn every_struct_of_the_table_is_there() {
        for (name, members) in STRUCTS.iter() {
            assert!(!members.is_empty(), "{name}");
            for member in members {
                match member.kind {
                    Kind::Plain(_) => {}
                    Kind::Struct(to) | Kind::Pointer(to) | Kind::List(to) | Kind::Embedded(to) => {
                        assert!(STRUCTS.contains_key(to), "{name}.{} is a {to}", member.go);
                    }
                }
            }
        }
    }
}
