//! Regular expressions in Go's syntax (`regexp/syntax`): what is wrong with one, in Go's words, and the same in the `regex`
//! crate's syntax. Groups capture nothing here: nobody asks what they matched.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Most repetitions, also of repetitions within each other.
const MAX_REPEAT: u64 = 1_000;
/// Most steps of a program.
const MAX_STEPS: u64 = (128 << 20) / 40;
/// Deepest nesting.
const MAX_DEPTH: usize = 1_000;

const MISSING_ARGUMENT: &str = "missing argument to repetition operator";
const BAD_REPEAT: &str = "invalid repeat count";
const BAD_RANGE: &str = "invalid character class range";
const BAD_ESCAPE: &str = "invalid escape sequence";
const BAD_NAME: &str = "invalid named capture";
const NO_BRACKET: &str = "missing closing ]";

/// Classes in brackets, negated ones apart.
const NAMED: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// Something that can be repeated.
#[derive(Clone, Copy)]
struct Node {
    /// Steps of its program.
    steps: u64,
    /// How often its innermost part is repeated.
    repeats: u64,
}

/// What stands between two parentheses.
#[derive(Default)]
struct Group {
    /// Of the alternatives that are behind.
    steps: u64,
    repeats: u64,
    /// Of the present alternative.
    nodes: Vec<Node>,
}

impl Group {
    fn whole(&self) -> Node {
        let steps = self.nodes.iter().fold(self.steps, |sum, node| sum.saturating_add(node.steps));
        let repeats = self.nodes.iter().map(|node| node.repeats).max().unwrap_or(1).max(self.repeats);
        Node { steps: steps.max(1), repeats: repeats.max(1) }
    }
}

struct Parser<'t> {
    whole: &'t str,
    out: String,
    groups: Vec<Group>,
    /// The operator just before, if there was one: `a**` is an error.
    repeated: Option<&'t str>,
}

type Rest<'t> = Result<&'t str, String>;

fn wrong(why: &str, shown: &str) -> String {
    format!("error parsing regexp: {why}: `{shown}`")
}

/// The part of `from` that ends where `rest` begins.
fn until<'t>(from: &'t str, rest: &str) -> &'t str {
    &from[..from.len() - rest.len()]
}

/// The expression in the `regex` crate's syntax.
///
/// # Errors
/// What is wrong with it, as Go says it.
pub fn translate(text: &str) -> Result<String, String> {
    let mut parser = Parser {
        whole: text,
        out: String::with_capacity(text.len() + 16),
        groups: vec![Group::default()],
        repeated: None,
    };
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let before = parser.repeated.take();
        rest = parser.one(c, rest, before)?;
    }
    if parser.groups.len() > 1 {
        return Err(wrong("missing closing )", text));
    }
    Ok(parser.out)
}

