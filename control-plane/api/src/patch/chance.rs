//! The patch that kubectl would compute between two objects makes one of the other.

use super::{json as json_patch, merge, strategic};
use crate::kinds::Kinds;
use crate::schema::Schema;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// `CreateTwoWayMergePatch`: what `strategic` needs to make `to` of `from`.
fn difference(schema: Option<&Schema>, from: &Map<String, Value>, to: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, new) in to.iter().filter(|(name, new)| from.get(*name) != Some(new)) {
        let field = schema.and_then(|schema| schema.child(name));
        let facts = field.and_then(|field| field.facts.as_deref());
        match (from.get(name), new) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                patch.insert(name.clone(), Value::Object(difference(field, old, new)));
            }
            (Some(Value::Array(old)), Value::Array(new)) if facts.is_some_and(|facts| facts.patch_merge) => {
                let key = facts.and_then(|facts| facts.patch_merge_key.as_deref());
                lists(&mut patch, name, field.and_then(Schema::items), key, (old, new));
            }
            _ => {
                patch.insert(name.clone(), new.clone());
            }
        }
    }
    patch
}

fn lists(
    patch: &mut Map<String, Value>,
    name: &str,
    items: Option<&Schema>,
    key: Option<&str>,
    (old, new): (&[Value], &[Value]),
) {
    let id = |item: &Value| key.map_or_else(|| item.clone(), |key| item[key].clone());
    let order = new.iter().map(|item| key.map_or_else(|| item.clone(), |key| json!({key: item[key]})));
    patch.insert(format!("$setElementOrder/{name}"), order.collect());
    let gone: Vec<&Value> = old.iter().filter(|item| !new.iter().any(|other| id(other) == id(item))).collect();
    let Some(key) = key else {
        patch.insert(format!("$deleteFromPrimitiveList/{name}"), gone.into_iter().cloned().collect());
        patch.insert(name.into(), new.iter().filter(|item| !old.contains(item)).cloned().collect());
        return;
    };
    let mut changes = Vec::new();
    for item in new {
        match old.iter().find(|before| id(before) == id(item)) {
            Some(before) if before == item => {}
            Some(before) => {
                let (Some(before), Some(after)) = (before.as_object(), item.as_object()) else { continue };
                let mut change = difference(items, before, after);
                change.insert(key.into(), id(item));
                changes.push(Value::Object(change));
            }
            None => changes.push(item.clone()),
        }
    }
    changes.extend(gone.into_iter().map(|item| json!({"$patch": "delete", key: id(item)})));
    patch.insert(name.into(), changes.into());
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::hash_set("[a-d]", 1..4).prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle()
}

fn container() -> impl Strategy<Value = Value> {
    let env = prop::option::of((names(), "[xy]"));
    ("[a-b]", prop::option::of(prop::collection::vec("[a-b]", 1..3)), env).prop_map(|(image, args, env)| {
        let mut container = json!({"image": image});
        if let Some(args) = args {
            container["args"] = json!(args);
        }
        if let Some((names, value)) = env {
            container["env"] = names.iter().map(|name| json!({"name": name, "value": value})).collect();
        }
        container
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let labels = prop::option::of(prop::collection::btree_map("[a-c]", "[xy]", 1..3));
    let finalizers = prop::option::of(names());
    let containers = names().prop_flat_map(|names| {
        let count = names.len();
        (Just(names), prop::collection::vec(container(), count))
    });
    (labels, finalizers, containers, prop::option::of("[xy]")).prop_map(
        |(labels, finalizers, (names, containers), node)| {
            let named = names.iter().zip(containers).map(|(name, mut container)| {
                container["name"] = name.as_str().into();
                container
            });
            let mut pod = json!({"metadata": {}, "spec": {"containers": named.collect::<Vec<_>>()}});
            if let Some(labels) = labels {
                pod["metadata"]["labels"] = json!(labels);
            }
            if let Some(finalizers) = finalizers {
                pod["metadata"]["finalizers"] = json!(finalizers);
            }
            if let Some(node) = node {
                pod["spec"]["nodeName"] = node.into();
            }
            pod
        },
    )
}

fn schema() -> Arc<Schema> {
    Arc::clone(Kinds::builtin().by_kind("", "v1", "Pod").expect("pods are built in").schema.get())
}

proptest! {
    #[test]
    fn the_strategic_difference_makes_one_object_of_the_other(from in pod(), to in pod()) {
        let schema = schema();
        let (Some(old), Some(new)) = (from.as_object(), to.as_object()) else { unreachable!("pods are objects") };
        let patch = Value::Object(difference(Some(&schema), old, new));
        prop_assert_eq!(strategic(&schema, &from, &patch).unwrap(), to, "{}", patch);
    }

    #[test]
    fn a_patch_twice_is_a_patch_once(from in pod(), to in pod()) {
        let schema = schema();
        let (Some(old), Some(new)) = (from.as_object(), to.as_object()) else { unreachable!("pods are objects") };
        let patch = Value::Object(difference(Some(&schema), old, new));
        let once = strategic(&schema, &from, &patch).unwrap();
        prop_assert_eq!(strategic(&schema, &once, &patch).unwrap(), once);
        let merged = merge(&from, &to).unwrap();
        prop_assert_eq!(merge(&merged, &to).unwrap(), merged);
    }

    #[test]
    fn a_test_operation_guards_what_follows(from in pod(), to in pod()) {
        let patch = json!([{"op": "test", "path": "/spec", "value": to["spec"]}, {"op": "replace", "path": "/spec", "value": {}}]);
        let result = json_patch(&from, &patch);
        prop_assert_eq!(result.is_ok(), from["spec"] == to["spec"]);
        if let Err(status) = result {
            prop_assert_eq!(status.code, 422);
        }
    }
}
