//! JSON patch (RFC 6902). A library applies it; kube-apiserver's forgives more than the RFC: places in lists may be counted
//! from their end, a member that is not there can be replaced and, as null, copied and tested. So each operation is rewritten
//! as the RFC has it, for the document that it finds.

use super::{MAX_COPIED_BYTES, MAX_MOVED};
use crate::decode::MAX_DEPTH;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation};
use serde_json::Value;
use std::borrow::Cow;

/// An operation does not apply; kube-apiserver does not say which or why.
#[derive(Debug)]
pub(super) struct Refused;

/// One operation. A value that is not there is null.
enum Operation<'p> {
    Add(Pointer<'p>, &'p Value),
    Remove(Pointer<'p>),
    Replace(Pointer<'p>, &'p Value),
    ReplaceAll(&'p Value),
    Move(Pointer<'p>, Pointer<'p>),
    Copy(Pointer<'p>, Pointer<'p>),
    Test(Pointer<'p>, &'p Value),
    TestAll(&'p Value),
}

/// The way to a place: the containers that it is in, and what it is called in the last of them.
struct Pointer<'p> {
    parents: Vec<Cow<'p, str>>,
    name: Cow<'p, str>,
}

/// How far the places of a list go.
#[derive(Clone, Copy)]
enum End {
    /// To its last item.
    Last,
    /// To behind it, where one more can be put.
    Behind,
}

/// What a patch has cost so far.
#[derive(Default)]
struct Spent {
    copied: usize,
    moved: usize,
}

/// `operations`, which are objects, one after the other.
pub(super) fn apply(document: &Value, operations: &[Value]) -> Result<Value, Refused> {
    let mut result = document.clone();
    let mut spent = Spent::default();
    for operation in operations {
        run(&mut result, Operation::of(operation).ok_or(Refused)?, &mut spent)?;
    }
    Ok(result)
}

impl<'p> Operation<'p> {
    fn of(operation: &'p Value) -> Option<Self> {
        let text = |name: &str| operation.get(name).and_then(Value::as_str);
        let value = operation.get("value").unwrap_or(&Value::Null);
        let path = text("path")?;
        Some(match text("op")? {
            "replace" if path.is_empty() => Self::ReplaceAll(value),
            "test" if path.is_empty() => Self::TestAll(value),
            "add" => Self::Add(Pointer::of(path)?, value),
            "remove" => Self::Remove(Pointer::of(path)?),
            "replace" => Self::Replace(Pointer::of(path)?, value),
            "test" => Self::Test(Pointer::of(path)?, value),
            "move" => Self::Move(Pointer::of(text("from")?)?, Pointer::of(path)?),
            "copy" => Self::Copy(Pointer::of(text("from")?)?, Pointer::of(path)?),
            _ => return None,
        })
    }
}

impl<'p> Pointer<'p> {
    /// What stands before the first slash does not count.
    fn of(text: &'p str) -> Option<Self> {
        let (_, steps) = text.split_once('/')?;
        let mut parents: Vec<Cow<'p, str>> = steps.split('/').map(unescaped).collect();
        let name = parents.pop()?;
        Some(Self { parents, name })
    }

    /// The object or list that the place is in.
    fn container<'d>(&self, document: &'d Value) -> Option<&'d Value> {
        let found = self.parents.iter().try_fold(document, |value, step| get(value, step).ok().flatten())?;
        (found.is_object() || found.is_array()).then_some(found)
    }

    /// The same place in the RFC's words.
    fn exact(&self, document: &Value, end: End) -> Result<PointerBuf, Refused> {
        let mut exact = PointerBuf::new();
        let mut value = document;
        for step in &self.parents {
            match value {
                Value::Array(list) => exact.push_back(place(step, list.len()).ok_or(Refused)?),
                _ => exact.push_back(step.as_ref()),
            }
            value = get(value, step)?.ok_or(Refused)?;
        }
        match (value, end) {
            (Value::Object(_), _) => exact.push_back(self.name.as_ref()),
            (Value::Array(_), End::Behind) if self.name == "-" => exact.push_back("-"),
            (Value::Array(list), End::Behind) => exact.push_back(place(&self.name, list.len() + 1).ok_or(Refused)?),
            (Value::Array(list), End::Last) => exact.push_back(place(&self.name, list.len()).ok_or(Refused)?),
            _ => return Err(Refused),
        }
        Ok(exact)
    }

    /// What stands at the place; `None` for a member that an object does not have.
    fn find<'d>(&self, document: &'d Value) -> Result<Option<&'d Value>, Refused> {
        get(self.container(document).ok_or(Refused)?, &self.name)
    }

    /// The items of a list from this place on: those that move when it is filled or emptied.
    fn behind(&self, document: &Value) -> usize {
        match self.container(document) {
            Some(Value::Array(list)) => place(&self.name, list.len()).map_or(0, |at| list.len() - at),
            _ => 0,
        }
    }

    fn depth(&self) -> usize {
        self.parents.len() + 1
    }
}

