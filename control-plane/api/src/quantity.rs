//! `resource.Quantity`: exact amounts such as `500m`, `1.5Gi` or `12e6`, kept in billionths (nano).
//!
//! Every input is bounded: amounts beyond ±(2^63 − 1) are capped and finer than a billionth rounded away
//! from zero, both as Kubernetes does.

use serde_json::Value;
use std::cmp::Ordering;
use std::fmt;

const NANO: i128 = 1_000_000_000;
const MAX_NANOS: i128 = i64::MAX as i128 * NANO;
/// Significant digits that are read; later ones only decide the rounding.
const DIGITS_DECIMAL: usize = 28;
const DIGITS_BINARY: usize = 19;

/// How a quantity was written, which its canonical text keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `500m`, `2k`, `3G`.
    #[default]
    DecimalSi,
    /// `512Mi`.
    BinarySi,
    /// `12e6`.
    DecimalExponent,
}

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
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned.bytes().position(|b| !b.is_ascii_digit() && b != b'.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        if !number.bytes().any(|b| b.is_ascii_digit()) || number.bytes().filter(|b| *b == b'.').count() > 1 {
            return Err(ParseError::Format);
        }
        let (scale, format) = scale(suffix)?;
        let magnitude = magnitude(number, scale);
        Ok(Self { nanos: if negative { -magnitude } else { magnitude }, format })
    }

    /// Reads a JSON value: a text, or a plain number as YAML authors write it.
    ///
    /// # Errors
    /// As `parse`.
    pub fn from_value(value: &Value) -> Result<Self, ParseError> {
        match value {
            Value::String(text) => Self::parse(text),
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

/// What a suffix multiplies by.
#[derive(Clone, Copy)]
enum Scale {
    Ten(i32),
    Two(u32),
}

fn scale(suffix: &str) -> Result<(Scale, Format), ParseError> {
    let decimal = |e| Ok((Scale::Ten(e), Format::DecimalSi));
    let binary = |bits| Ok((Scale::Two(bits), Format::BinarySi));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let Some(digits) = suffix.strip_prefix(['e', 'E']) else {
                let known = |b: u8| b"eEinumkKMGTP+-0123456789".contains(&b);
                return Err(if suffix.bytes().all(known) { ParseError::Suffix } else { ParseError::Format });
            };
            let exponent: i64 = digits.parse().map_err(|_| ParseError::Suffix)?;
            // Beyond ±64 every amount is zero, capped or a billionth: the exact exponent does not matter.
            let exponent = i32::try_from(exponent.clamp(-64, 64)).unwrap_or(0);
            Ok((Scale::Ten(exponent), Format::DecimalExponent))
        }
    }
}

/// The nanos of an unsigned decimal number times `scale`.
fn magnitude(number: &str, scale: Scale) -> i128 {
    let limit = match scale {
        Scale::Ten(_) => DIGITS_DECIMAL,
        Scale::Two(_) => DIGITS_BINARY,
    };
    let (mut mantissa, mut taken, mut exponent, mut lost, mut fraction) = (0_i128, 0_usize, 9_i64, false, false);
    for byte in number.bytes() {
        if byte == b'.' {
            fraction = true;
            continue;
        }
        let digit = i128::from(byte - b'0');
        if taken >= limit {
            lost |= digit != 0;
            exponent += i64::from(!fraction);
            continue;
        }
        mantissa = mantissa * 10 + digit;
        taken += usize::from(mantissa != 0);
        exponent -= i64::from(fraction);
    }
    if mantissa == 0 {
        return i128::from(lost);
    }
    let mantissa = match scale {
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
    nanos.min(MAX_NANOS)
}

/// The canonical text of a quantity in a resource list, rounded up to thousandths; `None` where it is none.
#[must_use]
pub fn canonical(value: &Value) -> Option<String> {
    Quantity::from_value(value).ok().map(|q| q.round_up_to_milli().to_string())
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
            ("12E", "9223372036854775807"),
            ("1e-3", "1e-3"),
            ("123Mi", "123Mi"),
            ("0.0000000001", "1n"),
            ("1u", "1u"),
            ("1e400", "9223372036854775807"),
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
            "-",
            ".",
            "1.2.3",
            "1 ",
            " 1",
            "1x",
            "Mi",
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
        ] {
            assert!(Quantity::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Quantity::parse("1Kii"), Err(ParseError::Suffix));
        assert_eq!(Quantity::parse("1x"), Err(ParseError::Format));
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
