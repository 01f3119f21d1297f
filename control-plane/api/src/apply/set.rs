//! Sets of fields: trees of path elements, of which some are members. The operations are those of
//! `structured-merge-diff`'s `fieldpath.Set`.
//!
//! Invariant: the nodes of a level are sorted and distinct, and every node is a member or has children.

use super::path::{Element, path_text};
use crate::schema::{Schema, Shape};
use std::cmp::Ordering;

/// A set of fields below one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    nodes: Vec<Node>,
}

/// One path element of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub element: Element,
    /// Whether the place itself is in the set, apart from what is below it.
    pub member: bool,
    pub children: Set,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

impl Set {
    /// A set of nodes in any order. Nodes without members are dropped; equal ones are united.
    #[must_use]
    pub(super) fn of(mut nodes: Vec<Node>) -> Self {
        nodes.retain(|node| !node.is_empty());
        if !nodes.is_sorted_by(|a, b| a.element < b.element) {
            nodes.sort_by(|a, b| a.element.cmp(&b.element));
            let mut distinct: Vec<Node> = Vec::with_capacity(nodes.len());
            for node in nodes {
                match distinct.last_mut() {
                    Some(last) if last.element == node.element => {
                        last.member |= node.member;
                        last.children = last.children.union(&node.children);
                    }
                    _ => distinct.push(node),
                }
            }
            nodes = distinct;
        }
        Self { nodes }
    }

    /// The set of these paths.
    #[must_use]
    pub fn from_paths(paths: impl IntoIterator<Item = Vec<Element>>) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path);
        }
        set
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    fn position(&self, element: &Element) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.element.cmp(element))
    }

    #[must_use]
    pub fn node(&self, element: &Element) -> Option<&Node> {
        self.position(element).ok().map(|at| &self.nodes[at])
    }

    /// Adds a path. The empty path, which is the whole object, is nobody's.
    pub fn insert(&mut self, path: impl IntoIterator<Item = Element>) {
        let mut path = path.into_iter().peekable();
        let mut set = self;
        while let Some(element) = path.next() {
            let at = match set.position(&element) {
                Ok(at) => at,
                Err(at) => {
                    set.nodes.insert(at, Node { element, member: false, children: Self::default() });
                    at
                }
            };
            let node = &mut set.nodes[at];
            if path.peek().is_none() {
                node.member = true;
            }
            set = &mut node.children;
        }
    }

    /// Whether the path is in the set.
    #[must_use]
    pub fn has(&self, path: &[&Element]) -> bool {
        let Some((last, parents)) = path.split_last() else { return false };
        let parent = parents.iter().try_fold(self, |set, element| set.node(element).map(|node| &node.children));
        parent.and_then(|set| set.node(last)).is_some_and(|node| node.member)
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |mine, theirs| match (mine, theirs) {
            (Some(one), None) | (None, Some(one)) => Some(one.clone()),
            (Some(a), Some(b)) => Some(Node {
                element: a.element.clone(),
                member: a.member || b.member,
                children: a.children.union(&b.children),
            }),
            (None, None) => None,
        })
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |mine, theirs| match (mine, theirs) {
            (Some(a), Some(b)) => Some(Node {
                element: a.element.clone(),
                member: a.member && b.member,
                children: a.children.intersection(&b.children),
            }),
            _ => None,
        })
    }

    /// What is here and not there, path by path: taking away a place leaves what is below it.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.zip(other, |mine, theirs| match (mine, theirs) {
            (Some(a), None) => Some(a.clone()),
            (Some(a), Some(b)) => Some(Node {
                element: a.element.clone(),
                member: a.member && !b.member,
                children: a.children.difference(&b.children),
            }),
            _ => None,
        })
    }

    /// As [`Set::difference`], but what is below a place goes with it.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        self.zip(other, |mine, theirs| match (mine, theirs) {
            (Some(a), None) => Some(a.clone()),
            (Some(a), Some(b)) if !b.member => Some(Node {
                element: a.element.clone(),
                member: a.member,
                children: a.children.recursive_difference(&b.children),
            }),
            _ => None,
        })
    }

    /// The members that have no members below them.
    #[must_use]
    pub fn leaves(&self) -> Self {
        let nodes = self.nodes.iter().map(|node| Node {
            element: node.element.clone(),
            member: node.member && node.children.is_empty(),
            children: node.children.leaves(),
        });
        Self { nodes: nodes.collect() }
    }

    /// The set with every named field on the way to a member made a member: fields of a struct, not keys of a map.
    #[must_use]
    pub fn ensure_named_fields_are_members(&self, schema: Option<&Schema>) -> Self {
        let nodes = self.nodes.iter().map(|node| {
            let (named, child) = match &node.element {
                Element::Field(name) => {
                    let field = schema.and_then(|s| s.child(name));
                    let is_struct = matches!(schema.map(|s| &s.resolved().shape), Some(Shape::Object(_)));
                    (is_struct && field.is_some(), field)
                }
                Element::Key(_) => (false, schema.and_then(Schema::items)),
                Element::Value(_) | Element::Index(_) => (false, None),
            };
            Node {
                element: node.element.clone(),
                member: node.member || named,
                children: node.children.ensure_named_fields_are_members(child),
            }
        });
        Self { nodes: nodes.collect() }
    }

    /// Leaves only the top-level fields that `keep` wants.
    pub(super) fn retain_fields(&mut self, keep: impl Fn(&str) -> bool) {
        self.nodes.retain(|node| match &node.element {
            Element::Field(name) => keep(name),
            _ => true,
        });
    }

    /// Calls `visit` with every member's path: those of a level before what is below them.
    pub fn for_each(&self, visit: &mut impl FnMut(&[&Element])) {
        self.walk(&mut Vec::new(), visit);
    }

    fn walk<'s>(&'s self, path: &mut Vec<&'s Element>, visit: &mut impl FnMut(&[&Element])) {
        for node in self.nodes.iter().filter(|node| node.member) {
            path.push(&node.element);
            visit(path);
            path.pop();
        }
        for node in &self.nodes {
            path.push(&node.element);
            node.children.walk(path, visit);
            path.pop();
        }
    }

    /// The members as messages show them, one text each.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        self.for_each(&mut |path| texts.push(path_text(path)));
        texts
    }

    /// Both sets' nodes in order, equal ones together.
    fn zip(&self, other: &Self, mut join: impl FnMut(Option<&Node>, Option<&Node>) -> Option<Node>) -> Self {
        let mut nodes = Vec::new();
        let (mut mine, mut theirs) = (self.nodes.iter().peekable(), other.nodes.iter().peekable());
        loop {
            let order = match (mine.peek(), theirs.peek()) {
                (None, None) => return Self { nodes },
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.element.cmp(&b.element),
            };
            let joined = match order {
                Ordering::Less => join(mine.next(), None),
                Ordering::Greater => join(None, theirs.next()),
                Ordering::Equal => join(mine.next(), theirs.next()),
            };
            nodes.extend(joined.filter(|node| !node.is_empty()));
        }
    }
}
