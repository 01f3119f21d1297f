//! The difference between two versions of an object, as short texts: `spec.replicas 1→3`, `+metadata.labels.app=web`.
//!
//! Lists of objects are matched by what names their elements, so a container or a condition is followed wherever it
//! moves. Secrets' values are not shown, only that they differ (as `kubectl diff` does).

use serde_json::{Map, Value};
use std::collections::HashSet;

/// Most differences that are told; more are counted.
pub(super) const MAX_FIELDS: usize = 40;
/// Characters of one value.
const VALUE_CHARS: usize = 40;
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// What names an element of a list, where all have it and no two the same.
const IDENTITIES: [&str; 7] = ["name", "type", "uid", "key", "containerPort", "port", "ip"];

/// The fields that differ, those that say most first.
pub(super) fn changes(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(&Path::default(), Some(old), Some(new), &mut found);
    found.sort_by_key(|field: &Field| field.rank);
    let more = found.len().saturating_sub(MAX_FIELDS);
    let mut texts: Vec<String> = found.into_iter().take(MAX_FIELDS).map(|field| field.text).collect();
    if more > 0 {
        texts.push(format!("… (+{more})"));
    }
    texts
}

/// Makes both versions fit to be shown: without managed fields, and without a Secret's values.
pub(super) fn presentable(old: &mut Option<Value>, new: &mut Option<Value>) {
    for object in [&mut *old, &mut *new].into_iter().flatten() {
        super::documents::without_managed_fields(object);
    }
    let is_secret = [&*old, &*new].into_iter().flatten().any(|object| object["kind"] == "Secret");
    if is_secret {
        for pointer in ["/data", "/stringData"] {
            mask(part(old, pointer), part(new, pointer), None);
        }
        mask(part(old, "/metadata/annotations"), part(new, "/metadata/annotations"), Some(LAST_APPLIED));
    }
}

fn part<'o>(object: &'o mut Option<Value>, pointer: &str) -> Option<&'o mut Map<String, Value>> {
    object.as_mut()?.pointer_mut(pointer)?.as_object_mut()
}

/// Hides the values of both maps, or of one key: only whether they differ is left.
fn mask(mut old: Option<&mut Map<String, Value>>, mut new: Option<&mut Map<String, Value>>, only: Option<&str>) {
    let keys: HashSet<String> = [&old, &new].into_iter().flatten().flat_map(|map| map.keys().cloned()).collect();
    for key in keys.iter().filter(|key| only.is_none_or(|only| only == *key)) {
        let before = old.as_mut().and_then(|map| map.get_mut(key));
        let after = new.as_mut().and_then(|map| map.get_mut(key));
        match (before, after) {
            (Some(before), Some(after)) if before != after => {
                *before = "*** (before)".into();
                *after = "*** (after)".into();
            }
            (before, after) => {
                for value in [before, after].into_iter().flatten() {
                    *value = "***".into();
                }
            }
        }
    }
}

struct Field {
    rank: u8,
    text: String,
}

#[derive(Clone, Default)]
struct Path(String);

impl Path {
    fn child(&self, key: &str) -> Self {
        if key.contains(['.', '/', '[']) || key.is_empty() {
            Self(format!("{}[{key}]", self.0))
        } else if self.0.is_empty() {
            Self(key.to_owned())
        } else {
            Self(format!("{}.{key}", self.0))
        }
    }

    fn element(&self, name: &str) -> Self {
        Self(format!("{}[{name}]", self.0))
    }

    /// Intent first, then metadata, then status; what only dates or counts comes last.
    fn rank(&self) -> u8 {
        let path = &self.0;
        let last = path.rsplit('.').next().unwrap_or_default();
        let explains = path.contains("conditions[") && matches!(last, "message" | "reason");
        if last.ends_with("Time") || last.ends_with("Timestamp") || last.ends_with("eneration") || explains {
            4
        } else if path.starts_with("status") {
            2 + u8::from(path.contains("conditions["))
        } else {
            u8::from(path.starts_with("metadata"))
        }
    }
}

fn walk(path: &Path, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Field>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Some(Value::Object(_)) | None, Some(Value::Object(_))) | (Some(Value::Object(_)), None) => {
            objects(path, old.and_then(Value::as_object), new.and_then(Value::as_object), found);
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => lists(path, old, new, found),
        (None, Some(Value::Array(new))) if !new.is_empty() => lists(path, &[], new, found),
        _ => found.push(Field { rank: path.rank(), text: leaf(path, old, new) }),
    }
}