impl<'t> Parser<'t> {
    fn one(&mut self, c: char, text: &'t str, before: Option<&'t str>) -> Rest<'t> {
        let after = &text[c.len_utf8()..];
        match c {
            '(' if after.starts_with('?') => self.flags(text),
            '(' => self.open("(?:", after),
            '|' => {
                self.out.push('|');
                if let Some(group) = self.groups.last_mut() {
                    let Node { steps, repeats } = group.whole();
                    *group = Group { steps: steps + 1, repeats, nodes: Vec::new() };
                }
                Ok(after)
            }
            ')' => self.close(after),
            '^' | '$' | '.' => {
                self.out.push(c);
                self.push(1)?;
                Ok(after)
            }
            '[' => self.class(text),
            '*' | '+' | '?' => {
                let size = if c == '*' { 2 } else { 1 };
                self.repeat(text, after, before, |node| Node { steps: node.steps + size, ..node }, |_| None)
            }
            '{' => match counted(text) {
                Some((least, most, after)) => self.count(text, after, (least, most), before),
                None => self.literal('{', after),
            },
            '\\' => self.escape(text),
            c => self.literal(c, after),
        }
    }

    fn push(&mut self, steps: u64) -> Result<(), String> {
        let Some(group) = self.groups.last_mut() else { return Ok(()) };
        group.nodes.push(Node { steps, repeats: 1 });
        Ok(())
    }

    fn literal(&mut self, c: char, after: &'t str) -> Rest<'t> {
        write_char(&mut self.out, c);
        self.push(1)?;
        Ok(after)
    }

    fn open(&mut self, opening: &str, after: &'t str) -> Rest<'t> {
        self.out.push_str(opening);
        self.groups.push(Group::default());
        if self.groups.len() > MAX_DEPTH {
            return Err(wrong("expression nests too deeply", self.whole));
        }
        Ok(after)
    }

    fn close(&mut self, after: &'t str) -> Rest<'t> {
        if self.groups.len() < 2 {
            return Err(wrong("unexpected )", self.whole));
        }
        self.out.push(')');
        if let (Some(inner), Some(outer)) = (self.groups.pop(), self.groups.last_mut()) {
            let Node { steps, repeats } = inner.whole();
            outer.nodes.push(Node { steps: steps + 2, repeats });
        }
        Ok(after)
    }

    /// `*`, `+`, `?` or `{…}` at the start of `text`; `after` is what follows.
    fn repeat(
        &mut self,
        text: &'t str,
        after: &'t str,
        before: Option<&'t str>,
        grown: impl FnOnce(Node) -> Node,
        refused: impl FnOnce(Node) -> Option<&'static str>,
    ) -> Rest<'t> {
        let rest = after.strip_prefix('?').unwrap_or(after);
        if let Some(before) = before {
            return Err(wrong("invalid nested repetition operator", until(before, rest)));
        }
        let missing = || wrong(MISSING_ARGUMENT, until(text, rest));
        let node = self.groups.last_mut().and_then(|group| group.nodes.last_mut()).ok_or_else(missing)?;
        *node = grown(*node);
        let node = *node;
        if node.steps > MAX_STEPS {
            return Err(wrong("expression too large", self.whole));
        }
        if let Some(why) = refused(node) {
            return Err(wrong(why, until(text, rest)));
        }
        self.out.push_str(until(text, rest));
        self.repeated = Some(text);
        Ok(rest)
    }

    fn count(
        &mut self,
        text: &'t str,
        after: &'t str,
        (least, most): (u64, Option<u64>),
        before: Option<&'t str>,
    ) -> Rest<'t> {
        if least > MAX_REPEAT || most.is_some_and(|most| most > MAX_REPEAT || least > most) {
            return Err(wrong(BAD_REPEAT, until(text, after)));
        }
        let times = most.unwrap_or(least);
        let grown = |node: Node| Node {
            steps: match most {
                Some(most) => most.saturating_mul(node.steps).saturating_add(most - least),
                None => least.saturating_mul(node.steps).saturating_add(2),
            },
            // What is repeated no times repeats nothing.
            repeats: if most == Some(0) { 1 } else { node.repeats.saturating_mul(times.max(1)) },
        };
        let refused = |node: Node| (times >= 2 && node.repeats > MAX_REPEAT).then_some(BAD_REPEAT);
        self.repeat(text, after, before, grown, refused)
    }

    /// `(?…`: a named group, one that captures nothing, or flags.
    fn flags(&mut self, text: &'t str) -> Rest<'t> {
        if let Some(name) = text.strip_prefix("(?P<").or_else(|| text.strip_prefix("(?<")) {
            let Some((name, after)) = name.split_once('>') else { return Err(wrong(BAD_NAME, text)) };
            if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
                return Err(wrong(BAD_NAME, until(text, after)));
            }
            return self.open("(?:", after);
        }
        let (mut on, mut off) = (BTreeSet::new(), BTreeSet::new());
        let (mut negative, mut seen) = (false, false);
        let mut rest = text.get(2..).unwrap_or_default();
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                'i' | 'm' | 's' | 'U' => {
                    seen = true;
                    let (here, there) = if negative { (&mut off, &mut on) } else { (&mut on, &mut off) };
                    here.insert(c);
                    there.remove(&c);
                }
                '-' if !negative => (negative, seen) = (true, false),
                ':' | ')' if !negative || seen => {
                    let (on, off) = (on.iter().collect::<String>(), off.iter().collect::<String>());
                    let minus = if off.is_empty() { "" } else { "-" };
                    let flags = format!("(?{on}{minus}{off}");
                    if c == ':' {
                        return self.open(&format!("{flags}:"), rest);
                    }
                    if flags.len() > 2 {
                        let _ = write!(self.out, "{flags})");
                    }
                    return Ok(rest);
                }
                _ => break,
            }
        }
        Err(wrong("invalid or unsupported Perl syntax", until(text, rest)))
    }

    /// A backslash outside of classes.
    fn escape(&mut self, text: &'t str) -> Rest<'t> {
        let simple = match text.as_bytes().get(1) {
            Some(b'A') => Some("\\A"),
            Some(b'z') => Some("\\z"),
            Some(b'b') => Some("(?-u:\\b)"),
            Some(b'B') => Some("\\B"),
            _ => perl(text),
        };
        if let Some(simple) = simple {
            self.out.push_str(simple);
            self.push(1)?;
            return Ok(&text[2..]);
        }
        match text.as_bytes().get(1) {
            Some(b'C') => Err(wrong(BAD_ESCAPE, "\\C")),
            Some(b'Q') => {
                let quoted = &text[2..];
                let (inner, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                for c in inner.chars() {
                    self.literal(c, rest)?;
                }
                Ok(rest)
            }
            Some(b'p' | b'P') => {
                let (class, rest) = unicode(text)?;
                self.out.push_str(&class);
                self.push(1)?;
                Ok(rest)
            }
            _ => {
                let (c, rest) = character(text)?;
                self.literal(c, rest)
            }
        }
    }

    fn class(&mut self, text: &'t str) -> Rest<'t> {
        let mut rest = &text[1..];
        self.out.push('[');
        if let Some(after) = rest.strip_prefix('^') {
            self.out.push('^');
            rest = after;
        }
        let mut first = true;
        while first || !rest.starts_with(']') {
            first = false;
            rest = self.class_item(text, rest)?;
        }
        self.out.push(']');
        self.push(1)?;
        Ok(&rest[1..])
    }

    fn class_item(&mut self, whole: &'t str, text: &'t str) -> Rest<'t> {
        if text.len() > 2
            && text.starts_with("[:")
            && let Some(end) = text[2..].find(":]")
        {
            let (name, rest) = text.split_at(end + 4);
            let bare = name[2..name.len() - 2].trim_start_matches('^');
            if !NAMED.contains(&bare) || name.matches('^').count() > 1 {
                return Err(wrong(BAD_RANGE, name));
            }
            self.out.push_str(name);
            return Ok(rest);
        }
        if text.starts_with("\\p") || text.starts_with("\\P") {
            let (class, rest) = unicode(text)?;
            self.out.push_str(&class);
            return Ok(rest);
        }
        if let Some(class) = perl(text) {
            self.out.push_str(class);
            return Ok(&text[2..]);
        }
        let (low, rest) = class_character(whole, text)?;
        let Some(after) = rest.strip_prefix('-').filter(|after| !after.is_empty() && !after.starts_with(']')) else {
            write_char(&mut self.out, low);
            return Ok(rest);
        };
        let (high, rest) = class_character(whole, after)?;
        if high < low {
            return Err(wrong(BAD_RANGE, until(text, rest)));
        }
        write_char(&mut self.out, low);
        self.out.push('-');
        write_char(&mut self.out, high);
        Ok(rest)
    }
}

fn write_char(out: &mut String, c: char) {
    if c.is_alphanumeric() {
        out.push(c);
    } else {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\x{{{:x}}}", u32::from(c));
    }
}

/// `{2}`, `{2,}` or `{2,5}` at the start of `text`, and what follows. None: the brace stands for itself.
fn counted(text: &str) -> Option<(u64, Option<u64>, &str)> {
    let (inner, after) = text.strip_prefix('{')?.split_once('}')?;
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let padded = digits.len() > 1 && digits.starts_with('0');
        (plain && !padded).then(|| digits.parse().unwrap_or(u64::MAX))
    };
    Some(match inner.split_once(',') {
        None => (number(inner)?, Some(number(inner)?), after),
        Some((least, "")) => (number(least)?, None, after),
        Some((least, most)) => (number(least)?, Some(number(most)?), after),
    })
}

