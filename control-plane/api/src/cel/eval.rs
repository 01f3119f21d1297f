//! Runs compiled expressions. Every step is paid for from a budget, so none runs for longer than its caller allows.
//!
//! Invariant: the tree is at most [`super::check::MAX_DEPTH`] deep, so the recursion here fits any thread's stack.

use super::error::Fault;
use super::library::regexes::Cache;
use super::library::{Cost, Run};
use super::value::{Key, List, Map, Val};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A checked expression, its names resolved.
#[derive(Debug)]
pub enum Node {
    Const(Val<'static>),
    /// A variable.
    Slot(usize),
    Select(Box<Node>, Box<str>),
    Has(Box<Node>, Box<str>),
    /// `a.?b`.
    MaySelect(Box<Node>, Box<str>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Cond(Box<[Node; 3]>),
    /// True unless the operand is false: errors count as "go on".
    NotFalse(Box<Node>),
    Call(Run, Cost, Box<[Node]>),
    /// Whether something is one of those that are written out.
    Among(Box<Node>, BTreeSet<Key<'static>>),
    List(Box<[(Node, Presence)]>),
    Map(Box<[(Node, Node, Presence)]>),
    Loop(Box<Loop>),
    /// An item more for the list in a slot, which nobody else holds.
    Append(usize, Box<Node>),
    /// Entries more for the map in a slot: a key and a value, or a map.
    Insert(usize, Box<[Node]>),
}

/// Whether an item or entry is there at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Always,
    /// `[?x]`, `{?k: x}`: where the optional has a value.
    WithValue,
}

/// `all`, `exists`, `map`, `filter` and the like.
#[derive(Debug)]
pub struct Loop {
    pub range: Node,
    pub var: usize,
    pub var2: Option<usize>,
    pub accu: usize,
    pub init: Node,
    /// Asked before each round; None: always true.
    pub condition: Option<Node>,
    pub step: Node,
    pub result: Node,
}

/// What an evaluation holds.
pub struct Frame<'a> {
    /// Variables; those without a value hold the error that reading them is.
    pub slots: Vec<Result<Val<'a>, Fault>>,
    /// Units that are left.
    pub left: u64,
    pub regexes: Cache,
}

impl Frame<'_> {
    /// Pays for work, before it is done.
    ///
    /// # Errors
    /// [`Fault::Budget`] where too little is left.
    pub fn charge(&mut self, cost: u64) -> Result<(), Fault> {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Fault::Budget)
            }
        }
    }
}

impl Node {
    /// # Errors
    /// What CEL calls an error, and [`Fault::Budget`].
    pub fn eval<'a>(&'a self, frame: &mut Frame<'a>) -> Result<Val<'a>, Fault> {
        match self {
            Self::Const(value) => Ok(value.clone()),
            Self::Slot(at) => {
                frame.charge(1)?;
                frame.slots.get(*at).cloned().unwrap_or(Err(Fault::text("no such attribute(s)")))
            }
            Self::Select(operand, field) => {
                let operand = operand.eval(frame)?;
                frame.charge(1)?;
                select(&operand, field)
            }
            Self::Has(operand, field) => {
                let operand = operand.eval(frame)?;
                has(&operand, field).map(Val::Bool)
            }
            Self::MaySelect(operand, field) => {
                let operand = operand.eval(frame)?;
                frame.charge(1)?;
                may_select(&operand, field)
            }
            Self::And(pair) => junction(pair, false, frame),
            Self::Or(pair) => junction(pair, true, frame),
            Self::Cond(parts) => match parts[0].eval(frame)? {
                Val::Bool(true) => parts[1].eval(frame),
                Val::Bool(false) => parts[2].eval(frame),
                _ => Err(Fault::no_overload()),
            },
            Self::NotFalse(operand) => {
                frame.charge(1)?;
                match operand.eval(frame) {
                    Err(Fault::Budget) => Err(Fault::Budget),
                    Ok(Val::Bool(truth)) => Ok(Val::Bool(truth)),
                    _ => Ok(Val::Bool(true)),
                }
            }
            Self::Call(run, cost, args) => call(*run, *cost, args, frame),
            Self::Among(item, all) => item.eval(frame).map(|item| Val::Bool(among(&item, all))),
            Self::List(items) => list(items, frame),
            Self::Map(entries) => map(entries, frame),
            Self::Loop(it) => it.eval(frame),
            Self::Append(slot, item) => append(*slot, item, frame),
            Self::Insert(slot, parts) => insert(*slot, parts, frame),
        }
    }
}

