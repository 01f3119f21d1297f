//! The syntax of a CronJob's schedule (`robfig/cron`'s standard parser): checked here, run by the controller.

/// `(name, lowest, highest)` of the five fields.
const FIELDS: [(&str, u32, u32); 5] =
    [("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6)];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Checks a schedule.
///
/// # Errors
/// What is wrong, as the parser words it.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    // The parser knows zones, which a CronJob says elsewhere.
    let zone = schedule.strip_prefix("TZ=").or_else(|| schedule.strip_prefix("CRON_TZ="));
    if let Some((zone, rest)) = zone.and_then(|zone| zone.split_once(' ')) {
        return match jiff::tz::TimeZone::get(zone) {
            Err(_) if !zone.is_empty() => Err(format!("provided bad location {zone}: unknown time zone {zone}")),
            _ => check_fields(rest.trim()),
        };
    }
    check_fields(schedule)
}

fn check_fields(schedule: &str) -> Result<(), String> {
    if let Some(descriptor) = schedule.strip_prefix('@') {
        return check_descriptor(schedule, descriptor);
    }
    let fields: Vec<&str> = schedule.split_whitespace().take(64).collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (i, (field, (_, low, high))) in fields.iter().zip(FIELDS).enumerate() {
        for part in field.split(',').filter(|p| !p.is_empty()) {
            check_range(part, low, high, i)?;
        }
    }
    Ok(())
}

fn check_descriptor(schedule: &str, descriptor: &str) -> Result<(), String> {
    let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
    if known.contains(&descriptor) {
        return Ok(());
    }
    match descriptor.strip_prefix("every ") {
        Some(duration) if is_duration(duration) => Ok(()),
        Some(duration) => Err(format!("failed to parse duration {schedule}: time: invalid duration {duration:?}")),
        None => Err(format!("unrecognized descriptor: {schedule}")),
    }
}

/// Go's duration syntax: `1h30m`, `1.5s`.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        if digits == 0 || !rest.as_bytes()[..digits].iter().any(u8::is_ascii_digit) {
            return false;
        }
        rest = &rest[digits..];
        let Some(unit) = ["ns", "us", "ms", "s", "m", "h"].iter().find(|u| rest.starts_with(**u)) else { return false };
        rest = &rest[unit.len()..];
    }
    !text.is_empty()
}

/// `*`, `?`, `n`, `n-m`, each with an optional `/step`.
fn check_range(part: &str, low: u32, high: u32, field: usize) -> Result<(), String> {
    let mut pieces = part.split('/');
    let (range, step, more) = (pieces.next().unwrap_or_default(), pieces.next(), pieces.next());
    if more.is_some() {
        return Err(format!("too many slashes: {part}"));
    }
    let mut bounds = range.split('-');
    let (first, last) = (bounds.next().unwrap_or_default(), bounds.next());
    if bounds.next().is_some() {
        return Err(format!("too many hyphens: {part}"));
    }
    let (start, mut end) = if matches!(first, "*" | "?") { (low, high) } else { (number(first, field)?, 0) };
    if !matches!(first, "*" | "?") {
        end = match last {
            Some(last) => number(last, field)?,
            None if step.is_some() => high,
            None => start,
        };
    }
    if let Some(step) = step
        && number(step, usize::MAX)? == 0
    {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    if start < low {
        return Err(format!("beginning of range ({start}) below minimum ({low}): {part}"));
    }
    if end > high {
        return Err(format!("end of range ({end}) above maximum ({high}): {part}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}"));
    }
    Ok(())
}

fn number(text: &str, field: usize) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    let named = match field {
        3 => MONTHS.iter().position(|m| *m == lower).map(|i| i + 1),
        4 => DAYS.iter().position(|d| *d == lower),
        _ => None,
    };
    if let Some(index) = named {
        return Ok(u32::try_from(index).unwrap_or(0));
    }
    text.parse().map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn schedules_are_checked_as_cron_does() {
        for good in ["* * * * *", "*/5 0-6,12 1 jan-dec MON", "@daily", "@every 1h30m", "0 0 ? * 0"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "* * * * 7",
            "5-1 * * * *",
            "*/0 * * * *",
            "1/2/3 * * * *",
            "@never",
            "@every x",
            "a * * * *",
            "1-2-3 * * * *",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert_eq!(check("TZ=UTC * * * * *"), Ok(()));
        let unknown = "provided bad location Mars/X: unknown time zone Mars/X";
        assert_eq!(check("CRON_TZ=Mars/X * * * * *").unwrap_err(), unknown);
        assert_eq!(check("* *").unwrap_err(), "expected exactly 5 fields, found 2: [* *]");
        assert_eq!(check("61 * * * *").unwrap_err(), "end of range (61) above maximum (59): 61");
    }
}
