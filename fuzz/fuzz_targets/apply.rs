//! Server-side apply and the text of `managedFields`: applying the same again changes nothing, what is written is read back
//! to the same, and what was applied by force is there.
#![no_main]

use api::Kinds;
use api::apply::{Before, Context, Empty, Force, Managed, Resets, Updated, Versions, apply, created, updated};
use api::schema::Schema;
use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use skiff_fuzz::{altered, documents, is_text, shaped, soon, texts};
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

struct Kind {
    api_version: String,
    kind: &'static str,
    schema: Arc<Schema>,
    empty: Empty,
}

impl Versions for Kind {
    fn schema(&self, api_version: &str) -> Option<&Schema> {
        (api_version == self.api_version).then_some(&*self.schema)
    }

    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Option<Cow<'v, Value>> {
        (from == to).then_some(Cow::Borrowed(object))
    }
}

impl Kind {
    fn context(&self) -> Context<'_> {
        Context {
            versions: self,
            api_version: &self.api_version,
            subresource: "",
            resets: if self.empty == Empty::Typed { Resets::Status } else { Resets::Nothing },
            empty: self.empty,
            now: "2026-01-02T03:04:05Z",
        }
    }

    /// An object of the kind as the server has it when it comes to owners.
    fn object(&self, mut object: Value) -> Option<Value> {
        let metadata = json!({"name": "f"});
        let map = object.as_object_mut()?;
        map.insert("apiVersion".into(), self.api_version.clone().into());
        map.insert("kind".into(), self.kind.into());
        map.insert("metadata".into(), metadata);
        api::schema::check(&self.schema, &object).ok()?;
        api::schema::prune(&self.schema, &mut object);
        Some(object)
    }
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let custom = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "n": {"type": "integer"},
        "q": {"x-kubernetes-int-or-string": true},
        "s": {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "string"}}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"x": {"type": "integer"}}},
        "m": {"type": "object", "additionalProperties": {"type": "integer"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "list": {"type": "array", "items": {"type": "integer"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "l"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "l": {"type": "integer", "default": 1},
                "v": {"type": "object", "properties": {"deep": {"type": "array", "x-kubernetes-list-type": "set",
                "items": {"type": "integer"}}}}}}},
        "free": {"x-kubernetes-preserve-unknown-fields": true},
    }}}});
    let builtin = |group: &str, kind: &'static str| {
        let row = Kinds::builtin().by_kind(group, "v1", kind).unwrap();
        Kind { api_version: row.api_version(), kind, schema: Arc::clone(row.schema.get()), empty: Empty::Typed }
    };
    let schema = Arc::new(Schema::of_crd(&custom));
    vec![
        Kind { api_version: "example.com/v1".into(), kind: "Foo", schema, empty: Empty::Custom },
        builtin("", "Pod"),
        builtin("", "Service"),
        builtin("apps", "Deployment"),
        builtin("", "ConfigMap"),
    ]
});

/// An object and its owners, as the store has them.
#[derive(Clone, Debug, PartialEq)]
struct Live {
    object: Value,
    managed: Option<String>,
}

fn managed_fields(text: &str) {
    if let Ok(managed) = soon("reading managedFields", || Managed::parse(text)) {
        if let Some(written) = managed.to_json() {
            let again = Managed::parse(&written).expect("what is written can be read").to_json();
            assert_eq!(again.as_ref(), Some(&written));
            assert_eq!(Managed::stored(&written).to_json(), Some(written.clone()));
        }
    }
}

/// Text as a client sends it: a configuration, an object, and the object's `managedFields`.
fn sent(data: &[u8]) {
    let [_, _, managed] = texts::<3>(data);
    let [config, object, _] = documents::<3>(data);
    managed_fields(managed);
    for kind in &*KINDS {
        let (Some(config), Some(object)) = (kind.object(config.clone()), kind.object(object.clone())) else { continue };
        let context = kind.context();
        for force in [Force::No, Force::Yes] {
            let _ = soon("an apply", || apply(&context, Some(managed), &object, &config, ("kubectl", force)));
        }
        if let Ok(given) = Managed::parse(managed) {
            let _ = soon("an update", || updated(&context, Before::Given(given), &config, &object, "m"));
        }
    }
}

/// A history of writes.
fn played(data: &[u8]) -> arbitrary::Result<()> {
    let mut u = Unstructured::new(data);
    let kind = u.choose(&KINDS)?;
    let context = kind.context();
    let Some(first) = kind.object(shaped(&mut u, &kind.schema, 0)?) else { return Ok(()) };
    let mut live = Live { managed: created(&context, &first, "hand"), object: first };
    for _ in 0..u.int_in_range(1..=5)? {
        let next = if u.arbitrary()? { altered(&mut u, &live.object, 0)? } else { shaped(&mut u, &kind.schema, 0)? };
        let Some(next) = kind.object(next) else { continue };
        let name = *u.choose(&["a", "b", "kubectl"])?;
        if u.arbitrary()? {
            let before = Before::Stored(live.managed.as_deref());
            let managed = soon("an update", || match updated(&context, before, &live.object, &next, name) {
                Updated::Same => live.managed.clone(),
                Updated::New(managed) => managed,
            });
            live = Live { object: next, managed };
        } else {
            let force = if u.arbitrary()? { Force::Yes } else { Force::No };
            let once = soon("an apply", || apply(&context, live.managed.as_deref(), &live.object, &next, (name, force)));
            let Ok(once) = once else { continue };
            let twice = apply(&context, once.managed.as_deref(), &once.object, &next, (name, Force::No));
            let twice = twice.expect("what is owned can be applied again");
            assert_eq!(twice.object, once.object, "{next}");
            assert!(twice.same_owners, "{:?}\n{:?}", once.managed, twice.managed);
            live = Live { object: once.object, managed: once.managed };
        }
        if let Some(text) = &live.managed {
            managed_fields(text);
            assert_eq!(Managed::stored(text).to_json().as_ref(), Some(text));
        }
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    if is_text(data) {
        sent(data);
    } else {
        let _ = played(data);
    }
});