fn select<'a>(operand: &Val<'a>, field: &str) -> Result<Val<'a>, Fault> {
    match operand {
        Val::Map(map) => map.field(field)?.ok_or_else(|| Fault::no_key(field)),
        Val::Optional(None) => Ok(Val::Optional(None)),
        Val::Optional(Some(_)) => may_select(operand, field),
        // Only where nobody declared what stands there.
        _ => Err(Fault::no_key(field)),
    }
}

fn has(operand: &Val<'_>, field: &str) -> Result<bool, Fault> {
    match operand {
        Val::Map(map) => Ok(map.field(field)?.is_some()),
        Val::Optional(None) => Ok(false),
        Val::Optional(Some(inner)) => has(inner, field),
        _ => Ok(false),
    }
}

fn may_select<'a>(operand: &Val<'a>, field: &str) -> Result<Val<'a>, Fault> {
    match operand {
        Val::Map(map) => Ok(Val::Optional(map.field(field)?.map(Arc::new))),
        Val::Optional(None) => Ok(Val::Optional(None)),
        Val::Optional(Some(inner)) => may_select(inner, field),
        _ => Ok(Val::Optional(None)),
    }
}

/// `&&` and `||`: either operand may decide (`decisive`), whatever the other one is.
fn junction<'a>(pair: &'a [Node; 2], decisive: bool, frame: &mut Frame<'a>) -> Result<Val<'a>, Fault> {
    let first = pair[0].eval(frame);
    match first {
        Err(Fault::Budget) => return first,
        Ok(Val::Bool(truth)) if truth == decisive => return first,
        _ => {}
    }
    let second = pair[1].eval(frame);
    match (first, second) {
        (_, Err(Fault::Budget)) => Err(Fault::Budget),
        (_, Ok(Val::Bool(truth))) if truth == decisive => Ok(Val::Bool(truth)),
        (Err(fault), _) | (_, Err(fault)) => Err(fault),
        (Ok(Val::Bool(_)), Ok(Val::Bool(_))) => Ok(Val::Bool(!decisive)),
        _ => Err(Fault::no_overload()),
    }
}

fn among<'a>(item: &Val<'a>, all: &BTreeSet<Key<'a>>) -> bool {
    item.key().is_ok_and(|key| all.contains(&key))
}

fn call<'a>(run: Run, cost: Cost, args: &'a [Node], frame: &mut Frame<'a>) -> Result<Val<'a>, Fault> {
    match args {
        [one] => paid(run, cost, &[one.eval(frame)?], frame),
        [one, two] => paid(run, cost, &[one.eval(frame)?, two.eval(frame)?], frame),
        more => {
            let args: Vec<Val<'a>> = more.iter().map(|arg| arg.eval(frame)).collect::<Result<_, _>>()?;
            paid(run, cost, &args, frame)
        }
    }
}

/// Runs a function. What it costs follows from its operands and its result; work beyond that it pays for before it does it.
fn paid<'a>(run: Run, cost: Cost, args: &[Val<'a>], frame: &mut Frame<'a>) -> Result<Val<'a>, Fault> {
    let result = run(frame, args);
    frame.charge(cost.actual(args, result.as_ref().unwrap_or(&Val::Null)))?;
    result
}

fn present<'a>(value: Val<'a>, presence: Presence) -> Result<Option<Val<'a>>, Fault> {
    match (presence, value) {
        (Presence::Always, value) => Ok(Some(value)),
        (Presence::WithValue, Val::Optional(inner)) => Ok(inner.map(|inner| Val::clone(&inner))),
        (Presence::WithValue, _) => Err(Fault::no_overload()),
    }
}

fn list<'a>(items: &'a [(Node, Presence)], frame: &mut Frame<'a>) -> Result<Val<'a>, Fault> {
    frame.charge(10)?;
    let mut made = Vec::with_capacity(items.len());
    for (item, presence) in items {
        made.extend(present(item.eval(frame)?, *presence)?);
    }
    Ok(made.into())
}

fn map<'a>(entries: &'a [(Node, Node, Presence)], frame: &mut Frame<'a>) -> Result<Val<'a>, Fault> {
    frame.charge(30)?;
    let mut made = BTreeMap::new();
    for (key, value, presence) in entries {
        let key = key.eval(frame)?.key()?;
        if let Some(value) = present(value.eval(frame)?, *presence)? {
            made.insert(key, value);
        }
    }
    Ok(Val::Map(Map::Made(Arc::new(made))))
}

fn add<'a>(map: &mut BTreeMap<Key<'a>, Val<'a>>, key: Key<'a>, value: Val<'a>) -> Result<(), Fault> {
    if map.contains_key(&key) {
        return Err(Fault::of(format!("insert failed: key {} already exists", key.shown())));
    }
    map.insert(key, value);
    Ok(())
}

