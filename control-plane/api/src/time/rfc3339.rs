//! RFC 3339 as Go's `time.Parse` reads it and as `metav1.Time` and `metav1.MicroTime` write it: a little more than the
//! standard has, and moments on which no calendar of four digits has a day.

use jiff::Timestamp;

/// How finely a time is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// `metav1.Time`.
    Seconds,
    /// `metav1.MicroTime`, which is read with exactly six decimals.
    Micros,
}

/// A moment between the years -1 and 10000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since 1970.
    seconds: i64,
    nanos: u32,
}

/// Seconds of 400 years, after which the calendar begins anew.
const CYCLE: i64 = 146_097 * 86_400;
/// The first second of year 0, and the second after the last that the library has.
const KNOWN: std::ops::Range<i64> = -62_167_219_200..253_402_207_200;
/// 0001-01-01T00:00:00Z, which Go takes for no time.
const ZERO: i64 = -62_135_596_800;

impl Moment {
    /// # Errors
    /// What Go's parser says.
    pub fn parse(text: &str, precision: Precision) -> Result<Self, String> {
        let layout = Layout { text, precision };
        layout.read()
    }

    /// The moment of a `Timestamp` message; `None` beyond the years that can be written.
    #[must_use]
    pub fn new(seconds: i64, nanos: i64) -> Option<Self> {
        let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        let near = KNOWN.start - CYCLE / 400..KNOWN.end + CYCLE / 400;
        near.contains(&seconds).then_some(Self { seconds, nanos })
    }

    /// The nearest that the library has.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        let nanos = i32::try_from(self.nanos).unwrap_or(0);
        Timestamp::new(self.seconds, nanos).unwrap_or(if self.seconds < 0 { Timestamp::MIN } else { Timestamp::MAX })
    }

    /// As the API shows it; `None` for Go's zero, which is null.
    #[must_use]
    pub fn text(self, precision: Precision) -> Option<String> {
        let nanos = if precision == Precision::Micros { self.nanos / 1000 * 1000 } else { 0 };
        if (self.seconds, nanos) == (ZERO, 0) {
            return None;
        }
        let cycles = i64::from(self.seconds >= KNOWN.end) - i64::from(self.seconds < KNOWN.start);
        let near = Self { seconds: self.seconds - cycles * CYCLE, nanos }.timestamp();
        let text = if precision == Precision::Micros { format!("{near:.6}") } else { format!("{near:.0}") };
        if cycles == 0 {
            return Some(text);
        }
        let (year, rest) = text.split_at_checked(4)?;
        let year = year.parse::<i64>().ok()? + 400 * cycles;
        let sign = if year < 0 { "-" } else { "" };
        Some(format!("{sign}{:04}{rest}", year.abs()))
    }
}

struct Layout<'a> {
    text: &'a str,
    precision: Precision,
}

/// What is left of a text, while it is read.
struct Rest<'a> {
    layout: &'a Layout<'a>,
    bytes: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Digits {
    Two,
    OneOrTwo,
}

impl Layout<'_> {
    fn read(&self) -> Result<Moment, String> {
        let mut rest = Rest { layout: self, bytes: self.text.as_bytes() };
        let year = rest.year()?;
        rest.literal("-")?;
        let month = rest.number("01", Digits::Two, ("month", 1..=12))?;
        rest.literal("-")?;
        let day = rest.number("02", Digits::Two, ("day", 0..=99))?;
        rest.literal("T")?;
        let hour = rest.number("15", Digits::OneOrTwo, ("hour", 0..=23))?;
        rest.literal(":")?;
        let minute = rest.number("04", Digits::Two, ("minute", 0..=59))?;
        rest.literal(":")?;
        let second = rest.number("05", Digits::Two, ("second", 0..=59))?;
        let nanos = match self.precision {
            Precision::Seconds => rest.any_decimals(),
            Precision::Micros => rest.six_decimals()?,
        };
        let offset = rest.offset()?;
        if !rest.bytes.is_empty() {
            return Err(self.wrong(&format!(": extra text: {:?}", rest.text())));
        }
        // Of the three, only the day may still be none.
        let narrow = |n: i64| i8::try_from(n).unwrap_or(0);
        let date =
            i16::try_from(year).ok().and_then(|year| jiff::civil::Date::new(year, narrow(month), narrow(day)).ok());
        let date = date.ok_or_else(|| self.wrong(": day out of range"))?;
        let clock = hour * 3600 + minute * 60 + second;
        Ok(Moment { seconds: days(date) * 86_400 + clock - offset, nanos })
    }

    fn wrong(&self, why: &str) -> String {
        format!("parsing time {:?}{why}", self.text)
    }
}

