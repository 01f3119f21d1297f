//! `resource.Quantity`: exact amounts such as `500m`, `1.5Gi` or `12e6`, kept in billionths (nano).
//!
//! Every input is bounded: amounts with binary suffixes beyond ±(2^63 − 1) are capped and finer than a billionth rounded away
//! from zero, both as Kubernetes does. Decimal ones, which Kubernetes does not cap, are capped at 10^28.

mod spelling;

pub use spelling::Format;
use spelling::{Parts, Rounding, Scale};

use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

const NANO: i128 = 1_000_000_000;
/// The most that a binary suffix makes.
const MAX_BINARY: i128 = i64::MAX as i128 * NANO;
/// The most that there is: sums of two fit their type.
const MAX_NANOS: i128 = 10_i128.pow(37);
/// Significant digits that are read; later ones only decide the rounding.
const DIGITS_DECIMAL: usize = 28;
const DIGITS_BINARY: usize = 19;

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// An exact amount. Two quantities are equal when their amounts are, whatever their format.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    #[must_use]
    pub fn from_int(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANO, format: Format::DecimalSi }.capped()
    }

    #[must_use]
    pub fn from_millis(value: i64) -> Self {
        Self { nanos: i128::from(value) * (NANO / 1000), format: Format::DecimalSi }
    }

    /// An amount of bytes, printed with `Ki`, `Mi`, ….
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Self {
        Self { nanos: i128::from(bytes) * NANO, format: Format::BinarySi }.capped()
    }

    /// Reads the text of a quantity.
    ///
    /// # Errors
    /// A text that is not a number with one of the known suffixes.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let parts = Parts::of(text)?;
        let magnitude = magnitude(&parts);
        Ok(Self { nanos: if parts.negative { -magnitude } else { magnitude }, format: parts.format })
    }

    /// Reads a JSON value: a text, blanks around it or not, or a plain number as YAML authors write it.
    ///
    /// # Errors
    /// As `parse`.
    pub fn from_value(value: &Value) -> Result<Self, ParseError> {
        match value {
            Value::String(text) => Self::parse(text.trim()),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => Err(ParseError::Format),
        }
    }

    #[must_use]
    pub const fn nanos(self) -> i128 {
        self.nanos
    }

    #[must_use]
    pub const fn format(self) -> Format {
        self.format
    }

    /// The amount rounded away from zero to whole units.
    #[must_use]
    pub fn value(self) -> i64 {
        self.scaled(NANO)
    }

    /// The amount rounded away from zero to thousandths, in thousandths.
    #[must_use]
    pub fn milli_value(self) -> i64 {
        self.scaled(NANO / 1000)
    }

    fn scaled(self, unit: i128) -> i64 {
        let rest = if self.nanos % unit == 0 { 0 } else { self.nanos.signum() };
        let away = self.nanos / unit + rest;
        i64::try_from(away).unwrap_or(if away < 0 { i64::MIN } else { i64::MAX })
    }

    #[must_use]
    pub const fn is_integer(self) -> bool {
        self.nanos % NANO == 0
    }

    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// The amount away from zero to whole thousandths: the finest that resource lists keep.
    #[must_use]
    pub fn round_up_to_milli(self) -> Self {
        let unit = NANO / 1000;
        let rest = self.nanos % unit;
        let nanos = if rest == 0 { self.nanos } else { self.nanos - rest + unit * self.nanos.signum() };
        Self { nanos, ..self }
    }

    fn capped(self) -> Self {
        Self { nanos: self.nanos.clamp(-MAX_NANOS, MAX_NANOS), ..self }
    }

    fn decimal(self) -> (i128, i32) {
        if self.nanos == 0 {
            return (0, 0);
        }
        let (mut mantissa, mut exponent) = (self.nanos, -9);
        while mantissa % 1000 == 0 {
            mantissa /= 1000;
            exponent += 3;
        }
        (mantissa, exponent)
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;
    /// The sum; it keeps the left side's format unless that is zero, as `Quantity.Add` does.
    fn add(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos + other.nanos, format }.capped()
    }
}

