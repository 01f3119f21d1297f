//! The way from client-side apply to server-side apply and back: kubectl's annotation with what it applied last
//! (`lastappliedmanager.go`, `lastappliedupdater.go`).

use super::patch::Refused;
use super::set::Set;
use super::{Comparison, Context, fields_of, validate};
use crate::meta;
use serde_json::Value;

/// kubectl's annotation.
pub const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The conflicts that stay. Those about fields that kubectl itself applied from the client, and that nobody has changed
/// since, are none.
pub(super) fn disallowed(context: &Context<'_>, refused: Refused, live: &Value) -> Refused {
    let Some(allowed) = allowed(context, live) else { return refused };
    if refused.set.difference(&allowed).is_empty() {
        return Refused { conflicts: Vec::new(), set: Set::default() };
    }
    let texts = allowed.texts();
    let conflicts = refused.conflicts.into_iter().filter(|conflict| !texts.contains(&conflict.path)).collect();
    Refused { conflicts, set: refused.set }
}

/// The fields of the annotation that the live object still has as they were applied.
fn allowed(context: &Context<'_>, live: &Value) -> Option<Set> {
    let text = meta::annotation(live, ANNOTATION).filter(|text| !text.is_empty())?;
    let (last, _) = crate::decode::json(text.as_bytes(), crate::decode::Limits::default()).ok()?;
    if last.get("apiVersion").and_then(Value::as_str) != Some(context.api_version) {
        return None;
    }
    let schema = context.versions.schema(context.api_version);
    if !validate(schema, &last).is_empty() {
        return None;
    }
    let other = Comparison::of(schema, &last, live);
    Some(fields_of(schema, &last).difference(&other.modified).difference(&other.added).difference(&other.removed))
}

/// Writes what was applied into the annotation, if the object has it: client-side apply can then take over again.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if meta::annotation(object, ANNOTATION).is_none_or(str::is_empty) {
        return;
    }
    let text = annotation_of(config);
    let size = |map: &serde_json::Map<String, Value>| -> usize {
        map.iter().filter(|(key, _)| *key != ANNOTATION).map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum()
    };
    let fits = meta::annotations(object).map_or(0, size) + ANNOTATION.len() + text.len() <= meta::ANNOTATIONS_MAX_BYTES;
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        if fits {
            annotations.insert(ANNOTATION.into(), text.into());
        } else {
            annotations.remove(ANNOTATION);
        }
    }
}

/// The configuration as Go encodes it, without the annotation itself.
fn annotation_of(config: &Value) -> String {
    let mut config = config.clone();
    match config.pointer_mut("/metadata/annotations") {
        Some(Value::Object(annotations)) if annotations.values().all(Value::is_string) => {
            annotations.remove(ANNOTATION);
        }
        Some(_) => {
            meta::metadata_mut(&mut config).map(|metadata| metadata.remove("annotations"));
        }
        None => {}
    }
    let text = config.to_string();
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n"
}
