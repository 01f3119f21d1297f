//! Durations as Go writes them (`1m30s`, `250ms`), in which clients give their `timeout`.

use api::Status;
use std::time::Duration;

const UNITS: [(&str, u32); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 0),
    ("h", 0),
];
const NANOS: f64 = 1e9;

/// What is wrong with a text, in the words of Go's `time.ParseDuration`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum BadDuration {
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    #[error("time: missing unit in duration {0:?}")]
    NoUnit(String),
    #[error("time: unknown unit {1:?} in duration {0:?}")]
    UnknownUnit(String, String),
}

/// A request's `timeout` parameter; `None`: no wish of the client's (absent, empty, or not above zero).
///
/// # Errors
/// 400 for what is no duration.
pub(crate) fn timeout(text: Option<&str>) -> Result<Option<Duration>, Status> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let seconds = parse(text)
        .map_err(|error| Status::bad_request(format!("invalid timeout specified in the request URL - {error}")))?;
    Ok(Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero()))
}

/// Seconds, which may be negative.
fn parse(text: &str) -> Result<f64, BadDuration> {
    let invalid = || BadDuration::Invalid(text.to_owned());
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0.0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        if !number.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let number: f64 = if number.starts_with('.') { format!("0{number}").parse() } else { number.parse() }
            .map_err(|_| invalid())?;
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        if unit.is_empty() {
            return Err(BadDuration::NoUnit(text.to_owned()));
        }
        let (_, nanos) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| BadDuration::UnknownUnit(text.to_owned(), unit.to_owned()))?;
        seconds += number
            * match unit {
                "m" => 60.0,
                "h" => 3600.0,
                _ => f64::from(*nanos) / NANOS,
            };
        rest = after;
    }
    // Go's durations are 64 bits of nanoseconds.
    if seconds > i64::MAX as f64 / NANOS { Err(invalid()) } else { Ok(sign * seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_go() {
        let of = |text: &str| timeout(Some(text)).unwrap();
        assert_eq!(of("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(of("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(of("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(of(".5s"), Some(Duration::from_millis(500)));
        assert_eq!(of("7µs"), Some(Duration::from_micros(7)));
        for nothing in ["", "0", "0s", "-3s"] {
            assert_eq!(of(nothing), None, "{nothing:?}");
        }
        assert_eq!(timeout(None), Ok(None));
    }

    #[test]
    fn bad_durations_are_refused_in_gos_words() {
        let why = |text: &str| timeout(Some(text)).unwrap_err().message;
        let prefix = "invalid timeout specified in the request URL - time:";
        assert_eq!(why("10"), format!(r#"{prefix} missing unit in duration "10""#));
        assert_eq!(why("3 weeks"), format!(r#"{prefix} unknown unit " weeks" in duration "3 weeks""#));
        for bad in ["x", "-", ".s", "1..5s", "99999999999999999999h"] {
            assert!(why(bad).contains(&format!("invalid duration {bad:?}")), "{bad}: {}", why(bad));
        }
    }
}
