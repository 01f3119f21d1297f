//! `fieldsV1`: sets as JSON text and back, and questions that are answered on the text itself, so that a write need not
//! build the sets of managers whom it does not concern.

use super::path::{Element, Malformed};
use super::set::{Node, Set};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::{self, Write as _};

impl Set {
    /// Appends the set as `fieldsV1` has it: `{"f:metadata":{"f:labels":{".":{},"f:app":{}}}}`.
    pub fn write(&self, out: &mut String) {
        out.push('{');
        self.write_nodes(out, true);
        out.push('}');
    }

    /// `fieldsV1`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write_nodes(&self, out: &mut String, mut first: bool) {
        for node in self.nodes() {
            if !std::mem::replace(&mut first, false) {
                out.push(',');
            }
            write_key(out, &node.element);
            out.push_str(":{");
            if node.member && !node.children.is_empty() {
                out.push_str("\".\":{}");
                node.children.write_nodes(out, false);
            } else {
                node.children.write_nodes(out, true);
            }
            out.push('}');
        }
    }

    /// Reads `fieldsV1`, in any order.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<Tree>(text).map(|tree| tree.children)
    }
}

/// `f:name` as a JSON string.
pub(super) fn write_field(out: &mut String, name: &str) {
    out.push_str("\"f:");
    if is_plain(name) {
        out.push_str(name);
        out.push('"');
    } else {
        out.push_str(&Value::from(name).to_string()[1..]);
    }
}

/// The element as a JSON string.
pub(super) fn write_key(out: &mut String, element: &Element) {
    match element {
        Element::Field(name) => write_field(out, name),
        Element::Key(fields) if fields.iter().all(|(name, value)| is_plain(name) && is_simple(value)) => {
            out.push_str("\"k:{");
            for (position, (name, value)) in fields.iter().enumerate() {
                out.push_str(if position > 0 { ",\\\"" } else { "\\\"" });
                out.push_str(name);
                out.push_str("\\\":");
                write_simple(out, value);
            }
            out.push_str("}\"");
        }
        Element::Value(value) if is_simple(value) => {
            out.push_str("\"v:");
            write_simple(out, value);
            out.push('"');
        }
        other => push_json(out, &other.to_text()),
    }
}

/// Whether [`write_simple`] can write the value.
fn is_simple(value: &Value) -> bool {
    match value {
        Value::String(text) => is_plain(text),
        other => other.is_i64(),
    }
}

/// A value's JSON within a JSON string.
fn write_simple(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => {
            out.push_str("\\\"");
            out.push_str(text);
            out.push_str("\\\"");
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

pub(super) fn push_json(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

/// Whether JSON writes the text as it is.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
}

/// A node's contents while it is read.
struct Tree {
    member: bool,
    children: Set,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of path elements")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree { member: true, children: Set::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut nodes = Vec::new();
        let mut member = false;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "." {
                member = true;
                map.next_value::<serde::de::IgnoredAny>()?;
                continue;
            }
            match Element::parse(&key).map_err(|error: Malformed| A::Error::custom(error))? {
                Some(element) => {
                    let tree: Tree = map.next_value()?;
                    nodes.push(Node { element, member: tree.member, children: tree.children });
                }
                None => {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
        }
        let children = Set::of(nodes);
        Ok(Tree { member: member || children.is_empty(), children })
    }
}

/// How a set relates to another that is still text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overlap {
    /// Some member of the set is in the text.
    pub any: bool,
    /// Every member of the set is in the text.
    pub all: bool,
}

/// A set made ready to be looked for in texts: its elements as they stand there.
#[derive(Debug)]
pub(super) struct Pattern {
    nodes: Vec<PatternNode>,
    members: usize,
}

#[derive(Debug)]
struct PatternNode {
    /// What is between the quotes.
    key: String,
    member: bool,
    below: Pattern,
}

impl Pattern {
    pub(super) fn of(set: &Set) -> Self {
        let nodes: Vec<PatternNode> = set
            .nodes()
            .map(|node| {
                let mut key = String::new();
                write_key(&mut key, &node.element);
                key.pop();
                key.remove(0);
                PatternNode { key, member: node.member, below: Self::of(&node.children) }
            })
            .collect();
        let members = nodes.iter().map(|node| usize::from(node.member) + node.below.members).sum();
        Self { nodes, members }
    }

    /// Compares with `fieldsV1` text in one pass over the text, without building what it says.
    pub(super) fn overlap(&self, text: &str) -> Overlap {
        let mut scanner = Scanner { bytes: text.as_bytes(), at: 0 };
        let mut found = 0;
        scanner.object(self, &mut found);
        Overlap { any: found > 0, all: found == self.members }
    }

    fn find(&self, key: &[u8]) -> Option<&PatternNode> {
        self.nodes.iter().find(|node| node.key.as_bytes() == key)
    }
}

impl Set {
    /// How many paths are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes().map(|node| usize::from(node.member) + node.children.len()).sum()
    }
}

/// Reads `fieldsV1` that this module has written: compact JSON of nothing but objects.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Reads one object and counts the members of the pattern in it. The answer: whether the object says that its place is a
    /// member itself.
    fn object(&mut self, wanted: &Pattern, found: &mut usize) -> bool {
        if wanted.nodes.is_empty() {
            let text = self.pass();
            return text == b"{}" || says_member(text);
        }
        let (mut member, mut children) = (false, false);
        self.at += 1;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {}
                Some(b',') => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    self.at += 1;
                    return member || !children;
                }
            }
            let key = self.string();
            self.at += 1;
            if key == b"." {
                member = true;
                self.pass();
                continue;
            }
            children = true;
            let Some(node) = wanted.find(key) else {
                self.pass();
                continue;
            };
            if self.object(&node.below, found) && node.member {
                *found += 1;
            }
        }
    }

    /// The string at the cursor, without its quotes, still escaped.
    fn string(&mut self) -> &'a [u8] {
        let start = self.at + 1;
        self.at = start;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let end = self.at.min(self.bytes.len());
        self.at += 1;
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Passes over one object. The answer: its text.
    fn pass(&mut self) -> &'a [u8] {
        let start = self.at;
        let mut depth = 0_usize;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' => depth += 1,
                b'}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        self.at += 1;
                        break;
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
        self.bytes.get(start..self.at.min(self.bytes.len())).unwrap_or_default()
    }
}

/// Whether an object's own members have a `"."`, wherever it stands.
fn says_member(text: &[u8]) -> bool {
    if text.starts_with(b"{\".\":") {
        return true;
    }
    let mut scanner = Scanner { bytes: text, at: 1 };
    while let Some(byte) = scanner.bytes.get(scanner.at) {
        if *byte != b'"' {
            scanner.at += 1;
            continue;
        }
        if scanner.string() == b"." {
            return true;
        }
        scanner.at += 1;
        scanner.pass();
    }
    false
}
