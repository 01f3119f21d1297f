//! Built-in kinds: whatever fits a kind's schema can be defaulted (once is enough), judged, compared with another, indexed
//! and printed.
#![no_main]

use api::table::{self, IncludeObject};
use api::{Kinds, Resource, meta, schema};
use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use skiff_fuzz::{altered, documents, is_text, shaped, soon};
use std::sync::{Arc, LazyLock};

static ROWS: LazyLock<Vec<Arc<Resource>>> = LazyLock::new(|| Kinds::builtin().iter().cloned().collect());

fn settled(row: &Resource, mut object: Value) -> Option<Value> {
    let map = object.as_object_mut()?;
    map.insert("apiVersion".into(), row.api_version().into());
    map.insert("kind".into(), row.kind.clone().into());
    row.check(&object).ok()?;
    schema::prune(row.schema.get(), &mut object);
    let mut pruned = object.clone();
    schema::prune(row.schema.get(), &mut pruned);
    assert_eq!(pruned, object, "pruned twice");
    row.strategy.default(&mut object);
    let mut again = object.clone();
    row.strategy.default(&mut again);
    assert_eq!(again, object, "defaulted twice");
    assert!(row.check(&object).is_ok(), "defaults fit the schema: {:?} {object}", row.check(&object));
    Some(object)
}

fn tried(row: &Resource, object: Value, old: Value) {
    let (Some(mut object), Some(old)) = (settled(row, object), settled(row, old)) else { return };
    soon("a kind's rules", || {
        let strategy = &row.strategy;
        let mut created = object.clone();
        strategy.prepare_create(&mut created);
        let mut errors = strategy.validate(&created);
        errors.extend(meta::validate_create(row, &created));
        let mut updated = object.clone();
        strategy.prepare_update(&mut updated, &old);
        errors.extend(strategy.validate_change(&updated, &old));
        errors.extend(meta::validate_update(row, &updated, &old));
        assert!(row.check(&created).is_ok() && row.check(&updated).is_ok());
        let mut status = object.clone();
        strategy.prepare_status_update(&mut status, &old);
        errors.extend(strategy.validate_status_update(&status, &old));
        for sub in &row.subresources {
            let mut part = object.clone();
            strategy.prepare_subresource_update(&sub.name, &mut part, &old);
            errors.extend(strategy.validate_subresource_update(&sub.name, &part, &old));
        }
        assert!(errors.len() < 100_000);
        let _: Vec<String> = errors.iter().take(50).map(ToString::to_string).collect();
        let _ = strategy.warnings(&object);
        let _ = strategy.fields(&object);
        let _ = strategy.deletion_grace_seconds(&object, None);
        let context = table::Context::at(Default::default());
        let printed = table::row(row, &object, &context, IncludeObject::Metadata);
        let cells = printed["cells"].as_array().map_or(0, Vec::len);
        assert_eq!(cells, table::definitions(row).len(), "{printed}");
        meta::bump_generation(&mut object, &old);
    });
}

fn made(data: &[u8]) -> arbitrary::Result<()> {
    let mut u = Unstructured::new(data);
    let row = u.choose(&ROWS)?;
    let old = shaped(&mut u, row.schema.get(), 0)?;
    let new = altered(&mut u, &old, 0)?;
    tried(row, new, old);
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    if !is_text(data) {
        let _ = made(data);
        return;
    }
    let [object, old] = documents::<2>(data);
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    if let Some(row) = ROWS.iter().find(|row| row.kind == text("kind") && row.api_version() == text("apiVersion")) {
        let old = if old.is_null() { object.clone() } else { old };
        tried(row, object, old);
    }
});
