//! From what people write for a point in history to a revision: a number, `now`, `oldest`, `-5m`, or a time.

use super::spans;
use super::{future, revision_status};
use api::Status;
use jiff::Timestamp;
use std::time::Duration;
use store::{Revision, Store};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Revision(Revision),
    Now,
    Oldest,
    Ago(Duration),
    At(Timestamp),
}

/// The revision that was the newest then.
///
/// # Errors
/// 400 for what nobody understands and for the future, 410 for what history has forgotten.
pub(super) async fn resolve(store: &Store, text: &str, now: Timestamp) -> Result<Revision, Status> {
    let stats = store.stats();
    let (oldest, current) = (stats.oldest, stats.revision);
    let when = parse(text).ok_or_else(|| {
        Status::bad_request(format!(
            "{text:?} is no point in history: give a revision (1234), a time ago (-5m, -2h, -1d), a time (2026-01-02T15:04:05Z), now or oldest"
        ))
    })?;
    let at = match when {
        When::Now => return Ok(current),
        When::Oldest => return Ok(oldest),
        When::Revision(revision) if revision > current => return Err(future(current)),
        When::Revision(revision) if revision < oldest => {
            return Err(revision_status(&store::RevisionError::Compacted { oldest }));
        }
        When::Revision(revision) => return Ok(revision),
        When::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        When::At(at) => at,
    };
    self::at(store, at).await
}

/// The revision that was the newest at `time`.
///
/// # Errors
/// 410 when history begins later.
pub(super) async fn at(store: &Store, time: Timestamp) -> Result<Revision, Status> {
    let stats = store.stats();
    let at_ms = u64::try_from(time.as_millisecond()).unwrap_or(0);
    newest_at(store, at_ms, (stats.oldest, stats.revision)).await
}

/// A time span such as `5m` or `1h30m`.
pub(super) fn ago(text: &str) -> Option<Duration> {
    duration(text)
}

/// By halves: what changed first after the middle says on which side `at_ms` lies.
async fn newest_at(store: &Store, at_ms: u64, (oldest, current): (Revision, Revision)) -> Result<Revision, Status> {
    let (mut low, mut high) = (oldest, current);
    let mut first = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match spans::first(store, middle, high).await? {
            None => high = middle,
            Some(change) if change.at_ms <= at_ms => low = change.revision,
            Some(change) => {
                first = Some(change.at_ms);
                high = middle;
            }
        }
    }
    // What the oldest revision was like is known, but not since when.
    if low == oldest && oldest > 0 && first.is_none_or(|first| at_ms < first) {
        let begins = first.map(|ms| format!(", at {}", super::documents::Moment::from_millis(ms))).unwrap_or_default();
        return Err(Status::expired(format!(
            "history does not reach back that far: it begins after revision {oldest}{begins}"
        )));
    }
    Ok(low)
}

fn parse(text: &str) -> Option<When> {
    match text {
        "now" => return Some(When::Now),
        "oldest" => return Some(When::Oldest),
        _ => {}
    }
    if let Ok(revision) = text.parse() {
        return Some(When::Revision(revision));
    }
    if let Some(ago) = duration(text.strip_prefix('-').unwrap_or(text)) {
        return Some(When::Ago(ago));
    }
    text.parse().ok().map(When::At)
}

/// `5m`, `1h30m`, `2d`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        let mut after = rest[digits..].chars();
        let unit = match after.next()? {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(Duration::from_secs(unit).checked_mul(number)?)?;
        rest = after.as_str();
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_history_are_numbers_and_times() {
        assert_eq!(parse("17"), Some(When::Revision(17)));
        assert_eq!(parse("now"), Some(When::Now));
        assert_eq!(parse("-1h30m"), Some(When::Ago(Duration::from_secs(5_400))));
        assert_eq!(parse("2d"), Some(When::Ago(Duration::from_secs(172_800))));
        assert!(matches!(parse("2026-01-02T15:04:05Z"), Some(When::At(_))));
        for bad in ["", "-", "m", "5", "-5", "5x", "5m3", "-5é", "99999999999999999999s", "yesterday"] {
            assert!(!matches!(parse(bad), Some(When::Ago(_) | When::At(_))), "{bad}");
        }
    }
}