impl std::ops::Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos - other.nanos, format }.capped()
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The canonical text: no fraction, the largest suffix that keeps the amount exact.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.nanos / NANO;
        if self.format == Format::BinarySi && self.is_integer() && whole.abs() >= 1024 {
            let (mut mantissa, mut power) = (whole, 0);
            while mantissa % 1024 == 0 && power < 6 {
                mantissa /= 1024;
                power += 1;
            }
            return write!(f, "{mantissa}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]);
        }
        let (mantissa, exponent) = self.decimal();
        match (self.format, exponent) {
            (_, 0) => write!(f, "{mantissa}"),
            (Format::DecimalExponent, e) => write!(f, "{mantissa}e{e}"),
            (_, -9) => write!(f, "{mantissa}n"),
            (_, -6) => write!(f, "{mantissa}u"),
            (_, -3) => write!(f, "{mantissa}m"),
            (_, 3) => write!(f, "{mantissa}k"),
            (_, 6) => write!(f, "{mantissa}M"),
            (_, 9) => write!(f, "{mantissa}G"),
            (_, 12) => write!(f, "{mantissa}T"),
            (_, 15) => write!(f, "{mantissa}P"),
            (_, 18) => write!(f, "{mantissa}E"),
            (_, e) => write!(f, "{mantissa}e{e}"),
        }
    }
}

/// The nanos of an unsigned decimal number times its scale.
fn magnitude(parts: &Parts<'_>) -> i128 {
    let limit = match parts.scale {
        Scale::Ten(_) => DIGITS_DECIMAL,
        Scale::Two(_) => DIGITS_BINARY,
    };
    let (mut mantissa, mut taken, mut exponent, mut lost) = (0_i128, 0_usize, 9_i64, false);
    let whole = parts.whole.bytes().map(|byte| (byte, 0));
    for (byte, places) in whole.chain(parts.fraction.bytes().map(|byte| (byte, 1))) {
        let digit = i128::from(byte - b'0');
        if taken >= limit {
            lost |= digit != 0;
            exponent += 1 - places;
            continue;
        }
        mantissa = mantissa * 10 + digit;
        taken += usize::from(mantissa != 0);
        exponent -= places;
    }
    if mantissa == 0 {
        return i128::from(lost);
    }
    let mantissa = match parts.scale {
        Scale::Ten(e) => {
            exponent += i64::from(e);
            mantissa
        }
        Scale::Two(bits) => mantissa << bits,
    };
    let nanos = if exponent >= 0 {
        let power = u32::try_from(exponent).ok().and_then(|e| 10_i128.checked_pow(e));
        power.and_then(|p| mantissa.checked_mul(p)).unwrap_or(MAX_NANOS)
    } else {
        match u32::try_from(-exponent).ok().and_then(|e| 10_i128.checked_pow(e)) {
            Some(divisor) => mantissa / divisor + i128::from(mantissa % divisor != 0 || lost),
            None => 1,
        }
    };
    nanos.min(if parts.format == Format::BinarySi { MAX_BINARY } else { MAX_NANOS })
}

/// The text of a quantity as Kubernetes shows what it has read; `None` where it is none.
#[must_use]
pub fn written(value: &Value) -> Option<Cow<'_, str>> {
    spelt(value, Rounding::Nothing)
}

/// The same in a resource list, whose amounts are rounded up to thousandths.
#[must_use]
pub fn written_in_list(value: &Value) -> Option<Cow<'_, str>> {
    spelt(value, Rounding::Milli)
}

