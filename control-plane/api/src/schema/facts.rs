//! The facts that schemas lack, about merging and about what Go leaves out, read from `facts/facts.txt` (its head explains the format).

use super::{Format, Shape, Zero};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

static TEXT: &str = include_str!("../../facts/facts.txt");

/// What Go writes of a field.
const MARKS: [char; 4] = ['*', '!', '?', '-'];

/// Lists and maps that Kubernetes refuses when they are empty, in other words than when they are absent, or where it would
/// fill in what is absent: an empty one has to be seen.
const NEVER_EMPTY: [(&str, &str); 2] = [
    ("io.k8s.api.autoscaling.v2.HPAScalingRules", "policies"),
    ("io.k8s.api.core.v1.PersistentVolumeSpec", "capacity"),
];

/// Definition (without `io.k8s.`) → its fields' facts, not yet parsed.
static TABLE: LazyLock<HashMap<&'static str, &'static str>> =
    LazyLock::new(|| TEXT.lines().filter(|l| !l.starts_with('#')).filter_map(|line| line.split_once(' ')).collect());

/// How one place of an object merges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    list: List,
    keys: Vec<String>,
    /// `x-kubernetes-patch-strategy` has `merge`.
    pub patch_merge: bool,
    /// `x-kubernetes-patch-strategy` has `retainKeys`.
    pub patch_retain_keys: bool,
    /// `x-kubernetes-patch-strategy` is `replace`.
    pub patch_replace: bool,
    /// `x-kubernetes-patch-merge-key`.
    pub patch_merge_key: Option<String>,
    /// The value that stands for an absent field, where it is not the zero value.
    pub default: Option<Value>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum List {
    #[default]
    Unsaid,
    Atomic,
    Granular,
    Set,
    Map,
}

/// `x-kubernetes-list-type` or `x-kubernetes-map-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge<'a> {
    /// Nothing said: lists are atomic, objects and maps granular.
    Unsaid,
    Atomic,
    /// A map or object that merges although its definition is atomic.
    Granular,
    /// A list of distinct scalars.
    Set,
    /// A list of objects told apart by these keys.
    Map(&'a [String]),
}

impl Facts {
    /// Facts of a CRD's list or map.
    #[must_use]
    pub(super) fn of_crd(list_type: Option<&str>, map_type: Option<&str>, keys: Vec<String>) -> Option<Arc<Self>> {
        let list = match (list_type, map_type) {
            (Some("atomic"), _) | (_, Some("atomic")) => List::Atomic,
            (_, Some("granular")) => List::Granular,
            (Some("set"), _) => List::Set,
            (Some("map"), _) => List::Map,
            _ => return None,
        };
        Some(Arc::new(Self { list, keys, ..Self::default() }))
    }

    pub(super) fn says_merge(&self) -> bool {
        self.list != List::Unsaid
    }

    #[must_use]
    pub fn merge(&self) -> Merge<'_> {
        match self.list {
            List::Unsaid => Merge::Unsaid,
            List::Atomic => Merge::Atomic,
            List::Granular => Merge::Granular,
            List::Set => Merge::Set,
            List::Map => Merge::Map(&self.keys),
        }
    }
}

/// The facts about `path` (`ports`, `selector{}`, `*`) of a definition named in full.
pub(crate) fn find(definition: &str, path: &str) -> Option<Arc<Facts>> {
    Some(Arc::new(parse(entry(definition, path)?.trim_start_matches(MARKS).strip_prefix('=')?)))
}

/// What the table has on a field after its name: a mark, facts.
fn entry(definition: &str, path: &str) -> Option<&'static str> {
    let line = TABLE.get(definition.strip_prefix("io.k8s.")?)?;
    let mut rests = line.split(' ').filter_map(|field| field.strip_prefix(path));
    rests.find(|rest| rest.is_empty() || rest.starts_with(MARKS) || rest.starts_with('='))
}

/// What Go makes of a field without a value.
pub(super) fn zero(definition: &str, field: &str, shape: &Shape) -> Zero {
    let plain = matches!(
        shape,
        Shape::Text(Format::Plain | Format::Byte)
            | Shape::Boolean
            | Shape::Int32
            | Shape::Int64
            | Shape::Number
            | Shape::List(_)
            | Shape::Map(_)
    );
    match entry(definition, field).and_then(|rest| rest.chars().next()) {
        // CRDs are stored as JSON, which tells an empty list from none.
        Some('!') if matches!(shape, Shape::List(_)) && definition.contains(".apiextensions.") => Zero::ShownNull,
        Some('!') => Zero::Shown,
        Some('?') => Zero::ShownNull,
        Some('-') => Zero::Omitted,
        Some('*') => Zero::Kept,
        _ if NEVER_EMPTY.contains(&(definition, field)) => Zero::Kept,
        _ if plain => Zero::Omitted,
        _ => Zero::Kept,
    }
}

/// `map(name);merge(name)`.
fn parse(text: &str) -> Facts {
    let mut facts = Facts::default();
    for fact in text.split(';') {
        let (word, argument) = match fact.split_once('(') {
            Some((word, rest)) => (word, rest.trim_end_matches(')')),
            None => (fact, ""),
        };
        match word {
            "atomic" => facts.list = List::Atomic,
            "granular" => facts.list = List::Granular,
            "set" => facts.list = List::Set,
            "map" => {
                facts.list = List::Map;
                facts.keys = argument.split(',').map(str::to_owned).collect();
            }
            "default" => facts.default = serde_json::from_str(argument).ok(),
            strategies => {
                for strategy in strategies.split('+') {
                    match strategy {
                        "merge" => facts.patch_merge = true,
                        "retainKeys" => facts.patch_retain_keys = true,
                        "replace" => facts.patch_replace = true,
                        _ => {}
                    }
                }
                facts.patch_merge_key = (!argument.is_empty()).then(|| argument.to_owned());
            }
        }
    }
    facts
}
