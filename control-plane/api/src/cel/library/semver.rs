//! Semantic versions: `semver('1.2.3')`.

use super::opaque::{Foreign, compare_to, foreign, is_greater, is_less, made, source};
use super::{Cost, Row, Sig, Style};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::types::Opaque;
use crate::cel::value::Val;
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

impl Version {
    /// `normalize`: let a leading `v`, missing parts and leading zeros be.
    fn parse(text: &str, normalize: bool) -> Option<Self> {
        if text.len() > 256 {
            return None;
        }
        let text = if normalize { text.strip_prefix('v').unwrap_or(text) } else { text };
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
        let mut numbers = [0; 3];
        let mut parts = core.split('.');
        for (at, slot) in numbers.iter_mut().enumerate() {
            match parts.next() {
                Some(part) => *slot = number(part, normalize)?,
                None if normalize && at > 0 => {}
                None => return None,
            }
        }
        let words = |text: &str| -> Option<Vec<Part>> { text.split('.').map(part).collect() };
        if parts.next().is_some() || build.is_some_and(|build| !build.split('.').all(is_word)) {
            return None;
        }
        Some(Self { numbers, pre: pre.map_or(Some(Vec::new()), words)? })
    }
}

fn number(text: &str, normalize: bool) -> Option<u64> {
    let plain = text.len() == 1 || !text.starts_with('0') || normalize;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain && digits)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn part(text: &str) -> Option<Part> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return number(text, false).map(Part::Number);
    }
    is_word(text).then(|| Part::Word(text.to_owned()))
}

fn parse<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Option<Version>, Fault> {
    let normalize = match args.get(1) {
        None => false,
        Some(Val::Bool(normalize)) => *normalize,
        Some(_) => return Err(Fault::no_overload()),
    };
    Ok(Version::parse(source(frame, args)?, normalize))
}

fn semver<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let parsed = parse(frame, args)?.ok_or(Fault::text("invalid semantic version"))?;
    Ok(made(Foreign::Semver(parsed)))
}

fn is_semver<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    parse(frame, args).map(|parsed| Val::Bool(parsed.is_some()))
}

fn at<'a>(args: &[Val<'a>], place: usize) -> Result<Val<'a>, Fault> {
    match foreign(args.first())? {
        Foreign::Semver(version) => Ok(Val::Int(i64::try_from(version.numbers[place]).unwrap_or(i64::MAX))),
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
