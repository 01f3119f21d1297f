//! The owners of a new object, written down on the way through it: what [`super::Comparison`] with nothing would give,
//! without the sets in between.

use super::atom::{self, Atom, Field, Fields};
use super::codec::{write_field, write_key};
use super::compare::{Keyed, zero};
use super::update::is_stripped;
use super::{Context, Empty};
use serde_json::{Map, Value};

/// `fieldsV1` of everything that is set in `object`; `None` when that is nothing.
pub(super) fn fields_v1(context: &Context<'_>, object: &Value) -> Option<String> {
    let known = context.versions.schema(context.api_version).and_then(atom::structure).unwrap_or(Fields::Deduced);
    let mut writer = Writer { out: String::with_capacity(1024) };
    writer.out.push('{');
    for (name, value) in object.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" if context.tracks(name) => writer.metadata(known.field(name), value),
            _ if context.tracks(name) => {
                let parent = if context.empty == Empty::Typed { Parent::Present } else { Parent::New };
                writer.field(known.field(name), name, value, parent);
            }
            _ => {}
        }
    }
    writer.out.push('}');
    (writer.out.len() > 2).then_some(writer.out)
}

/// Whether the object that a field is of is there when nothing is set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parent {
    Present,
    New,
}

struct Writer {
    out: String,
}

impl Writer {
    /// The metadata itself, and what is the server's of it, is nobody's.
    fn metadata(&mut self, field: Field<'_>, value: &Value) {
        let Some(known) = field.schema().and_then(atom::structure) else { return };
        self.node("metadata", |writer| {
            for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| !is_stripped(name)) {
                writer.field(known.field(name), name, value, Parent::New);
            }
        });
    }

    /// A node that is no member: nothing at all unless something is below it.
    fn node(&mut self, name: &str, below: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        self.comma();
        write_field(&mut self.out, name);
        self.out.push_str(":{");
        let empty = self.out.len();
        below(self);
        if self.out.len() == empty {
            self.out.truncate(start);
        } else {
            self.out.push('}');
        }
    }

    fn comma(&mut self) {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
    }

    fn field(&mut self, field: Field<'_>, name: &str, value: &Value, parent: Parent) {
        let present = if parent == Parent::Present { zero(field) } else { None };
        match (atom::atom(field.schema(), Some(value)), present) {
            (_, Some(zero)) if zero == value => {}
            (Atom::Map(known), Some(_)) if value.as_object().is_some_and(|map| !map.is_empty()) => {
                self.node(name, |writer| writer.fields(known, value.as_object(), Parent::Present));
            }
            (Atom::List(known), Some(_)) if value.as_array().is_some_and(|list| !list.is_empty()) => {
                self.node(name, |writer| writer.items(known, atom::items(Some(value))));
            }
            (kind, _) => {
                self.comma();
                write_field(&mut self.out, name);
                self.member(kind, value);
            }
        }
    }

    /// The contents of a node that is a member.
    fn member(&mut self, kind: Atom<'_>, value: &Value) {
        self.out.push_str(":{");
        let start = self.out.len();
        self.out.push_str("\".\":{}");
        let dot = self.out.len();
        match kind {
            Atom::Leaf => {}
            Atom::Map(known) => self.fields(known, value.as_object(), Parent::New),
            Atom::List(known) => self.items(known, atom::items(Some(value))),
        }
        if self.out.len() == dot {
            self.out.truncate(start);
        }
        self.out.push('}');
    }

    fn fields(&mut self, known: Fields<'_>, map: Option<&Map<String, Value>>, parent: Parent) {
        for (name, value) in map.into_iter().flatten() {
            self.field(known.field(name), name, value, parent);
        }
    }

    fn items(&mut self, known: atom::Items<'_>, list: &[Value]) {
        let keyed = Keyed::of(known, list);
        for group in keyed.groups() {
            self.comma();
            write_key(&mut self.out, &group[0].0);
            match group {
                [(_, value)] => self.member(atom::atom(Some(known.schema), Some(value)), value),
                _ => self.out.push_str(":{}"),
            }
        }
    }
}