fn objects(path: &Path, old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>, found: &mut Vec<Field>) {
    if old.is_none_or(Map::is_empty) && new.is_none_or(Map::is_empty) {
        let sign = if old.is_none() { "+" } else { "-" };
        return found.push(Field { rank: path.rank(), text: format!("{sign}{}", path.0) });
    }
    let before = old.into_iter().flatten().map(|(key, _)| key);
    let added =
        new.into_iter().flatten().map(|(key, _)| key).filter(|key| old.is_none_or(|old| !old.contains_key(*key)));
    for key in before.chain(added) {
        if path.0 == "metadata" && matches!(key.as_str(), "managedFields" | "resourceVersion") {
            continue;
        }
        walk(&path.child(key), old.and_then(|map| map.get(key)), new.and_then(|map| map.get(key)), found);
    }
}

fn lists(path: &Path, old: &[Value], new: &[Value], found: &mut Vec<Field>) {
    let identity = IDENTITIES.iter().find(|key| names_all(old, key) && names_all(new, key));
    let is_plain = |list: &[Value]| list.iter().all(|value| !value.is_object() && !value.is_array());
    if let Some(key) = identity {
        let find = |list: &'_ [Value], name: &Value| list.iter().position(|element| &element[*key] == name);
        for element in old {
            let at = find(new, &element[*key]);
            element_change(path, key, Some(element), at.map(|at| &new[at]), found);
        }
        for element in new.iter().filter(|element| find(old, &element[*key]).is_none()) {
            element_change(path, key, None, Some(element), found);
        }
    } else if is_plain(old) && is_plain(new) {
        let before = found.len();
        for value in old.iter().filter(|value| !new.contains(value)) {
            found.push(Field { rank: path.rank(), text: format!("-{}", path.element(&text(value)).0) });
        }
        for value in new.iter().filter(|value| !old.contains(value)) {
            found.push(Field { rank: path.rank(), text: format!("+{}", path.element(&text(value)).0) });
        }
        if found.len() == before {
            found.push(Field { rank: path.rank(), text: format!("{} reordered", path.0) });
        }
    } else {
        for at in 0..old.len().max(new.len()) {
            element_at(path, at, (old.get(at), new.get(at)), found);
        }
    }
}

fn element_at(path: &Path, at: usize, (old, new): (Option<&Value>, Option<&Value>), found: &mut Vec<Field>) {
    let path = path.element(&at.to_string());
    match (old, new) {
        (Some(_), Some(_)) => walk(&path, old, new, found),
        (None, _) => found.push(Field { rank: path.rank(), text: format!("+{}", path.0) }),
        (_, None) => found.push(Field { rank: path.rank(), text: format!("-{}", path.0) }),
    }
}

fn element_change(path: &Path, key: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Field>) {
    let Some(element) = old.or(new) else { return };
    let path = path.element(&text(&element[key]));
    if let (Some(_), Some(_)) = (old, new) {
        return walk(&path, old, new, found);
    }
    let sign = if old.is_none() { "+" } else { "-" };
    // A condition says with its name what it is.
    let state = element.get("status").filter(|status| key == "type" && status.is_string());
    let state = state.map(|status| format!("={}", text(status))).unwrap_or_default();
    found.push(Field { rank: path.rank(), text: format!("{sign}{}{state}", path.0) });
}

fn names_all(list: &[Value], key: &str) -> bool {
    let mut seen = HashSet::new();
    list.iter().all(|element| {
        element.get(key).is_some_and(|name| (name.is_string() || name.is_number()) && seen.insert(text(name)))
    })
}

fn leaf(path: &Path, old: Option<&Value>, new: Option<&Value>) -> String {
    let shown = |value: &Value| if value.is_array() { String::new() } else { text(value) };
    match (old, new) {
        (Some(old), Some(new)) => format!("{} {}→{}", path.0, text(old), text(new)),
        (None, Some(new)) if new.is_array() => format!("+{}", path.0),
        (None, Some(new)) => format!("+{}={}", path.0, shown(new)),
        (_, None) => format!("-{}", path.0),
    }
}

