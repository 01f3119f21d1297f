//! Owned fields after their kind's schema changed: places that have become atomic (`typed.ReconcileFieldSetWithSchema`).

use super::atom::{self, Atom, Field};
use super::compare;
use super::path::Element;
use super::set::{Node, Set};
use crate::schema::{Schema, Shape};
use serde_json::Value;

/// The set as the schema has it now: who owned a part of what is one whole now owns all of it. `None` when nothing
/// changed. Of a whole that has parts now nobody can say whose they are: as documented, that makes no conflicts.
pub(super) fn reconcile(schema: Option<&Schema>, set: &Set, live: &Value) -> Option<Set> {
    let schema = schema?;
    let changed = below(Some(schema), set, Some(live));
    (changed != *set).then_some(changed)
}

fn below(schema: Option<&Schema>, set: &Set, live: Option<&Value>) -> Set {
    let items = items(schema, set, live);
    let nodes = set.nodes().map(|node| match step(schema, &node.element, live, items.as_ref()) {
        Some((child, value)) => reconciled(child, node, value),
        None => node.clone(),
    });
    Set::of(nodes.collect())
}

fn reconciled(schema: &Schema, node: &Node, live: Option<&Value>) -> Node {
    let element = node.element.clone();
    let compound = matches!(schema.resolved().shape, Shape::Object(_) | Shape::Map(_) | Shape::List(_));
    let whole = compound && matches!(atom::atom(Some(schema), live), Atom::Leaf);
    if whole && !node.children.is_empty() {
        return Node { element, member: true, children: Set::default() };
    }
    Node { element, member: node.member, children: below(Some(schema), &node.children, live) }
}

/// The items of a list that are told apart by keys: in order, so that each of a long list is soon found.
fn items<'a>(
    schema: Option<&'a Schema>,
    set: &Set,
    live: Option<&'a Value>,
) -> Option<(&'a Schema, compare::Keyed<'a>)> {
    if !set.nodes().any(|node| matches!(node.element, Element::Key(_))) {
        return None;
    }
    let Atom::List(items) = atom::atom(Some(schema?), live) else { return None };
    Some((items.schema, compare::Keyed::of(items, atom::items(live))))
}

/// Where an element leads, if a schema is known there.
fn step<'a>(
    schema: Option<&'a Schema>,
    element: &Element,
    live: Option<&'a Value>,
    items: Option<&(&'a Schema, compare::Keyed<'a>)>,
) -> Option<(&'a Schema, Option<&'a Value>)> {
    let schema = schema?;
    match element {
        Element::Field(name) => {
            let field = atom::structure(schema)?.field(name);
            match field {
                Field::Named(child) | Field::Data(Some(child)) => {
                    Some((child, live.and_then(|value| value.get(&**name))))
                }
                _ => None,
            }
        }
        Element::Key(_) => items.map(|(schema, items)| (*schema, items.first(element))),
        Element::Value(_) | Element::Index(_) => None,
    }
}
