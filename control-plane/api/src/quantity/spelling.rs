//! How a quantity is spelt: its parts, and whether Kubernetes shows it again as it was written.
//!
//! Go keeps the text of a quantity that it takes for canonical, and its test for that is a quick one: `1.125`, `+1` and `033k`
//! pass it. What does not pass is written anew.

use super::ParseError;

/// What a suffix multiplies by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Ten(i32),
    Two(u32),
}

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

/// A text, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub negative: bool,
    /// Digits before the point without leading zeros; `0` where there are none.
    pub whole: &'a str,
    /// Digits behind it.
    pub fraction: &'a str,
    pub scale: Scale,
    pub format: Format,
}

/// What is done to a quantity before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    Nothing,
    /// Amounts of resource lists are rounded up to thousandths.
    Milli,
}

/// Digits of which Go says that they fit an `i64`, whatever they are.
const DIGITS: usize = 18;

impl<'a> Parts<'a> {
    /// # Errors
    /// A text that Go's `ParseQuantity` refuses. It needs no digits: `Mi` is nothing.
    pub(super) fn of(text: &'a str) -> Result<Self, ParseError> {
        if text.is_empty() {
            return Err(ParseError::Format);
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, rest) = digits(unsigned.trim_start_matches('0'));
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
        let (scale, format) = scale(suffix)?;
        let whole = if whole.is_empty() { "0" } else { whole };
        Ok(Self { negative: text.starts_with('-'), whole, fraction, scale, format })
    }

    /// Whether the text stays as it is.
    pub(super) fn stays(&self, rounding: Rounding) -> bool {
        let length = self.whole.len() + self.fraction.len();
        match self.scale {
            Scale::Two(bits) => {
                let lost = bits as usize * 3 / 10;
                // A multiple of eight may be one of 1024.
                self.fraction.is_empty()
                    && length + lost < 15
                    && self.whole.parse::<u64>().is_ok_and(|whole| whole % 8 != 0)
            }
            Scale::Ten(exponent) => {
                let Some(power) = i32::try_from(self.fraction.len()).ok().map(|places| exponent - places) else {
                    return false;
                };
                let finest = if rounding == Rounding::Milli { -3 } else { -9 };
                let zeros =
                    self.fraction.bytes().rev().chain(self.whole.bytes().rev()).take_while(|b| *b == b'0').count();
                length <= DIGITS && power >= finest && power % 3 == 0 && zeros < 3 && !self.whole.starts_with('0')
            }
        }
    }
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()))
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
            // Letters, a sign, digits: then at least the form is right.
            let exponent = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
            let (_, rest) = digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent));
            if !rest.is_empty() {
                return Err(ParseError::Format);
            }
            let digits = suffix.strip_prefix(['e', 'E']).ok_or(ParseError::Suffix)?;
            let exponent: i64 = digits.parse().map_err(|_| ParseError::Suffix)?;
            // Beyond these every amount is nothing, capped or a billionth, and the residue by three is all that matters.
            let near = if exponent.abs() > 900 { exponent.signum() * (900 + exponent.abs() % 3) } else { exponent };
            Ok((Scale::Ten(i32::try_from(near).unwrap_or(0)), Format::DecimalExponent))
        }
    }
}
