//! Semantic versions: `semver('1.2.3')`.

use super::opaque::{Foreign, compare_to, foreign, is_greater, is_less, made, source};
use super::{Cost, Row, Sig, Style};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::types::Opaque;
use crate::cel::value::Val;
use crate::field::quoted;
use std::cmp::Ordering;

const V: Sig = Sig::Opaque(Opaque::Semver);
const S: &[Sig] = &[Sig::Text];
const SB: &[Sig] = &[Sig::Text, Sig::Bool];

const fn row(name: &'static str, args: &'static [Sig], result: Sig, run: super::Run) -> Row {
    Row { name, style: Style::Global, args, result, cost: Cost::Convert, run }
}

const fn method(name: &'static str, args: &'static [Sig], result: Sig, run: super::Run) -> Row {
    Row { name, style: Style::Member, args, result, cost: Cost::One, run }
}

pub const ROWS: &[Row] = &[
    row("semver", S, V, semver),
    row("semver", SB, V, semver),
    row("isSemver", S, Sig::Bool, is_semver),
    row("isSemver", SB, Sig::Bool, is_semver),
    method("major", &[V], Sig::Int, major),
    method("minor", &[V], Sig::Int, minor),
    method("patch", &[V], Sig::Int, patch),
    method("isLessThan", &[V, V], Sig::Bool, is_less),
    method("isGreaterThan", &[V, V], Sig::Bool, is_greater),
    method("compareTo", &[V, V], Sig::Int, compare_to),
];

/// A version. What follows `+` plays no part in its order and is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    numbers: [u64; 3],
    pre: Vec<Part>,
}

/// One dotted part of what follows `-`. Numbers come before words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        // A version with nothing after `-` follows those with something.
        let released = |version: &Self| version.pre.is_empty();
        let pre = released(self).cmp(&released(other)).then_with(|| self.pre.cmp(&other.pre));
        self.numbers.cmp(&other.numbers).then(pre)
    }
}

/// Whether missing parts, a leading `v` and leading zeros are let be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Strict,
    Normalized,
}

/// Longest version, in bytes.
const MAX_LEN: usize = 4 << 10;

impl Version {
    fn parse(text: &str, form: Form) -> Result<Self, String> {
        if text.len() > MAX_LEN {
            return Err("Version string too long".into());
        }
        match form {
            Form::Strict => Self::strict(text),
            Form::Normalized => Self::strict(&normalized(text)?),
        }
    }

    fn strict(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".into());
        }
        let parts: Vec<&str> = text.splitn(3, '.').collect();
        let [major, minor, rest] = parts[..] else { return Err("No Major.Minor.Patch elements found".into()) };
        let (major, minor) = (number(major, "major")?, number(minor, "minor")?);
        let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
        let (patch, pre) = rest.split_once('-').map_or((rest, None), |(patch, pre)| (patch, Some(pre)));
        let patch = number(patch, "patch")?;
        let pre = pre.into_iter().flat_map(|pre| pre.split('.')).map(part).collect::<Result<_, _>>()?;
        for word in build.into_iter().flat_map(|build| build.split('.')) {
            if word.is_empty() {
                return Err("Build meta data is empty".into());
            }
            if !is_word(word) {
                return Err(format!("Invalid character(s) found in build meta data {}", quoted(word)));
            }
        }
        Ok(Self { numbers: [major, minor, patch], pre })
    }
}

fn normalized(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        return Err("short version cannot contain PreRelease/Build meta data".into());
    }
    parts.resize(3, "0".to_owned());
    Ok(parts.join("."))
}

fn without_zeros(part: &str) -> String {
    if part.len() < 2 {
        return part.to_owned();
    }
    let rest = part.trim_start_matches('0');
    if rest.starts_with(|c: char| c.is_ascii_digit()) { rest.to_owned() } else { format!("0{rest}") }
}

fn has_leading_zero(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0')
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// A number of 64 bits, with Go's words for what is none.
fn counted(text: &str) -> Result<u64, String> {
    let why = if text.is_empty() { "invalid syntax" } else { "value out of range" };
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing {}: {why}", quoted(text)))
}

fn number(text: &str, name: &str) -> Result<u64, String> {
    if !is_digits(text) {
        return Err(format!("Invalid character(s) found in {name} number {}", quoted(text)));
    }
    if has_leading_zero(text) {
        let name = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
        return Err(format!("{name} number must not contain leading zeroes {}", quoted(text)));
    }
    counted(text)
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn part(text: &str) -> Result<Part, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".into());
    }
    if is_digits(text) {
        if has_leading_zero(text) {
            return Err(format!("Numeric PreRelease version must not contain leading zeroes {}", quoted(text)));
        }
        return counted(text).map(Part::Number);
    }
    if is_word(text) {
        Ok(Part::Word(text.to_owned()))
    } else {
        Err(format!("Invalid character(s) found in prerelease {}", quoted(text)))
    }
}

fn parse(args: &[Val<'_>]) -> Result<Result<Version, String>, Fault> {
    let form = match args.get(1) {
        None | Some(Val::Bool(false)) => Form::Strict,
        Some(Val::Bool(true)) => Form::Normalized,
        Some(_) => return Err(Fault::no_overload()),
    };
    Ok(Version::parse(source(args)?, form))
}

fn semver<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    parse(args)?.map(|version| made(Foreign::Semver(version))).map_err(Fault::of)
}

fn is_semver<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    parse(args).map(|parsed| Val::Bool(parsed.is_ok()))
}

fn at<'a>(args: &[Val<'a>], place: usize) -> Result<Val<'a>, Fault> {
    match foreign(args.first())? {
        Foreign::Semver(version) => Ok(Val::Int(version.numbers[place].cast_signed())),
        _ => Err(Fault::no_overload()),
    }
}

fn major<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    at(args, 0)
}

fn minor<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    at(args, 1)
}

fn patch<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    at(args, 2)
}