/// `\d` and the like, which are ASCII in Go.
fn perl(text: &str) -> Option<&'static str> {
    Some(match text.as_bytes() {
        [b'\\', b'd', ..] => "[0-9]",
        [b'\\', b'D', ..] => "[^0-9]",
        [b'\\', b'w', ..] => "[0-9A-Za-z_]",
        [b'\\', b'W', ..] => "[^0-9A-Za-z_]",
        [b'\\', b's', ..] => "[\\t\\n\\f\\r ]",
        [b'\\', b'S', ..] => "[^\\t\\n\\f\\r ]",
        _ => return None,
    })
}

/// `\pN`, `\p{Greek}` or `\P{^Greek}`.
fn unicode(text: &str) -> Result<(String, &str), String> {
    let after = &text[2..];
    let Some(first) = after.chars().next() else { return Err(wrong(BAD_ESCAPE, text)) };
    let (name, rest) = match after.strip_prefix('{') {
        None => after.split_at(first.len_utf8()),
        Some(inner) => inner.split_once('}').ok_or_else(|| wrong(BAD_RANGE, text))?,
    };
    let negated = text.starts_with("\\P") != name.starts_with('^');
    let name = name.trim_start_matches('^');
    let class = format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' });
    let known = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !known || regex::Regex::new(&class).is_err() {
        return Err(wrong(BAD_RANGE, until(text, rest)));
    }
    Ok((class, rest))
}