/// `~1` is a slash, `~0` a tilde.
fn unescaped(step: &str) -> Cow<'_, str> {
    if step.contains('~') { step.replace("~1", "/").replace("~0", "~").into() } else { step.into() }
}

fn get<'d>(container: &'d Value, name: &str) -> Result<Option<&'d Value>, Refused> {
    match container {
        Value::Object(map) => Ok(map.get(name)),
        Value::Array(list) => place(name, list.len()).and_then(|at| list.get(at)).map(Some).ok_or(Refused),
        _ => Err(Refused),
    }
}

/// A place among `count`; from the end where it is negative.
fn place(name: &str, count: usize) -> Option<usize> {
    let index: i64 = name.parse().ok()?;
    let index = if index < 0 { index.checked_add_unsigned(count as u64)? } else { index };
    usize::try_from(index).ok().filter(|at| *at < count)
}

fn run(document: &mut Value, operation: Operation<'_>, spent: &mut Spent) -> Result<(), Refused> {
    let root = PointerBuf::new();
    match operation {
        Operation::Add(path, value) => add(document, &path, value.clone(), spent),
        Operation::Remove(path) => remove(document, &path, spent),
        Operation::Replace(path, value) => replace(document, &path, value.clone()),
        // Anything but a container changes nothing, as in the library.
        Operation::ReplaceAll(value) if !value.is_object() && !value.is_array() => Ok(()),
        Operation::ReplaceAll(value) => {
            by_the_rfc(document, PatchOperation::Replace(ReplaceOperation { path: root, value: value.clone() }))
        }
        Operation::Move(from, path) => {
            let value = from.find(document)?.ok_or(Refused)?;
            spent.moved = spent.moved.saturating_add(values(value));
            let value = value.clone();
            remove(document, &from, spent)?;
            add(document, &path, value, spent)
        }
        Operation::Copy(from, path) => {
            let value = from.find(document)?;
            spent.moved = spent.moved.saturating_add(value.map_or(0, values));
            spent.copied += value.map_or(0, |value| value.to_string().len());
            if spent.copied > MAX_COPIED_BYTES {
                return Err(Refused);
            }
            let value = value.cloned().unwrap_or_default();
            add(document, &path, value, spent)
        }
        Operation::Test(path, wanted) if path.find(document)?.is_none() && wanted.is_null() => Ok(()),
        Operation::Test(path, wanted) => {
            let path = path.exact(document, End::Last)?;
            by_the_rfc(document, PatchOperation::Test(TestOperation { path, value: wanted.clone() }))
        }
        Operation::TestAll(wanted) => {
            by_the_rfc(document, PatchOperation::Test(TestOperation { path: root, value: wanted.clone() }))
        }
    }
}

fn by_the_rfc(document: &mut Value, operation: PatchOperation) -> Result<(), Refused> {
    json_patch::patch_unsafe(document, &[operation]).map_err(|_| Refused)
}

fn add(document: &mut Value, path: &Pointer<'_>, value: Value, spent: &mut Spent) -> Result<(), Refused> {
    spend(spent, path, document)?;
    bounded(path, &value)?;
    let path = path.exact(document, End::Behind)?;
    by_the_rfc(document, PatchOperation::Add(AddOperation { path, value }))
}

fn remove(document: &mut Value, path: &Pointer<'_>, spent: &mut Spent) -> Result<(), Refused> {
    spend(spent, path, document)?;
    let path = path.exact(document, End::Last)?;
    by_the_rfc(document, PatchOperation::Remove(RemoveOperation { path }))
}

fn replace(document: &mut Value, path: &Pointer<'_>, value: Value) -> Result<(), Refused> {
    bounded(path, &value)?;
    let is_new = path.find(document)?.is_none();
    let path = path.exact(document, End::Last)?;
    let operation = if is_new {
        PatchOperation::Add(AddOperation { path, value })
    } else {
        PatchOperation::Replace(ReplaceOperation { path, value })
    };
    by_the_rfc(document, operation)
}

fn spend(spent: &mut Spent, path: &Pointer<'_>, document: &Value) -> Result<(), Refused> {
    spent.moved = spent.moved.saturating_add(path.behind(document));
    if spent.moved > MAX_MOVED { Err(Refused) } else { Ok(()) }
}

/// Operations could otherwise build, level upon level, what no decoder reads and what overflows the stack of code that walks
/// it.
fn bounded(path: &Pointer<'_>, value: &Value) -> Result<(), Refused> {
    if path.depth() + depth(value) > MAX_DEPTH { Err(Refused) } else { Ok(()) }
}

/// How many arrays and objects lie within each other.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// How many values a value is made of.
fn values(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(values).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(values).sum::<usize>(),
        _ => 1,
    }
}
