//! How long history is kept, and how people write it down.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long history is kept. A revision stays as long as `age` or `revisions` wants it, but never
/// beyond `bytes`.
///
/// As text ([`FromStr`]): parts separated by commas, each at most once, in any order.
///
/// | part | sets | when absent |
/// |---|---|---|
/// | `90s`, `5m`, `24h`, `7d` (also `ms`) | `age` | zero: age keeps nothing |
/// | `10000rev` | `revisions` | zero: the number keeps nothing |
/// | `512MiB` (also `B`, `KiB`, `GiB`) | `bytes` | 512 MiB |
///
/// An age or a number of revisions must be there. The bytes always limit: where more is written within the age than
/// fits, history is shorter than the age says. What is not history, the objects themselves, is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryPolicy {
    /// Keep what is younger than this.
    pub age: Duration,
    /// Keep at least this many revisions, however old.
    pub revisions: u64,
    /// Never keep more than this many bytes of old revisions.
    pub bytes: u64,
    /// Of the history on disk, keep the newest part in memory up to this many bytes. Without a
    /// file it is all there is. Not part of the text.
    pub memory_bytes: usize,
}

impl Default for HistoryPolicy {
    fn default() -> Self {
        Self { age: Duration::from_secs(300), revisions: 10_000, bytes: 512 << 20, memory_bytes: 32 << 20 }
    }
}

/// Why a text is not a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryPolicyError {
    #[error("{part:?} is neither an age (5m, 24h, 7d), nor a number of revisions (10000rev), nor a size (512MiB)")]
    Part { part: String },
    #[error("{part:?} is too large")]
    TooLarge { part: String },
    #[error("{part:?} says a second time what an earlier part has said")]
    Twice { part: String },
    #[error("the size {part:?} is less than the least that works, 1MiB")]
    TooSmall { part: String },
    #[error("a history policy needs an age (5m, 24h, 7d) or a number of revisions (10000rev)")]
    Empty,
}

/// Least bytes of history: a policy below it could not keep one large object's update.
const LEAST_BYTES: u64 = 1 << 20;
/// Units of each kind, the largest first, in milliseconds and in bytes.
const AGES: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const REVISIONS: &str = "rev";

impl FromStr for HistoryPolicy {
    type Err = HistoryPolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut age, mut revisions, mut bytes) = (None, None, None);
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (number, unit) = part.split_at(part.bytes().take_while(u8::is_ascii_digit).count());
            let scaled = |scale: u64| {
                let number: u64 = number.parse().map_err(|_| match number {
                    "" => HistoryPolicyError::Part { part: part.into() },
                    _ => HistoryPolicyError::TooLarge { part: part.into() },
                })?;
                number.checked_mul(scale).ok_or_else(|| HistoryPolicyError::TooLarge { part: part.into() })
            };
            let (place, value) = if unit == REVISIONS {
                (&mut revisions, scaled(1)?)
            } else if let Some((_, scale)) = AGES.iter().find(|(name, _)| *name == unit) {
                (&mut age, scaled(*scale)?)
            } else if let Some((_, scale)) = SIZES.iter().find(|(name, _)| *name == unit) {
                (&mut bytes, scaled(*scale)?)
            } else {
                return Err(HistoryPolicyError::Part { part: part.into() });
            };
            if place.replace(value).is_some() {
                return Err(HistoryPolicyError::Twice { part: part.into() });
            }
            if bytes.is_some_and(|bytes| bytes < LEAST_BYTES) {
                return Err(HistoryPolicyError::TooSmall { part: part.into() });
            }
        }
        if age.is_none() && revisions.is_none() {
            return Err(HistoryPolicyError::Empty);
        }
        let standard = Self::default();
        Ok(Self {
            age: Duration::from_millis(age.unwrap_or(0)),
            revisions: revisions.unwrap_or(0),
            bytes: bytes.unwrap_or(standard.bytes),
            memory_bytes: standard.memory_bytes,
        })
    }
}

/// The shortest text that reads back as the same policy; `memory_bytes` apart.
impl fmt::Display for HistoryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
        let mut parts = Vec::new();
        if age > 0 || self.revisions == 0 {
            parts.push(in_units(age, AGES));
        }
        if self.revisions > 0 {
            parts.push(format!("{}{REVISIONS}", self.revisions));
        }
        if self.bytes != Self::default().bytes {
            parts.push(in_units(self.bytes, SIZES));
        }
        f.write_str(&parts.join(","))
    }
}

/// `value` in the largest unit that divides it.
fn in_units(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |scale: u64| value >= scale && value.is_multiple_of(scale);
    let unit = units.iter().find(|(_, scale)| fits(*scale)).or(units.last());
    unit.map_or_else(String::new, |(name, scale)| format!("{}{name}", value / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (u64, u64, u64) {
        let policy: HistoryPolicy = text.parse().unwrap();
        (policy.age.as_secs(), policy.revisions, policy.bytes >> 20)
    }

    #[test]
    fn each_form_sets_what_it_names() {
        assert_eq!(parsed("5m"), (300, 0, 512));
        assert_eq!(parsed("24h"), (86_400, 0, 512));
        assert_eq!(parsed("7d"), (604_800, 0, 512));
        assert_eq!(parsed("10000rev"), (0, 10_000, 512));
        assert_eq!(parsed("24h,10000rev"), (86_400, 10_000, 512));
        assert_eq!(parsed(" 2GiB, 100rev ,90s"), (90, 100, 2_048));
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["5m", "24h,10000rev", "7d,2GiB", "90s,1rev", "1500ms", "12rev,1537KiB"] {
            let policy: HistoryPolicy = text.parse().unwrap();
            let shown = policy.to_string();
            assert_eq!(shown.parse(), Ok(policy), "{text} became {shown}");
        }
        assert_eq!(HistoryPolicy::default().to_string(), "5m,10000rev");
        assert_eq!("24h,10000rev".parse::<HistoryPolicy>().unwrap().to_string(), "1d,10000rev");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |text: &str| text.parse::<HistoryPolicy>().unwrap_err().to_string();
        assert!(refused("5 m").starts_with("\"5 m\" is neither an age"));
        assert!(refused("m").starts_with("\"m\" is neither"));
        assert!(refused("-5m").starts_with("\"-5m\" is neither"));
        assert!(refused("5").starts_with("\"5\" is neither"));
        assert!(refused("5M").starts_with("\"5M\" is neither"));
        assert_eq!(refused("99999999999999999999rev"), "\"99999999999999999999rev\" is too large");
        assert_eq!(refused("999999999999999999d"), "\"999999999999999999d\" is too large");
        assert_eq!(refused("5m,1h"), "\"1h\" says a second time what an earlier part has said");
        assert_eq!(refused("5m,10KiB"), "the size \"10KiB\" is less than the least that works, 1MiB");
        assert!(refused("").starts_with("a history policy needs an age"));
        assert!(refused("512MiB").starts_with("a history policy needs an age"));
    }
}