impl<'a> Rest<'a> {
    fn text(&self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.bytes)
    }

    /// Go tells the whole layout, and what could not be read as which part of it.
    fn unreadable(&self, part: &str) -> String {
        let micros = if self.layout.precision == Precision::Micros { ".000000" } else { "" };
        let rest = self.text();
        self.layout.wrong(&format!(" as \"2006-01-02T15:04:05{micros}Z07:00\": cannot parse {rest:?} as {part:?}"))
    }

    fn literal(&mut self, wanted: &str) -> Result<(), String> {
        self.bytes = self.bytes.strip_prefix(wanted.as_bytes()).ok_or_else(|| self.unreadable(wanted))?;
        Ok(())
    }

    fn year(&mut self) -> Result<i64, String> {
        match self.bytes.split_at_checked(4) {
            Some((year, rest)) if year.iter().all(u8::is_ascii_digit) => {
                self.bytes = rest;
                Ok(value(year))
            }
            _ => Err(self.unreadable("2006")),
        }
    }

    fn number(
        &mut self,
        part: &str,
        digits: Digits,
        (name, range): (&str, std::ops::RangeInclusive<i64>),
    ) -> Result<i64, String> {
        let length = self.bytes.iter().take(2).take_while(|b| b.is_ascii_digit()).count();
        if length == 0 || (length == 1 && digits == Digits::Two) {
            return Err(self.unreadable(part));
        }
        let (number, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        let number = value(number);
        if !range.contains(&number) {
            return Err(self.layout.wrong(&format!(": {name} out of range")));
        }
        Ok(number)
    }

    /// A fraction that the layout does not have, of any length.
    fn any_decimals(&mut self) -> u32 {
        let [b'.' | b',', digits @ ..] = self.bytes else { return 0 };
        let length = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        if length == 0 {
            return 0;
        }
        self.bytes = &digits[length..];
        nanos(&digits[..length.min(9)])
    }

    fn six_decimals(&mut self) -> Result<u32, String> {
        let digits = match self.bytes {
            [b'.' | b',', digits @ ..] if digits.iter().take(6).filter(|b| b.is_ascii_digit()).count() == 6 => digits,
            _ => return Err(self.unreadable(".000000")),
        };
        self.bytes = &digits[6..];
        Ok(nanos(&digits[..6]))
    }

    /// Seconds east of Greenwich.
    fn offset(&mut self) -> Result<i64, String> {
        if let [b'Z', rest @ ..] = self.bytes {
            self.bytes = rest;
            return Ok(0);
        }
        let [sign @ (b'+' | b'-'), a, b, b':', c, d, rest @ ..] = self.bytes else {
            return Err(self.unreadable("Z07:00"));
        };
        if ![a, b, c, d].iter().all(|b| b.is_ascii_digit()) {
            return Err(self.unreadable("Z07:00"));
        }
        self.bytes = rest;
        let (hours, minutes) = (value(&[*a, *b]), value(&[*c, *d]));
        // Go's own comparisons: 24 hours and 60 minutes pass.
        let beyond = |what: &str| self.layout.wrong(&format!(": time zone offset {what} out of range"));
        if hours > 24 {
            return Err(beyond("hour"));
        }
        if minutes > 60 {
            return Err(beyond("minute"));
        }
        let east = (hours * 60 + minutes) * 60;
        Ok(if *sign == b'-' { -east } else { east })
    }
}

