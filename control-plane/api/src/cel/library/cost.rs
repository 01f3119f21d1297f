//! What calls cost, estimated when a rule is written and counted when it runs, in cel-go's units (`checker/cost.go`,
//! `interpreter/runtimecost.go`, `ext/lists.go`, Kubernetes' `library/cost.go`): whether a CRD is accepted hangs on them.

use super::authz;
use crate::cel::checked::{Checked, Place};
use crate::cel::eval::Node;
use crate::cel::types::{Opaque, Type, UNBOUNDED};
use crate::cel::value::{List, Map, Val};

/// How a call's cost follows from the sizes of its operands: characters, bytes, items, entries. The operands' own costs
/// come on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// One unit.
    One,
    /// One unit when it is estimated, nothing when it runs.
    Free,
    /// The first operand is read once, a tenth of a unit for each byte; the result is as large.
    Read,
    /// As `Read`; the result has no size that is known.
    Convert,
    /// The first operand is read twice; the result has no size that is known.
    Twice,
    /// A text is searched: as `Convert`.
    Scan,
    /// The second operand is read once.
    ReadSecond,
    /// The first is searched for the second.
    Search,
    /// The first is matched against the second, a regular expression.
    Match,
    /// As `Match`; the result is at most as large as the first.
    Find,
    /// The smaller of the two is read.
    Compare,
    /// The result is as large as both, and is copied.
    Concat,
    /// The result is as large as both.
    Append,
    /// Every item of the second list is compared with the first.
    Member,
    /// Every item of the first list is looked at.
    Items,
    /// A list of so many items as the second and third operand say.
    Slice,
    /// A list of so many items as the operand says.
    Range,
    /// The result is as large as the first, item by item.
    Copy,
    /// Every item of the first is compared with the others; the result is as large.
    Square,
    /// The same of the second operand's.
    SquareSecond,
    /// Each level of the first one's items is looked at.
    Flatten,
    /// Every item of the one with every item of the other.
    Product,
    /// The same in both directions.
    ProductTwice,
    /// Pieces of the first: as many as it is long.
    Split,
    /// All items of the first, one after the other.
    Join,
    /// Every byte of the first may become the third.
    Replace,
    /// A text is held against a named format.
    Validate,
    /// Whether an address is of a network.
    ContainsIp,
    /// Whether a network is of another.
    ContainsCidr,
    /// Somebody's rights are looked up.
    Check,
    /// The second operand is taken apart as a selector.
    Selector,
}

/// Units that a new list costs.
const LIST: u64 = 10;
/// Bytes of the longest of the expressions that stand for named formats.
const MAX_FORMAT_REGEX: u64 = 128;
/// Bytes of a named format's text.
const MAX_FORMAT: u64 = 64;
/// Bytes of an address of either family.
const MAX_ADDRESS: u64 = 16;

