//! Numbers: whether they fit their format, and multiples, as kube-openapi counts them.

use super::NOWHERE;
use crate::field::{Error, Path};
use crate::schema::{NumberFormat, Rules, Schema, Shape};
use serde_json::{Number, Value};

/// A number that its format has no room for. Kubernetes tells of it without a path.
pub(super) fn range(schema: &Schema, rules: &Rules, value: &Value, at: &Path<'_>, errors: &mut Vec<Error>) {
    let Value::Number(number) = value else { return };
    let whole = || number.as_i64().or_else(|| number.as_f64().filter(|n| n.fract() == 0.0).and_then(exact));
    let (fits, wanted) = match (&schema.shape, rules.number) {
        (Shape::Int32, _) => (whole().is_some_and(|n| i32::try_from(n).is_ok()), "integer with format int32"),
        (Shape::Int64, NumberFormat::Int64) => (whole().is_some(), "integer with format int64"),
        (Shape::Int64, _) => (whole().is_some(), "integer (default format)"),
        (Shape::Number, NumberFormat::Float) => {
            let most = f64::from(f32::MAX);
            (number.as_f64().is_none_or(|n| n.abs() <= most), "number with format float")
        }
        _ => return,
    };
    if !fits {
        let detail = format!("Checked value must be of type {wanted} in {at}");
        errors.push(Error { field: NOWHERE.into(), ..Error::invalid(at, "", detail) });
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the number is whole and within the range")]
fn exact(n: f64) -> Option<i64> {
    (n.abs() < 9.2e18).then_some(n as i64)
}

/// What is wrong with a number that should be a multiple of another. Of a whole number the other's decimals are cut off.
pub(super) fn multiple(number: &Number, factor: &Number, at: &Path<'_>) -> Option<Error> {
    let off = |shown: String| {
        let detail = format!("{at} in body should be a multiple of {shown}");
        Some(Error::invalid(at, Value::Number(number.clone()), detail))
    };
    if let Some(number) = number.as_i64() {
        let cut = factor.as_i64().or_else(|| factor.as_f64().map(f64::trunc).and_then(exact)).unwrap_or_default();
        if cut <= 0 {
            let detail = format!("factor MultipleOf declared for {at} must be positive: {cut}");
            return Some(Error::invalid(at, cut, detail));
        }
        return if number % cut == 0 { None } else { off(cut.to_string()) };
    }
    let quotient = number.as_f64().unwrap_or_default() / factor.as_f64().unwrap_or(1.0);
    if quotient.fract() == 0.0 { None } else { off(factor.to_string()) }
}