fn spelt(value: &Value, rounding: Rounding) -> Option<Cow<'_, str>> {
    let text = match value {
        Value::String(text) => Cow::Borrowed(text.trim()),
        Value::Number(number) => Cow::Owned(number.to_string()),
        _ => return None,
    };
    if Parts::of(&text).ok()?.stays(rounding) {
        return Some(text);
    }
    let quantity = Quantity::parse(&text).ok()?;
    let rounded = if rounding == Rounding::Milli { quantity.round_up_to_milli() } else { quantity };
    Some(rounded.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_become_canonical() {
        for (input, output) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("0.0", "0"),
            ("1", "1"),
            ("+1", "1"),
            ("-1", "-1"),
            ("1000m", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1.5", "1500m"),
            ("1500m", "1500m"),
            ("0.1", "100m"),
            ("100", "100"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("12000", "12k"),
            ("2500000", "2500k"),
            ("1Ki", "1Ki"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1023", "1023"),
            ("1000Ki", "1000Ki"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("129M", "129M"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1E", "1E"),
            ("12E", "12E"),
            ("1e-3", "1e-3"),
            ("123Mi", "123Mi"),
            ("0.0000000001", "1n"),
            ("1u", "1u"),
            ("1e400", "10e27"),
            ("-", "0"),
            (".", "0"),
            ("Mi", "0"),
            ("1e-400", "1e-9"),
            ("0.1Ki", "102400m"),
            ("1.1Ki", "1126400m"),
            ("8Ei", "9223372036854775807"),
            ("00000000000000000000000000000000000000001", "1"),
            ("10Ei", "9223372036854775807"),
        ] {
            let quantity = Quantity::parse(input).unwrap_or_else(|e| panic!("{input}: {e}"));
            assert_eq!(quantity.to_string(), output, "{input}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "1.2.3",
            "1 ",
            " 1",
            "1x",
            "1mi",
            "1KiB",
            "1e",
            "1e1.5",
            "1i",
            "--1",
            "1-",
            "é",
            "1é",
            "NaN",
            "1e99999999999999999999",
            "1e5m",
        ] {
            assert!(Quantity::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Quantity::parse("1Kii"), Err(ParseError::Suffix));
        assert_eq!(Quantity::parse("1x"), Err(ParseError::Format));
    }

    #[test]
    fn texts_that_go_takes_for_canonical_stay() {
        for (input, anywhere, in_list) in [
            ("1.125", "1.125", "1.125"),
            ("1.5", "1500m", "1500m"),
            ("+1", "+1", "+1"),
            ("01", "01", "01"),
            ("-1.125G", "-1.125G", "-1.125G"),
            ("0.125", "125m", "125m"),
            ("1.000", "1", "1"),
            ("1.125m", "1.125m", "2m"),
            ("1E3", "1E3", "1E3"),
            ("1000m", "1", "1"),
            ("1500m", "1500m", "1500m"),
            ("100u", "100u", "1m"),
            ("+12Ki", "+12Ki", "+12Ki"),
            ("008Ki", "8Ki", "8Ki"),
            ("1024Ki", "1Mi", "1Mi"),
            ("+1Pi", "1Pi", "1Pi"),
            ("1.125Ki", "1152", "1152"),
            (" 1 ", "1", "1"),
            ("1234567890123456789.125", "1234567890123456789125m", "1234567890123456789125m"),
        ] {
            let value = Value::from(input);
            assert_eq!(written(&value).as_deref(), Some(anywhere), "{input}");
            assert_eq!(written_in_list(&value).as_deref(), Some(in_list), "{input} in a list");
        }
        assert_eq!(written(&serde_json::json!(1.125)).as_deref(), Some("1.125"));
        assert_eq!((written(&Value::Null), written(&"x".into())), (None, None));
    }

    #[test]
    fn values_round_away_from_zero() {
        let quantity = |text| Quantity::parse(text).unwrap();
        assert_eq!((quantity("1.1").value(), quantity("1.0001").milli_value()), (2, 1001));
        assert_eq!((quantity("-1.1").value(), quantity("-1.0001").milli_value()), (-2, -1001));
        assert_eq!((quantity("-2").value(), quantity("128Mi").value()), (-2, 134_217_728));
        assert_eq!(quantity("100u").round_up_to_milli().to_string(), "1m");
        assert_eq!((quantity("1Gi") - quantity("512Mi")).to_string(), "512Mi");
        assert_eq!((Quantity::ZERO + quantity("1Gi")).to_string(), "1Gi");
        assert!(quantity("1Ki") > quantity("1k") && quantity("1000m") == quantity("1"));
        assert_eq!(Quantity::from_bytes(3 << 20).to_string(), "3Mi");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_canonical_texts_stay(text in "[-+]?[0-9]{0,40}[.]?[0-9]{0,40}(|n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[-+]?[0-9]{1,4})") {
            if let Ok(quantity) = Quantity::parse(&text) {
                let canonical = quantity.to_string();
                let again = Quantity::parse(&canonical).unwrap();
                prop_assert_eq!(again, quantity);
                prop_assert_eq!(again.to_string(), canonical);
            }
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,30}") {
            let _ = Quantity::parse(&text);
        }
    }
}