/// Days since 1970, in a calendar whose years begin in March, so that leap days come last.
fn days(date: jiff::civil::Date) -> i64 {
    let (year, month, day) = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
    let year = year - i64::from(month <= 2);
    let (cycle, of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    cycle * 146_097 + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - 719_468
}

fn value(digits: &[u8]) -> i64 {
    digits.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
}

/// At most nine digits behind the point.
fn nanos(digits: &[u8]) -> u32 {
    (0..9).fold(0, |n, at| n * 10 + digits.get(at).map_or(0, |digit| u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text, and what Go makes of it: a time, "" for null, or why it is none.
    type Row = (&'static str, Result<&'static str, &'static str>);

    #[test]
    fn times_are_read_as_go_reads_them() {
        let rows: [Row; 21] = [
            ("2026-01-02T03:04:05Z", Ok("2026-01-02T03:04:05Z")),
            ("2026-01-02T3:04:05Z", Ok("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05,5Z", Ok("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05.12345678901234567890Z", Ok("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05+24:60", Ok("2026-01-01T02:04:05Z")),
            ("9999-12-31T23:59:59Z", Ok("9999-12-31T23:59:59Z")),
            ("9999-12-31T23:59:59.999-01:00", Ok("10000-01-01T00:59:59Z")),
            ("0000-01-01T00:00:00+01:00", Ok("-0001-12-31T23:00:00Z")),
            ("0001-01-01T00:00:00Z", Ok("")),
            ("0000-02-29T00:00:00Z", Ok("0000-02-29T00:00:00Z")),
            ("2026-01-02T03:04:60Z", Err(": second out of range")),
            ("2026-13-02T03:04:00Z", Err(": month out of range")),
            ("2025-02-29T03:04:00Z", Err(": day out of range")),
            ("2026-01-02T24:00:00Z", Err(": hour out of range")),
            ("2026-01-02T03:04:05+25:00", Err(": time zone offset hour out of range")),
            ("2026-01-02T03:04:05Zx", Err(": extra text: \"x\"")),
            ("2026-01-02T03:04:05z", Err(" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"z\" as \"Z07:00\"")),
            ("2026-01-02T03:04:05.Z", Err(" as \"2006-01-02T15:04:05Z07:00\": cannot parse \".Z\" as \"Z07:00\"")),
            ("2026-01-02 03:04:05Z", Err(" as \"2006-01-02T15:04:05Z07:00\": cannot parse \" 03:04:05Z\" as \"T\"")),
            ("2026-01", Err(" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"-\"")),
            ("soon", Err(" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"soon\" as \"2006\"")),
        ];
        for (text, wanted) in rows {
            let read = Moment::parse(text, Precision::Seconds);
            let written = read.map(|moment| moment.text(Precision::Seconds).unwrap_or_default());
            let wanted = wanted.map(str::to_owned).map_err(|why| format!("parsing time {text:?}{why}"));
            assert_eq!(written, wanted, "{text}");
        }
    }

    #[test]
    fn finer_times_have_six_decimals() {
        let read = |text| Moment::parse(text, Precision::Micros).map(|moment| moment.text(Precision::Micros));
        let good = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(read("2026-01-02T03:04:05.123456+01:00"), good("2026-01-02T02:04:05.123456Z"));
        assert_eq!(read("9999-12-31T23:59:59.999999Z"), good("9999-12-31T23:59:59.999999Z"));
        assert_eq!(read("0001-01-01T00:00:00.000001Z"), good("0001-01-01T00:00:00.000001Z"));
        assert_eq!(read("0001-01-01T00:00:00.000000Z"), Ok(None));
        for (text, why) in [
            ("2026-01-02T03:04:05Z", "cannot parse \"Z\" as \".000000\""),
            ("2026-01-02T03:04:05.12345Z", "cannot parse \".12345Z\" as \".000000\""),
            ("2026-01-02T03:04:05.1234567Z", "cannot parse \"7Z\" as \"Z07:00\""),
        ] {
            let wanted = format!("parsing time {text:?} as \"2006-01-02T15:04:05.000000Z07:00\": {why}");
            assert_eq!(read(text), Err(wanted));
        }
    }
}
