//! Where a claim's data comes from, which its spec says twice: in `dataSource`, which knows claims and snapshots alone, and in
//! `dataSourceRef` (`pkg/api/persistentvolumeclaim`, KEP 1495).

use super::json::{Object, present, text};
use serde_json::Value;

const OLD: &str = "dataSource";
const NEW: &str = "dataSourceRef";

/// Makes both say the same in a spec that is to be written in place of `old`. A `dataSource` of another kind goes, as it always
/// has, and so does a source in another namespace, which Kubernetes knows behind a switch that is off.
pub(super) fn complete(spec: &mut Object, old: Option<&Value>) {
    let had = |field: &str| old.is_some_and(|old| present(old, field).is_some());
    if namespaced(spec) && !had(NEW) {
        spec.remove(NEW);
    }
    if !had(OLD) && !had(NEW) && !is_set(spec, NEW) && !spec.get(OLD).is_some_and(is_claim_or_snapshot) {
        spec.remove(OLD);
    }
    mirror(spec);
}

/// Fills the one that is absent with the other.
pub(super) fn mirror(spec: &mut Object) {
    let (from, to) = match (is_set(spec, OLD), is_set(spec, NEW)) {
        (true, false) => (OLD, NEW),
        (false, true) if !namespaced(spec) => (NEW, OLD),
        _ => return,
    };
    let Some(mut source) = spec.get(from).cloned() else { return };
    if let Some(source) = source.as_object_mut() {
        source.remove("namespace");
    }
    spec.insert(to.into(), source);
}

fn is_set(spec: &Object, field: &str) -> bool {
    spec.get(field).is_some_and(|source| !source.is_null())
}

fn namespaced(spec: &Object) -> bool {
    spec.get(NEW).is_some_and(|source| !text(source, "namespace").is_empty())
}

fn is_claim_or_snapshot(source: &Value) -> bool {
    matches!(
        (text(source, "kind"), text(source, "apiGroup")),
        ("PersistentVolumeClaim", "") | ("VolumeSnapshot", "snapshot.storage.k8s.io")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_fields_say_the_same() {
        let claim = json!({"apiGroup": null, "kind": "PersistentVolumeClaim", "name": "a"});
        let other = json!({"apiGroup": "a.b", "kind": "Foo", "name": "a"});
        let away = json!({"apiGroup": null, "kind": "PersistentVolumeClaim", "name": "a", "namespace": "n"});
        let nothing = json!({});
        for (new, old, wanted) in [
            (json!({OLD: claim}), None, json!({OLD: claim, NEW: claim})),
            (json!({NEW: other}), None, json!({OLD: other, NEW: other})),
            (json!({OLD: other}), None, nothing.clone()),
            (json!({OLD: other, NEW: claim}), None, json!({OLD: other, NEW: claim})),
            (json!({NEW: away}), None, nothing.clone()),
            (json!({NEW: away}), Some(json!({NEW: away})), json!({NEW: away})),
            (json!({OLD: other}), Some(json!({OLD: other, NEW: other})), json!({OLD: other, NEW: other})),
            (nothing.clone(), None, nothing),
        ] {
            let mut spec = new.as_object().unwrap().clone();
            complete(&mut spec, old.as_ref());
            assert_eq!(Value::Object(spec), wanted, "{new} after {old:?}");
        }
    }
}
