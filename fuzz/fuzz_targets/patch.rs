//! JSON, merge and strategic merge patches: document, patch. Nothing is left behind by what fails, an empty patch changes
//! nothing, a merge done twice is a merge done once, and no result is larger or deeper than what is stored may be.
#![no_main]

use api::{Kinds, patch, schema::Schema};
use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use skiff_fuzz::{altered, documents, is_text, shaped, soon, value, word};
use std::sync::{Arc, LazyLock};

static SCHEMAS: LazyLock<Vec<Arc<Schema>>> = LazyLock::new(|| {
    let kinds = Kinds::builtin();
    [("", "Pod"), ("apps", "Deployment"), ("", "Service"), ("", "Node"), ("apps", "ControllerRevision")]
        .map(|(group, kind)| Arc::clone(kinds.by_kind(group, "v1", kind).unwrap().schema.get()))
        .into()
});

fn made(data: &[u8]) -> arbitrary::Result<(usize, Value, Value)> {
    let mut u = Unstructured::new(data);
    let at = u.choose_index(SCHEMAS.len())?;
    let document = shaped(&mut u, &SCHEMAS[at], 0)?;
    let patch = match u.int_in_range(0..=3)? {
        0 => shaped(&mut u, &SCHEMAS[at], 0)?,
        1 => altered(&mut u, &document, 0)?,
        2 => value(&mut u, 0)?,
        _ => (0..u.int_in_range(1..=6)?).map(|_| operation(&mut u, &document)).collect::<arbitrary::Result<_>>()?,
    };
    Ok((at, document, patch))
}

fn operation(u: &mut Unstructured<'_>, document: &Value) -> arbitrary::Result<Value> {
    let name = *u.choose(&["add", "remove", "replace", "move", "copy", "test", "nope"])?;
    let (path, from) = (pointer(u, document)?, pointer(u, document)?);
    Ok(json!({"op": name, "path": path, "from": from, "value": value(u, 3)?}))
}

/// The path of a place in the document, mostly.
fn pointer(u: &mut Unstructured<'_>, document: &Value) -> arbitrary::Result<String> {
    let (mut path, mut at) = (String::new(), document);
    for _ in 0..u.int_in_range(0..=6)? {
        let next = match at {
            Value::Object(map) if !map.is_empty() && !u.ratio(1, 8_u8)? => {
                let at = u.choose_index(map.len())?;
                map.keys().nth(at).map(|key| key.replace('~', "~0").replace('/', "~1")).unwrap_or_default()
            }
            Value::Array(list) if !u.ratio(1, 8_u8)? => u.int_in_range(0..=list.len())?.to_string(),
            Value::Array(_) => "-".into(),
            _ => word(u)?.into(),
        };
        at = at.pointer(&format!("/{next}")).unwrap_or(&Value::Null);
        path = path + "/" + &next;
    }
    Ok(path)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fuzz_target!(|data: &[u8]| {
    let (at, document, patch) = if is_text(data) {
        let [document, patch] = documents::<2>(data);
        (usize::from(*data.last().unwrap_or(&0)) % SCHEMAS.len(), document, patch)
    } else {
        let Ok(made) = made(data) else { return };
        made
    };
    if !document.is_object() {
        return;
    }
    let schema = &*SCHEMAS[at];
    let deepest = depth(&document).max(depth(&patch)).max(api::decode::MAX_DEPTH);
    let check = |result: &Result<Value, api::Status>| match result {
        Ok(result) => assert!(depth(result) <= deepest),
        Err(status) => assert!(matches!(status.code, 400 | 413 | 422 | 500), "{status:?}"),
    };
    let json_patched = soon("a JSON patch", || patch::json(&document, &patch));
    check(&json_patched);
    assert_eq!(patch::json(&document.clone(), &patch), json_patched);
    assert_eq!(patch::json(&document, &json!([])), Ok(document.clone()));

    let merged = soon("a merge patch", || patch::merge(&document, &patch));
    check(&merged);
    if let Ok(merged) = &merged {
        assert_eq!(patch::merge(merged, &patch).as_ref(), Ok(merged));
    }
    assert_eq!(patch::merge(&document, &json!({})), Ok(document.clone()));

    let strategic = soon("a strategic merge patch", || patch::strategic(schema, &document, &patch));
    check(&strategic);
    assert_eq!(patch::strategic(schema, &document, &json!({})), Ok(document.clone()));
});