fn class_character<'t>(whole: &str, text: &'t str) -> Result<(char, &'t str), String> {
    match text.chars().next() {
        None => Err(wrong(NO_BRACKET, whole)),
        Some('\\') => character(text),
        Some(c) => Ok((c, &text[c.len_utf8()..])),
    }
}

/// The character that a backslash and what follows stand for.
fn character(text: &str) -> Result<(char, &str), String> {
    let after = &text[1..];
    let Some(c) = after.chars().next() else {
        return Err(wrong("trailing backslash at end of expression", ""));
    };
    let rest = &after[c.len_utf8()..];
    let octal = |text: &str| text.bytes().take_while(|b| (b'0'..=b'7').contains(b)).count();
    let named = match c {
        'a' => Some('\u{7}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c),
        _ => None,
    };
    if let Some(c) = named {
        return Ok((c, rest));
    }
    match c {
        // A digit alone would be what a group matched.
        '0'..='7' if c == '0' || octal(rest) > 0 => {
            let (digits, rest) = after.split_at(octal(after).min(3));
            let value = u32::from_str_radix(digits, 8).unwrap_or_default();
            Ok((char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER), rest))
        }
        'x' => hexadecimal(text, rest),
        _ => Err(wrong(BAD_ESCAPE, until(text, rest))),
    }
}

/// `\x7f` or `\x{10ffff}`; `rest` is what follows the `x`.
fn hexadecimal<'t>(text: &'t str, rest: &'t str) -> Result<(char, &'t str), String> {
    let made = |value: u32| char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
    let Some(inner) = rest.strip_prefix('{') else {
        let end = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
        let (digits, left) = rest.split_at(end);
        let value = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2 && !digits.starts_with('+'));
        return value.map(|value| (made(value), left)).ok_or_else(|| wrong(BAD_ESCAPE, until(text, left)));
    };
    let mut value = 0_u32;
    for (at, c) in inner.char_indices() {
        let left = &inner[at + c.len_utf8()..];
        match c.to_digit(16) {
            Some(digit) if value <= 0x10_ffff >> 4 || value == 0x10_fff => {
                value = value * 16 + digit;
                if value <= 0x10_ffff {
                    continue;
                }
            }
            None if c == '}' && at > 0 => return Ok((made(value), left)),
            _ => {}
        }
        return Err(wrong(BAD_ESCAPE, until(text, left)));
    }
    Err(wrong(BAD_ESCAPE, text))
}
