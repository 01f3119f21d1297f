//! Laws that hold for whatever is applied.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn element() -> impl Strategy<Value = Element> {
    prop_oneof![
        "[a-c]".prop_map(|name| Element::field(&name)),
        (0..3_i64).prop_map(|n| Element::key([("k", n.into())])),
        "[a-c]".prop_map(|text| Element::Value(Box::new(text.into()))),
    ]
}

fn set() -> impl Strategy<Value = Set> {
    prop::collection::vec(prop::collection::vec(element(), 1..4), 0..12).prop_map(Set::from_paths)
}

/// A kind with one of everything.
fn kind() -> Kind {
    Kind::custom(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "n": {"type": "integer"},
        "s": {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}},
        "m": {"type": "object", "additionalProperties": {"type": "integer"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "list": {"type": "array", "items": {"type": "integer"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "free": {"x-kubernetes-preserve-unknown-fields": true},
    }}}}))
}

fn keys() -> impl Strategy<Value = Vec<String>> {
    prop::collection::hash_set("[a-d]", 0..4).prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle()
}

fn spec() -> impl Strategy<Value = Value> {
    let number = || 0..3_i64;
    (
        prop::option::of(number()),
        prop::option::of((prop::option::of(number()), prop::option::of(number()))),
        prop::option::of(prop::collection::btree_map("[a-c]", number(), 0..3)),
        prop::option::of(keys()),
        prop::option::of(prop::collection::vec(number(), 0..3)),
        prop::option::of((keys(), number())),
        prop::option::of(prop::collection::btree_map("[a-c]", number(), 0..3)),
    )
        .prop_map(|(n, s, m, set, list, map, free)| {
            let mut spec = json!({});
            if let Some(n) = n {
                spec["n"] = n.into();
            }
            if let Some((x, y)) = s {
                let fields =
                    [("x", x), ("y", y)].into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
                spec["s"] = Value::Object(fields.collect());
            }
            if let Some(m) = m {
                spec["m"] = json!(m);
            }
            if let Some(set) = set {
                spec["set"] = json!(set);
            }
            if let Some(list) = list {
                spec["list"] = json!(list);
            }
            if let Some((keys, v)) = map {
                spec["map"] = keys.iter().map(|key| json!({"k": key, "v": v})).collect();
            }
            if let Some(free) = free {
                spec["free"] = json!(free);
            }
            json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "f"}, "spec": spec})
        })
}