/// The value of a slot that is about to be written anew.
fn take<'a>(slot: usize, frame: &mut Frame<'a>) -> Result<Val<'a>, Fault> {
    frame.slots.get_mut(slot).map_or(Err(Fault::no_overload()), |slot| std::mem::replace(slot, Ok(Val::Null)))
}

fn append<'a>(slot: usize, item: &'a Node, frame: &mut Frame<'a>) -> Result<Val<'a>, Fault> {
    let item = item.eval(frame)?;
    // A list of the one item, and the two lists as one.
    frame.charge(12)?;
    match take(slot, frame)? {
        Val::List(List::Made(mut items)) => {
            Arc::make_mut(&mut items).push(item);
            Ok(Val::List(List::Made(items)))
        }
        _ => Err(Fault::no_overload()),
    }
}

fn insert<'a>(slot: usize, parts: &'a [Node], frame: &mut Frame<'a>) -> Result<Val<'a>, Fault> {
    let mut values = Vec::with_capacity(2);
    for part in parts {
        values.push(part.eval(frame)?);
    }
    frame.charge(2)?;
    let Val::Map(Map::Made(mut map)) = take(slot, frame)? else { return Err(Fault::no_overload()) };
    let made = Arc::make_mut(&mut map);
    match values.as_slice() {
        [key, value] => add(made, key.key()?, value.clone())?,
        [Val::Map(more)] => {
            for entry in more.entries() {
                let (key, value) = entry?;
                frame.charge(1)?;
                add(made, key.key()?, value)?;
            }
        }
        _ => return Err(Fault::no_overload()),
    }
    Ok(Val::Map(Map::Made(map)))
}

impl Loop {
    fn eval<'a>(&'a self, frame: &mut Frame<'a>) -> Result<Val<'a>, Fault> {
        let range = self.range.eval(frame)?;
        let init = self.init.eval(frame);
        self.set(self.accu, init, frame)?;
        match range {
            Val::List(list) => {
                for index in 0..list.len() {
                    let Some(item) = list.get(index)? else { break };
                    let position = Val::Int(i64::try_from(index).unwrap_or(i64::MAX));
                    if !self.round(position, item, Side::Second, frame)? {
                        break;
                    }
                }
            }
            Val::Map(map) => {
                for entry in map.entries() {
                    let (key, value) = entry?;
                    if !self.round(key, value, Side::First, frame)? {
                        break;
                    }
                }
            }
            other => return Err(Fault::of(format!("got '{}', expected iterable type", other.go_type()))),
        }
        self.result.eval(frame)
    }

    fn set<'a>(&self, slot: usize, value: Result<Val<'a>, Fault>, frame: &mut Frame<'a>) -> Result<(), Fault> {
        match (value, frame.slots.get_mut(slot)) {
            (Err(Fault::Budget), _) => Err(Fault::Budget),
            // Only conditions can make anything of an error in the accumulator.
            (Err(fault), _) if self.condition.is_none() => Err(fault),
            (value, Some(slot)) => {
                *slot = value;
                Ok(())
            }
            (_, None) => Err(Fault::no_overload()),
        }
    }

    /// One round; false: the condition says that there are enough. `single`: which of the two a lone variable takes.
    fn round<'a>(
        &'a self,
        first: Val<'a>,
        second: Val<'a>,
        single: Side,
        frame: &mut Frame<'a>,
    ) -> Result<bool, Fault> {
        if let Some(condition) = &self.condition
            && matches!(condition.eval(frame)?, Val::Bool(false))
        {
            return Ok(false);
        }
        match (self.var2, single) {
            (Some(var2), _) => {
                self.set(self.var, Ok(first), frame)?;
                self.set(var2, Ok(second), frame)?;
            }
            (None, Side::First) => self.set(self.var, Ok(first), frame)?,
            (None, Side::Second) => self.set(self.var, Ok(second), frame)?,
        }
        let step = self.step.eval(frame);
        self.set(self.accu, step, frame)?;
        Ok(true)
    }
}

#[derive(Clone, Copy)]
enum Side {
    First,
    Second,
}

/// The input of a variable: JSON, by its declared type.
pub fn input<'a>(value: Option<&'a Value>, name: &str, ty: &'a super::Type) -> Result<Val<'a>, Fault> {
    match (value, ty) {
        (Some(value), ty) => Val::of(value, ty),
        (None, super::Type::Optional(_)) => Ok(Val::Optional(None)),
        (None, _) => Err(absent(name)),
    }
}

/// The error that a variable without a value is.
pub fn absent(name: &str) -> Fault {
    Fault::of(format!("no such attribute(s): {name}"))
}