/// A share of a number, rounded up, as Go computes it.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "Rust's cast saturates")]
pub fn share(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// A tenth of a number, rounded up: what reading so many bytes costs.
#[must_use]
pub fn tenth(size: u64) -> u64 {
    share(size, 0.1)
}

/// What a selector of so many bytes costs: reading it, and fifty for each of the requirements that it may hold.
#[must_use]
pub fn selector(size: u64) -> u64 {
    tenth(size).saturating_add(size.div_ceil(2).saturating_mul(50)).saturating_add(LIST)
}

/// What matching a text against an expression costs. An empty text has a cost, too.
fn matching(text: u64, expression: u64) -> u64 {
    tenth(text.saturating_add(1)).saturating_mul(share(expression, 0.25))
}

/// What a text that is held against a format costs at most.
fn validating(text: u64) -> u64 {
    share(tenth(text), MAX_FORMAT_REGEX as f64 * 0.25)
}

/// The least size that is known of an operand: literals have one.
fn least(arg: &Checked) -> u64 {
    if matches!(arg.node, Node::Const(_)) { arg.size() } else { 0 }
}

/// The number that an operand is, where it is written out.
fn written(arg: Option<&Checked>) -> Option<u64> {
    match arg.map(|arg| &arg.node) {
        Some(Node::Const(Val::Int(n))) => Some(u64::try_from(*n).unwrap_or_default()),
        _ => None,
    }
}

/// What of a list is found at `@items`: its size, None where it is not known.
fn item_size(list: &Checked) -> Option<u64> {
    match &list.place {
        Place::None => None,
        place => place.item().declared(),
    }
}

fn comparing(args: &[Checked]) -> u64 {
    let [a, b] = args else { return 1 };
    match (&a.ty, &b.ty) {
        (Type::Opaque(Opaque::Format), Type::Opaque(Opaque::Format)) => tenth(MAX_FORMAT),
        (Type::Opaque(Opaque::Url), Type::Opaque(Opaque::Url)) => tenth(b.size.unwrap_or(1)),
        (Type::Opaque(a), Type::Opaque(b)) if a == b => 1,
        _ => tenth(a.size().min(b.size())),
    }
}

fn replacing(args: &[Checked]) -> u64 {
    let [text, from, to, ..] = args else { return UNBOUNDED };
    let (size, shortest, longest) = (text.size(), least(from), to.size());
    if shortest == 0 {
        // Something is put around every character.
        size.saturating_add(1).saturating_mul(longest).saturating_add(size)
    } else if longest <= shortest {
        size
    } else {
        size.div_ceil(shortest).saturating_mul(longest)
    }
}

fn joining(args: &[Checked]) -> u64 {
    let Some(list) = args.first() else { return UNBOUNDED };
    let (count, each) = (list.size(), item_size(list).unwrap_or(UNBOUNDED));
    let between = args.get(1).map_or(0, |between| between.size().saturating_mul(count.saturating_sub(1)));
    count.saturating_mul(each).saturating_add(between)
}

impl Cost {
    /// The cost of a call beyond its operands', and the size of its result; None: it has none that is known.
    #[must_use]
    pub fn estimate(self, args: &[Checked]) -> (u64, Option<u64>) {
        let size = |at: usize| args.get(at).map_or(1, Checked::size);
        let (first, second) = (size(0), size(1));
        let list = |cost: u64, size: u64| (cost.saturating_add(LIST + 1), Some(size));
        match self {
            Self::One | Self::Free => (1, None),
            Self::Read => (tenth(first), Some(first)),
            Self::Convert | Self::Scan => (tenth(first), None),
            Self::Twice => (share(first, 0.2), None),
            Self::ReadSecond => (tenth(second), None),
            Self::Search => (tenth(first).saturating_mul(tenth(second)), None),
            Self::Match => (matching(first, second), None),
            Self::Find => (matching(first, second), Some(first)),
            Self::Compare => (comparing(args), None),
            Self::Concat => (tenth(first.saturating_add(second)), Some(first.saturating_add(second))),
            Self::Append => (1, Some(first.saturating_add(second))),
            Self::Member => (second, None),
            Self::Items => (first.saturating_mul(1_u64.saturating_add(reading_item(args))), None),
            Self::Slice => {
                let (start, end) = (written(args.get(1)).unwrap_or(0), written(args.get(2)).unwrap_or(first));
                let count = end.wrapping_sub(start);
                list(share(count, 1.0), count)
            }
            Self::Range => {
                let count = written(args.first()).unwrap_or(UNBOUNDED);
                list(count, count)
            }
            Self::Copy => list(first, first),
            Self::Square => list(squared(args.first(), first), first.saturating_mul(first)),
            Self::SquareSecond => list(squared(args.get(1), second), second.saturating_mul(second)),
            Self::Flatten => {
                let levels = args.get(1).map_or(Some(1), |levels| written(Some(levels))).unwrap_or(UNBOUNDED);
                list(first.saturating_mul(levels), first)
            }
            Self::Product => (first.saturating_mul(second).saturating_add(1), None),
            Self::ProductTwice => (first.saturating_mul(second).saturating_mul(2).saturating_add(1), None),
            Self::Split => (share(first, 0.2), Some(written(args.get(2)).unwrap_or(first))),
            Self::Join => (tenth(joining(args)), Some(joining(args))),
            Self::Replace => (share(first, 0.2), Some(replacing(args))),
            Self::Validate => (validating(second), None),
            Self::ContainsIp => (share(MAX_ADDRESS * 2, 0.1).saturating_add(reading_text(args)), None),
            Self::ContainsCidr => {
                let network = share(MAX_ADDRESS * 2, 0.1) + tenth(MAX_ADDRESS) + 1;
                (network.saturating_add(reading_text(args)), None)
            }
            Self::Check => (authz::CHECK, None),
            Self::Selector => (selector(second), None),
        }
    }

    /// What a call did cost, beyond what the function has taken already.
    #[must_use]
    pub fn actual(self, args: &[Val<'_>], result: &Val<'_>) -> u64 {
        let size = |at: usize| args.get(at).map_or(1, length);
        match self {
            Self::One | Self::Append => 1,
            // Paid for as they go, or nothing at all.
            Self::Free | Self::Validate | Self::Check | Self::Selector | Self::Match | Self::Find => 0,
            Self::Slice | Self::Range | Self::Copy | Self::Square | Self::SquareSecond | Self::Flatten => 0,
            Self::Read | Self::Convert => match args.first() {
                Some(Val::Text(_) | Val::Bytes(_)) => tenth(size(0)),
                _ => 1,
            },
            Self::Twice => share(size(0), 0.2),
            Self::Scan | Self::Items => args.first().map_or(0, traversal),
            Self::ReadSecond => tenth(size(1)),
            Self::Search => tenth(size(0)).saturating_mul(tenth(size(1))),
            Self::Compare => match args {
                [Val::Foreign(_), _] => 1,
                _ => tenth(size(0).min(size(1))),
            },
            Self::Concat => match args.first() {
                Some(Val::Text(_) | Val::Bytes(_)) => tenth(size(0).saturating_add(size(1))),
                _ => 1,
            },
            Self::Member => match args.get(1) {
                Some(Val::List(list)) => list.len() as u64,
                _ => 1,
            },
            Self::Product => size(0).saturating_mul(size(1)).saturating_add(1),
            Self::ProductTwice => size(0).saturating_mul(size(1)).saturating_mul(2).saturating_add(1),
            Self::Split | Self::Replace => share(size(0), 0.2),
            Self::Join => share(length(result), 0.2),
            Self::ContainsIp => share(size(0) * 2, 0.1) + other_text(args),
            Self::ContainsCidr => share(size(0) * 2, 0.1) + tenth(size(0)) + 1 + other_text(args),
        }
    }
}

/// What reading one item of the first operand costs, where items are texts.
fn reading_item(args: &[Checked]) -> u64 {
    match args.first().map(|list| (&list.ty, list)) {
        Some((Type::List(of), list)) if matches!(of.item, Type::String(_) | Type::Bytes(_)) => {
            tenth(item_size(list).unwrap_or(UNBOUNDED))
        }
        _ => 0,
    }
}

fn reading_text(args: &[Checked]) -> u64 {
    args.get(1).filter(|other| matches!(other.ty, Type::String(_))).map_or(0, |other| tenth(other.size()))
}

fn other_text(args: &[Val<'_>]) -> u64 {
    args.get(1).filter(|other| matches!(other, Val::Text(_))).map_or(0, |other| tenth(length(other)))
}

/// Twice the square of a list's size, and a little more where texts are compared.
fn squared(list: Option<&Checked>, size: u64) -> u64 {
    let of_texts = list.is_some_and(|list| match &list.ty {
        Type::List(of) => matches!(of.item, Type::String(_) | Type::Bytes(_)),
        _ => false,
    });
    share(size.saturating_mul(size), if of_texts { 2.1 } else { 2.0 })
}

/// The size of a value, as costs count it: characters, bytes, items, entries; 1 of what has none.
#[must_use]
pub fn length(value: &Val<'_>) -> u64 {
    match value {
        Val::Text(text) => characters(text.as_str()),
        Val::Bytes(bytes) => bytes.len() as u64,
        Val::List(list) => list.len() as u64,
        Val::Map(map) => map.len() as u64,
        Val::Optional(Some(inner)) => length(inner),
        Val::Foreign(foreign) => foreign.bytes(),
        _ => 1,
    }
}

/// Characters of a text.
#[must_use]
pub fn characters(text: &str) -> u64 {
    if text.is_ascii() { text.len() as u64 } else { text.chars().count() as u64 }
}

/// What it costs to look at all of a value, texts by their bytes.
fn traversal(value: &Val<'_>) -> u64 {
    match value {
        Val::Text(text) => text.as_str().len() as u64 / 10,
        Val::Bytes(bytes) => bytes.len() as u64 / 10,
        Val::List(List::Made(items)) => items.iter().map(traversal).sum(),
        Val::List(list) => list.items().map(|item| item.as_ref().map_or(1, traversal)).sum(),
        Val::Map(map) => entries(map),
        _ => 1,
    }
}

fn entries(map: &Map<'_>) -> u64 {
    map.entries().map(|entry| entry.map_or(1, |(key, value)| traversal(&key) + traversal(&value))).sum()
}

/// What sorting or comparing all items of a list with each other costs.
#[must_use]
pub fn all_with_all(items: &[Val<'_>]) -> u64 {
    let size = items.len() as u64;
    let twice = size.saturating_mul(size).saturating_mul(2);
    let texts = matches!(items.first(), Some(Val::Text(_) | Val::Bytes(_)));
    new_list(if texts { twice.saturating_add(size.saturating_mul(size) / 10) } else { twice })
}

/// What a function costs that makes a list of so many items.
#[must_use]
pub const fn new_list(items: u64) -> u64 {
    items.saturating_add(LIST + 1)
}

/// What a text costs that is held against a format whose expression has so many bytes.
#[must_use]
pub fn validated(text: &str, expression: u64) -> u64 {
    matching(characters(text), expression)
}

/// What a text costs that is matched against an expression.
#[must_use]
pub fn matched(text: &str, expression: u64) -> u64 {
    matching(characters(text), expression)
}