/// The value without nulls, and without maps and lists that hold nothing: an apply does not tell them from absent ones.
fn compact(value: &Value) -> Option<Value> {
    match value {
        Value::Object(map) => {
            let map: Map<String, Value> = map.iter().filter_map(|(k, v)| Some((k.clone(), compact(v)?))).collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        Value::Null => None,
        Value::Array(list) if list.is_empty() => None,
        other => Some(other.clone()),
    }
}

proptest! {
    #[test]
    fn sets_obey_the_laws_of_sets(a in set(), b in set(), c in set()) {
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.union(&b.union(&c)), a.union(&b).union(&c));
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(&a.union(&a), &a);
        prop_assert!(a.difference(&a).is_empty());
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert_eq!(a.union(&b).difference(&b), a.difference(&b));
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        prop_assert_eq!(a.intersection(&b).len() + a.union(&b).len(), a.len() + b.len());
        prop_assert_eq!(a.leaves().difference(&a).len(), 0);
        prop_assert!(a.recursive_difference(&b).difference(&a.difference(&b)).is_empty());
    }

    #[test]
    fn text_and_set_are_the_same(a in set(), b in set()) {
        let text = a.to_json();
        prop_assert_eq!(&Set::from_json(&text).unwrap(), &a);
        let found = super::super::codec::Pattern::of(&b).overlap(&text);
        prop_assert_eq!(found.any, !a.intersection(&b).is_empty());
        prop_assert_eq!(found.all, b.difference(&a).is_empty());
    }

    #[test]
    fn a_create_is_an_update_of_nothing(object in spec()) {
        let kind = kind();
        for context in [kind.at(NOW), Context { empty: Empty::Typed, ..kind.at(NOW) }] {
            let text = created(&context, &object, "m").unwrap_or_default();
            let set = super::super::update::everything(&context, &object);
            let expected = if set.is_empty() { String::new() } else { set.to_json() };
            prop_assert!(text.contains(&format!(r#""fieldsV1":{expected},"#)) || set.is_empty() && text.is_empty(), "{text} {expected}");
        }
    }

    #[test]
    fn a_second_apply_does_nothing(start in spec(), first in spec(), config in spec()) {
        let kind = kind();
        let mut live = Live::created(&kind.at(NOW), start, "hand");
        live.apply(&kind.at(NOW), &first, "x", Force::Yes).unwrap();
        live.apply(&kind.at(NOW), &config, "x", Force::Yes).unwrap();
        let before = live.clone();
        live.apply(&kind.at(LATER), &config, "x", Force::No).unwrap();
        prop_assert_eq!(live, before);
    }

    #[test]
    fn what_is_applied_is_there_and_owned(start in spec(), other in spec(), config in spec()) {
        let kind = kind();
        let mut live = Live::created(&kind.at(NOW), start, "hand");
        live.apply(&kind.at(NOW), &other, "y", Force::Yes).unwrap();
        live.apply(&kind.at(NOW), &config, "x", Force::Yes).unwrap();
        let owned = fields_of(kind.schema(), &config);
        let entry = live.managed.as_deref().map(|text| {
            let managed = Managed::stored(text);
            let at = managed.find(&kind.at(NOW).manager("x", Operation::Apply));
            at.map(|at| managed.entries[at].fields.set().into_owned()).unwrap_or_default()
        });
        prop_assert_eq!(entry.unwrap_or_default(), super::super::update::strip(&owned).into_owned());
        let missing = Comparison::of(kind.schema(), &live.object, &config);
        prop_assert!(missing.modified.is_empty(), "{:?}", missing.modified.texts());
        // An empty list or map beside a full one says nothing.
        let added = missing.added.intersection(&owned);
        prop_assert!(added.is_empty(), "{:?}", added.texts());
    }

    #[test]
    fn what_nobody_else_owns_goes_with_its_applier(start in spec(), config in spec()) {
        let kind = kind();
        let mut live = Live::none();
        live.apply(&kind.at(NOW), &start, "base", Force::No).unwrap();
        let before = live.clone();
        if live.apply(&kind.at(NOW), &config, "x", Force::No).is_ok() {
            let nothing = json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "f"}});
            live.apply(&kind.at(NOW), &nothing, "x", Force::No).unwrap();
            let sorted = |value: &Value| {
                let mut value = compact(value).unwrap_or_default();
                for list in ["/spec/set", "/spec/map"] {
                    if let Some(Value::Array(items)) = value.pointer_mut(list) {
                        items.sort_by_key(ToString::to_string);
                    }
                }
                value
            };
            prop_assert_eq!(sorted(&live.object), sorted(&before.object));
            prop_assert_eq!(live.owned_by("x"), Vec::<String>::new());
        }
    }

    #[test]
    fn the_text_of_owners_follows_updates_as_sets_would(start in spec(), writes in prop::collection::vec((spec(), 0..3_u8), 1..6)) {
        let kind = kind();
        let mut live = Live::created(&kind.at(NOW), start, "m0");
        for (object, who) in writes {
            let comparison = Comparison::of(kind.schema(), &live.object, &object);
            let before = live.clone();
            let name = format!("m{who}");
            live.update(&kind.at(NOW), object, &name);
            let set_of = |live: &Live, name: &str| {
                let text = live.managed.clone().unwrap_or_else(|| "[]".into());
                let managed = Managed::stored(&text);
                let at = managed.find(&kind.at(NOW).manager(name, Operation::Update));
                at.map(|at| managed.entries[at].fields.set().into_owned()).unwrap_or_default()
            };
            if before.managed.is_none() {
                prop_assert_eq!(&live.managed, &None);
                continue;
            }
            for other in ["m0", "m1", "m2"] {
                let gone = comparison.touched();
                let mut expected = set_of(&before, other).difference(&gone);
                if other == name {
                    expected = expected.union(&super::super::update::strip(&comparison.set()));
                }
                prop_assert_eq!(set_of(&live, other).texts(), expected.texts(), "{}", other);
            }
        }
    }
}