/// A value in few characters: text without quotes where that is clear.
fn text(value: &Value) -> String {
    let whole = match value {
        Value::String(text) if text.is_empty() || text.contains(['\n', '\t', '"']) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Object(_) => "{…}".into(),
        Value::Array(_) => "[…]".into(),
        other => other.to_string(),
    };
    match whole.char_indices().nth(VALUE_CHARS) {
        Some((cut, _)) => format!("{}…", &whole[..cut]),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn intent_comes_before_status_and_dates_come_last() {
        let old = json!({"metadata": {"generation": 1, "resourceVersion": "1", "managedFields": [1]},
            "spec": {"replicas": 1}, "status": {"readyReplicas": 0, "at": "x"}});
        let new = json!({"metadata": {"generation": 2, "resourceVersion": "2", "labels": {"app": "web", "a.b/c": "d"}},
            "spec": {"replicas": 3}, "status": {"readyReplicas": 1, "lastTime": "y"}});
        let expected = [
            "spec.replicas 1→3",
            "+metadata.labels[a.b/c]=d",
            "+metadata.labels.app=web",
            "-status.at",
            "status.readyReplicas 0→1",
            "metadata.generation 1→2",
            "+status.lastTime=y",
        ];
        assert_eq!(changes(&old, &new), expected);
        assert_eq!(changes(&old, &old), [""; 0]);
    }

    #[test]
    fn elements_are_followed_by_name() {
        let old = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y"}]},
            "status": {"conditions": [{"type": "Ready", "status": "False"}]}});
        let new = json!({"spec": {"containers": [{"name": "b", "image": "y"}, {"name": "a", "image": "x:2", "args": ["-v"]}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Up", "status": "True"}]}});
        let expected = [
            "+spec.containers[a].args[-v]",
            "spec.containers[a].image x:1→x:2",
            "status.conditions[Ready].status False→True",
            "+status.conditions[Up]=True",
        ];
        let mut found = changes(&old, &new);
        found[..2].sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn plain_lists_are_sets_in_order() {
        let list = |values: Value| json!({"metadata": {"finalizers": values}});
        assert_eq!(
            changes(&list(json!(["a", "b"])), &list(json!(["b", "c"]))),
            ["-metadata.finalizers[a]", "+metadata.finalizers[c]"]
        );
        assert_eq!(changes(&list(json!(["a", "b"])), &list(json!(["b", "a"]))), ["metadata.finalizers reordered"]);
        let nested = |values: Value| json!({"rules": values});
        assert_eq!(
            changes(&nested(json!([{"verbs": ["get"]}])), &nested(json!([{"verbs": ["get", "list"]}, {"verbs": []}]))),
            ["+rules[0].verbs[list]", "+rules[1]"]
        );
    }

    #[test]
    fn much_is_cut_short() {
        let many: Map<String, Value> = (0..100).map(|n| (format!("k{n:03}"), "v".repeat(100).into())).collect();
        let found = changes(&json!({"data": {}}), &json!({"data": many}));
        assert_eq!(found.len(), MAX_FIELDS + 1);
        assert_eq!(found[0], format!("+data.k000={}…", "v".repeat(VALUE_CHARS)));
        assert_eq!(found[MAX_FIELDS], "… (+60)");
        assert_eq!(changes(&json!({"a": "x"}), &json!({"a": "é\n".repeat(60)})).len(), 1);
    }

    #[test]
    fn secrets_tell_only_that_they_differ() {
        let secret = |pass: &str, user: &str| {
            json!({"kind": "Secret", "data": {"pass": pass, "user": user},
                "metadata": {"annotations": {LAST_APPLIED: pass, "other": "x"}}})
        };
        let (mut old, mut new) = (Some(secret("one", "me")), Some(secret("two", "me")));
        presentable(&mut old, &mut new);
        let found = changes(&old.unwrap(), &new.unwrap());
        assert_eq!(found[0], "data.pass *** (before)→*** (after)");
        assert!(!found.iter().any(|field| field.contains("one") || field.contains("two") || field.contains("me→")));
        let (mut none, mut created) = (None, Some(secret("one", "me")));
        presentable(&mut none, &mut created);
        assert!(!created.unwrap().to_string().contains("one"));
    }
}
