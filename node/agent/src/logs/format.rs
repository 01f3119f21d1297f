//! The CRI log line: `<RFC 3339 time> <stdout|stderr> <F|P> <content>\n`. Pure.

use api::k8s_openapi::jiff::Timestamp;
use runtime::Stream;

/// The longest content of one line; longer ones are cut into `P` lines, as containerd does.
pub const MAX_CONTENT: usize = 16 * 1024;

/// Whether a line ends with its content or goes on in the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    Full,
    Partial,
}

/// Appends one log line to `out`.
pub fn append(out: &mut Vec<u8>, time: &str, stream: Stream, tag: Tag, content: &[u8]) {
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(match stream {
        Stream::Stdout => b" stdout ",
        Stream::Stderr => b" stderr ",
    });
    out.extend_from_slice(match tag {
        Tag::Full => b"F ",
        Tag::Partial => b"P ",
    });
    out.extend_from_slice(content);
    out.push(b'\n');
}

/// The time as it stands in the file: nine fractional digits, so that lines sort as text.
pub fn time(now: Timestamp) -> String {
    format!("{now:.9}")
}

/// One line taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub time: &'a str,
    pub stream: &'a str,
    pub tag: Tag,
    pub content: &'a [u8],
}

/// Parses a line without its newline. `None` for anything that isn't one (a torn write).
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok()?;
    // Tags may grow fields after a colon: only the first counts.
    let tag = match parts.next()?.first()? {
        b'F' => Tag::Full,
        b'P' => Tag::Partial,
        _ => return None,
    };
    if !matches!(stream, "stdout" | "stderr") {
        return None;
    }
    Some(Line { time, stream, tag, content: parts.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let mut out = Vec::new();
        let now: Timestamp = "2016-10-06T00:17:09.669794202Z".parse().unwrap();
        append(&mut out, &time(now), Stream::Stderr, Tag::Partial, b"a b  c");
        assert_eq!(out, b"2016-10-06T00:17:09.669794202Z stderr P a b  c\n");
        let line = parse(&out[..out.len() - 1]).unwrap();
        assert_eq!(line.content, b"a b  c");
        assert_eq!(line.tag, Tag::Partial);
        assert_eq!(parse(b"2016-10-06T00:17:09Z stdout F "), parse(b"2016-10-06T00:17:09Z stdout F "));
        assert_eq!(parse(b"2016-10-06T00:17:09Z stdout F ").unwrap().content, b"");
        assert_eq!(parse(b"garbage"), None);
        assert_eq!(parse(b"t nowhere F x"), None);
    }
}
