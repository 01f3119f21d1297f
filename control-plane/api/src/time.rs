//! Times as the API writes them (`metav1.Time`, `metav1.MicroTime`) and ages as kubectl prints them.

mod rfc3339;

pub use rfc3339::{Moment, Precision};

use jiff::{SignedDuration, Timestamp};

/// `metav1.Time`: RFC 3339 in UTC with whole seconds, `2026-01-02T03:04:05Z`.
#[must_use]
pub fn format(time: Timestamp) -> String {
    format!("{:.0}", floor_seconds(time))
}

fn floor_seconds(time: Timestamp) -> Timestamp {
    let nanos = time.as_nanosecond().rem_euclid(1_000_000_000);
    Timestamp::from_nanosecond(time.as_nanosecond() - nanos).unwrap_or(time)
}

/// `metav1.MicroTime`: always six decimals, `2026-01-02T03:04:05.000000Z`.
#[must_use]
pub fn format_micro(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// Reads RFC 3339 as `metav1.Time` does, with its decimals; `None` for anything else. What is later than the library's last
/// moment, in the last hours of the year 9999, is that moment.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    Moment::parse(text, Precision::Seconds).ok().map(Moment::timestamp)
}

/// kubectl's AGE between two moments: `human_duration` of `now - then`, `<unknown>` for an absent time.
#[must_use]
pub fn age(then: Option<&str>, now: Timestamp) -> String {
    match then.and_then(parse) {
        Some(then) => human_duration(now.duration_since(then)),
        None => "<unknown>".into(),
    }
}

/// `duration.HumanDuration`: `45s`, `3m12s`, `90m`, `3h4m`, `20h`, `3d4h`, `20d`, `2y30d`, `9y`.
#[must_use]
pub fn human_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    // Two clocks may differ a little: a slightly negative age is zero.
    if seconds < -1 {
        return "<invalid>".into();
    }
    if seconds < 0 {
        return "0s".into();
    }
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |big: i64, big_unit: char, small: i64, small_unit: char| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        pair(minutes, 'm', seconds % 60, 's')
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        pair(hours, 'h', minutes % 60, 'm')
    } else if hours < 48 {
        format!("{hours}h")
    } else if hours < 24 * 8 {
        pair(days, 'd', hours % 24, 'h')
    } else if hours < 24 * 365 * 2 {
        format!("{days}d")
    } else if hours < 24 * 365 * 8 {
        pair(days / 365, 'y', days % 365, 'd')
    } else {
        format!("{}y", days / 365)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_in_kubectl() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (599, "9m59s"),
            (600, "10m"),
            (179 * 60 + 59, "179m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"),
            (8 * 3600 + 3599, "8h"),
            (47 * 3600, "47h"),
            (48 * 3600, "2d"),
            (76 * 3600, "3d4h"),
            (8 * 86_400, "8d"),
            (729 * 86_400, "729d"),
            (730 * 86_400, "2y"),
            (760 * 86_400, "2y30d"),
            (8 * 365 * 86_400, "8y"),
        ] {
            assert_eq!(human_duration(SignedDuration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn only_rfc_3339_is_a_time() {
        for good in ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456789+05:30", "2026-01-02T03:04:05-00:00"] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in [
            "2026-01-02T03:04:60Z",
            "2026-01-02T03:04:05z",
            "2026-01-02t03:04:05Z",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04:05+0100",
            "2026-01-02T03:04:05+25:00",
            "2026-01-02T03:04:05",
            "2026-01-02",
            "Z",
            "",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn times_are_written_as_kubernetes_writes_them() {
        let time: Timestamp = "2026-01-02T03:04:05.987654321Z".parse().unwrap();
        assert_eq!(format(time), "2026-01-02T03:04:05Z");
        assert_eq!(format_micro(time), "2026-01-02T03:04:05.987654Z");
        assert_eq!(format_micro(floor_seconds(time)), "2026-01-02T03:04:05.000000Z");
        assert_eq!(parse("2026-01-02T04:04:05+01:00").map(format).as_deref(), Some("2026-01-02T03:04:05Z"));
        for bad in ["", "2026-01-02", "yesterday", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05+01:00[Europe/Paris]"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
