//! `intstr.IntOrString`: a number or a percentage of something.

use serde_json::Value;

/// Which way a percentage of a whole is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    Up,
    Down,
}

/// Why a value is neither a number nor a percentage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid value for IntOrString: {0}")]
pub struct Invalid(String);

/// A parsed `IntOrString`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOrPercent {
    Int(i64),
    Percent(i64),
}

/// Reads a number or a text such as `25%`.
///
/// # Errors
/// A message as `GetScaledValueFromIntOrPercent` words it.
pub fn parse(value: &Value) -> Result<IntOrPercent, Invalid> {
    match value {
        Value::Number(n) => n.as_i64().map(IntOrPercent::Int).ok_or_else(|| Invalid(format!("invalid value {n}"))),
        Value::String(text) => match text.strip_suffix('%') {
            Some(digits) => digits.parse::<i32>().map(|p| IntOrPercent::Percent(p.into())).map_err(|_| {
                Invalid(format!("invalid value {text:?}: strconv.Atoi: parsing {digits:?}: invalid syntax"))
            }),
            None => Err(Invalid("invalid type: string is not a percentage".into())),
        },
        _ => Err(Invalid("invalid type: neither int nor percentage".into())),
    }
}

impl IntOrPercent {
    /// The number itself, or the percentage of `total`, rounded.
    #[must_use]
    pub fn scaled(self, total: i64, rounding: Rounding) -> i64 {
        match self {
            Self::Int(n) => n,
            Self::Percent(percent) => {
                let product = i128::from(percent) * i128::from(total);
                let rounded = match rounding {
                    Rounding::Down => product.div_euclid(100),
                    Rounding::Up => -(-product).div_euclid(100),
                };
                i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
            }
        }
    }
}

/// `maxSurge` and `maxUnavailable` of a rolling update, resolved: surge rounds up, unavailable down, and
/// when both come out as 0 one pod may be unavailable, or nothing could ever move.
///
/// # Errors
/// A value that is neither a number nor a percentage.
pub fn rolling_update(surge: &Value, unavailable: &Value, desired: i64) -> Result<(i64, i64), Invalid> {
    let surge = parse(surge)?.scaled(desired, Rounding::Up);
    let unavailable = parse(unavailable)?.scaled(desired, Rounding::Down);
    Ok(if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn percentages_round_as_asked() {
        let percent = parse(&json!("25%")).unwrap();
        assert_eq!(percent.scaled(3, Rounding::Up), 1);
        assert_eq!(percent.scaled(3, Rounding::Down), 0);
        assert_eq!(percent.scaled(8, Rounding::Up), 2);
        assert_eq!(parse(&json!(7)).unwrap().scaled(3, Rounding::Up), 7);
        assert_eq!(rolling_update(&json!("25%"), &json!("25%"), 3), Ok((1, 0)));
        assert_eq!(rolling_update(&json!(0), &json!("10%"), 3), Ok((0, 1)));
    }

    #[test]
    fn hostile_values_are_refused() {
        for bad in [json!("x%"), json!("10"), json!("99999999999999%"), json!(1.5), json!(null), json!([])] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
        assert_eq!(IntOrPercent::Percent(i64::MAX).scaled(i64::MAX, Rounding::Up), i64::MAX);
    }
}
