//! The walk to the values that rules in CEL are asked of.

use super::{Before, MAX_ERRORS};
use crate::crd::rules::{Change, Judged, Told};
use crate::field::Path;
use crate::schema::{Schema, Shape};
use serde_json::Value;
use std::ops::ControlFlow;

/// Asks the rules of a value and of all below it. Break: the budget is used up.
pub(super) fn walk(
    schema: &Schema,
    judged: Judged<'_>,
    at: &Path<'_>,
    budget: &mut u64,
    told: &mut Told,
) -> ControlFlow<()> {
    let Some(rules) = schema.rules.as_deref().filter(|rules| rules.has_programs) else {
        return ControlFlow::Continue(());
    };
    if judged.this.is_null() || told.errors.len().max(told.warnings.len()) >= MAX_ERRORS {
        return ControlFlow::Continue(());
    }
    let Judged { this, old, change } = judged;
    let change = match change {
        Change::Root => Change::Changed,
        Change::Changed if old == Some(this) => Change::Same,
        change => change,
    };
    if let Some(programs) = rules.checks.as_ref().and_then(|checks| checks.programs.as_ref()) {
        programs.evaluate(&Judged { this, old, change }, at, budget, told)?;
    }
    // What cannot be correlated is the same where what holds it is.
    let below = |this, old| Judged { this, old, change };
    let before = |name: &str| old.and_then(|old| old.get(name));
    match (&schema.shape, this) {
        (Shape::Object(object), Value::Object(map)) => {
            for (name, item) in map {
                if let Some(field) = object.field(name) {
                    walk(field, below(item, before(name)), &at.child(name), budget, told)?;
                }
            }
        }
        (Shape::Map(values), Value::Object(map)) => {
            for (key, item) in map {
                walk(values, below(item, before(key)), &at.key(key), budget, told)?;
            }
        }
        (Shape::List(items), Value::Array(list)) => {
            let before = Before::of(schema, old);
            for (index, item) in list.iter().enumerate() {
                walk(items, below(item, before.find(schema, item)), &at.index(index), budget, told)?;
            }
        }
        _ => {}
    }
    ControlFlow::Continue(())
}
