//! The table of kinds: how rows are found, and how a row more is added.

use super::{Columns, Kinds, LazySchema, Resource, Scope, Text, Verb, version_priority};
use crate::strategy::Plain;
use std::sync::Arc;

fn custom(group: &'static str, version: &'static str, plural: &'static str) -> Resource {
    Resource {
        group: group.into(),
        version: version.into(),
        kind: Text::Owned(plural.to_uppercase()),
        list_kind: "L".into(),
        plural: plural.into(),
        singular: plural.into(),
        short_names: Vec::new().into(),
        categories: Vec::new().into(),
        scope: Scope::Namespaced,
        verbs: vec![Verb::Get].into(),
        subresources: Vec::new(),
        storage: format!("{group}/{plural}").into(),
        storage_api_version: format!("{group}/{version}").into(),
        strategy: Arc::new(Plain),
        schema: LazySchema::custom(r#"{"type":"object"}"#.into()),
        columns: Columns { columns: Vec::new(), cells: Arc::new(|_, _| Vec::new()) },
        custom: None,
    }
}

#[test]
fn rows_are_found_by_plural_and_by_kind() {
    let kinds = Kinds::builtin();
    let row = kinds.find("apps", "v1", "deployments").unwrap();
    assert_eq!((&*row.kind, &*row.singular, &*row.list_kind), ("Deployment", "deployment", "DeploymentList"));
    assert_eq!((&*row.storage, &*row.storage_api_version), ("apps/deployments", "apps/v1"));
    assert!(Arc::ptr_eq(&row, &kinds.by_kind("apps", "v1", "Deployment").unwrap()));
    assert!(kinds.find("", "v1", "deployments").is_none());
    for row in kinds.iter() {
        assert!(kinds.find(&row.group, &row.version, &row.plural).is_some());
        assert!(row.subresources.is_sorted_by(|a, b| a.name < b.name), "{}", row.plural);
        assert!(row.short_names.iter().all(|n| !n.is_empty()));
    }
}

#[test]
fn both_groups_of_events_share_their_objects() {
    let kinds = Kinds::builtin();
    let (core, events) =
        (kinds.find("", "v1", "events").unwrap(), kinds.find("events.k8s.io", "v1", "events").unwrap());
    assert_eq!((&core.storage, &core.storage_api_version), (&events.storage, &events.storage_api_version));
}

#[test]
fn kinds_that_are_not_stored_have_no_place() {
    let kinds = Kinds::builtin();
    assert!(!kinds.find("", "v1", "bindings").unwrap().stored());
    assert!(kinds.find("", "v1", "pods").unwrap().stored());
}

#[test]
fn a_table_with_a_row_more_leaves_the_old_one_alone() {
    let before = Kinds::builtin();
    let after = before.with(custom("b.example", "v1", "beds")).with(custom("a.example", "v1beta1", "apples"));
    let after = after.with(custom("a.example", "v1", "apples"));
    assert!(before.find("b.example", "v1", "beds").is_none());
    assert!(after.find("b.example", "v1", "beds").is_some());
    let tail: Vec<_> = after.iter().map(|r| format!("{}/{}", r.group, r.version)).collect();
    assert_eq!(tail[tail.len() - 3..], ["a.example/v1", "a.example/v1beta1", "b.example/v1"]);
    let count = after.iter().count();
    assert_eq!(after.with(custom("b.example", "v1", "beds")).iter().count(), count);
    let without = after.without("b.example", "v1", "beds");
    assert!(without.find("b.example", "v1", "beds").is_none());
    assert_eq!(without.iter().count(), count - 1);
}

#[test]
fn versions_rank_as_kubernetes_ranks_them() {
    let mut versions = ["foo", "v1alpha2", "v2", "v11beta2", "v10", "v1", "v3beta1", "v1alpha1", "v12alpha1"];
    versions.sort_by_key(|v| std::cmp::Reverse(version_priority(v)));
    assert_eq!(versions, ["v10", "v2", "v1", "v11beta2", "v3beta1", "v12alpha1", "v1alpha2", "v1alpha1", "foo"]);
}
