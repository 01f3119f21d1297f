//! Keeping `managedFields` at writes that are no apply: what an update changed becomes the writer's, what it took away
//! nobody's (`merge.Updater.Update` and the managers around it in `apimachinery/pkg/util/managedfields`).

use super::compare::Comparison;
use super::creation::fields_v1;
use super::managed::{Entry, Fields, Managed, Manager, Operation, Sought};
use super::path::Element;
use super::set::Set;
use super::{Context, Versions};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::LazyLock;

/// `managedFields` after an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Updated {
    /// As before, to the letter.
    Same,
    /// Another text; `None`: no entries any more.
    New(Option<String>),
}

/// Where `managedFields` of an update start from.
#[derive(Clone, Debug)]
pub enum Before<'a> {
    /// The stored object's text.
    Stored(Option<&'a str>),
    /// What the client wrote in their place; for `Reset` an empty list, or one empty entry.
    Given(Managed<'a>),
    Reset,
}

/// The text for an object that is created by `name`, without `managedFields` of its own.
#[must_use]
pub fn created(context: &Context<'_>, object: &Value, name: &str) -> Option<String> {
    let fields = Fields::Text(fields_v1(context, object)?.into());
    let manager = context.manager(name, Operation::Update);
    Managed { entries: vec![Entry { manager, time: Some(context.now.into()), fields }] }.to_json()
}

/// All fields of an object as an update that makes it would own them.
pub(super) fn everything(context: &Context<'_>, object: &Value) -> Set {
    let mut comparison = Comparison::of(context.versions.schema(context.api_version), context.empty(), object);
    comparison.retain_fields(|name| context.tracks(name));
    strip(&comparison.set()).into_owned()
}

/// Follows an update of `old` to `new` by `name`. Both are without their `managedFields`.
#[must_use]
pub fn updated<'a>(context: &Context<'a>, before: Before<'a>, old: &Value, new: &Value, name: &str) -> Updated {
    let (managed, stored) = match before {
        // An object that nobody has kept track of stays so, until it is applied.
        Before::Stored(None) => return Updated::Same,
        Before::Reset => return Updated::New(None),
        Before::Stored(Some(text)) => (Managed::stored(text), Stored::Same),
        Before::Given(managed) => (managed, Stored::Other),
    };
    if managed.is_empty() {
        return Updated::New(None);
    }
    let mut comparison = Comparison::of(context.versions.schema(context.api_version), old, new);
    comparison.retain_fields(|name| context.tracks(name));
    if comparison.is_same() && stored == Stored::Same {
        return Updated::Same;
    }
    let manager = context.manager(name, Operation::Update);
    follow(context, managed, &comparison, (old, new), manager)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stored {
    Same,
    Other,
}

fn follow<'a>(
    context: &Context<'a>,
    mut managed: Managed<'a>,
    comparison: &Comparison,
    objects: (&Value, &Value),
    manager: Manager<'a>,
) -> Updated {
    let set = comparison.set();
    let own = Sought::new(strip(&set));
    let removed = Sought::new(Cow::Borrowed(&comparison.removed));
    // The writer's own entry gives up nothing that it gets back.
    let steady = managed.find(&manager).filter(|at| {
        let entry = &managed.entries[*at];
        entry.owns_all_of(&own) && !entry.owns_any_of(&removed)
    });
    let touched = match (&own.set, removed.set.is_empty()) {
        (Cow::Borrowed(_), true) => None,
        _ => Some(Sought::new(comparison.touched())),
    };
    take(context, &mut managed, touched.as_ref().unwrap_or(&own), objects, steady);
    match (managed.find(&manager), own.set.is_empty()) {
        (_, true) => {}
        (Some(at), false) => {
            let entry = &mut managed.entries[at];
            if steady.is_none() {
                entry.fields = Fields::Set(entry.fields.set().union(&own.set));
            }
            entry.time = Some(context.now.into());
        }
        (None, false) => {
            let fields = Fields::Set(own.set.into_owned());
            managed.entries.push(Entry { manager, time: Some(context.now.into()), fields });
        }
    }
    managed.drop_empty();
    managed.cap();
    Updated::New(managed.to_json())
}

/// Takes what was set and what was removed, in the request's version `gone`, from every entry but the one at `spared`. Entries of versions that are no
/// longer served go.
fn take(
    context: &Context<'_>,
    managed: &mut Managed<'_>,
    gone: &Sought<'_>,
    objects: (&Value, &Value),
    spared: Option<usize>,
) {
    let mut versions = Compared::new(context, objects);
    let mut obsolete = Vec::new();
    for (at, entry) in managed.entries.iter_mut().enumerate() {
        if spared == Some(at) {
            continue;
        }
        let converted;
        let gone = if entry.manager.api_version == context.api_version {
            gone
        } else {
            match versions.at(&entry.manager.api_version) {
                Some(comparison) => {
                    converted = Sought::new(comparison.touched());
                    &converted
                }
                None => {
                    obsolete.push(at);
                    continue;
                }
            }
        };
        if entry.owns_any_of(gone) {
            entry.fields = Fields::Set(entry.fields.set().difference(&gone.set));
        }
    }
    let mut at = 0;
    managed.entries.retain(|_| {
        at += 1;
        !obsolete.contains(&(at - 1))
    });
}

/// One update seen in other versions, each made when it is first asked for.
pub(super) struct Compared<'a> {
    context: &'a Context<'a>,
    objects: (&'a Value, &'a Value),
    known: Vec<(String, Option<Comparison>)>,
}

impl<'a> Compared<'a> {
    pub(super) fn new(context: &'a Context<'a>, objects: (&'a Value, &'a Value)) -> Self {
        Self { context, objects, known: Vec::new() }
    }

    /// `None`: the version is not served.
    pub(super) fn at(&mut self, api_version: &str) -> Option<&Comparison> {
        let place = match self.known.iter().position(|(version, _)| version == api_version) {
            Some(place) => place,
            None => {
                self.known.push((api_version.into(), self.compare(api_version)));
                self.known.len() - 1
            }
        };
        self.known[place].1.as_ref()
    }

    fn compare(&self, api_version: &str) -> Option<Comparison> {
        let versions: &dyn Versions = self.context.versions;
        let from = self.context.api_version;
        // Both, that a conversion which is asked of others is asked for once.
        let old = versions.convert(self.objects.0, from, api_version);
        let new = versions.convert(self.objects.1, from, api_version);
        let (old, new) = (old?, new?);
        let mut comparison = Comparison::of(versions.schema(api_version), &old, &new);
        comparison.retain_fields(|name| self.context.tracks(name));
        Some(comparison)
    }
}

/// What the server alone writes in the metadata.
pub(super) fn is_stripped(name: &str) -> bool {
    STRIPPED_METADATA.contains(&name)
}

const STRIPPED_METADATA: [&str; 9] = [
    "clusterName",
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The set without what is never anybody's: kind and version, and what the server alone writes.
pub(super) fn strip(set: &Set) -> Cow<'_, Set> {
    static STRIPPED: LazyLock<Set> = LazyLock::new(|| {
        let top = ["apiVersion", "kind", "metadata"].map(|name| vec![Element::field(name)]);
        let meta = STRIPPED_METADATA.map(|name| vec![Element::field("metadata"), Element::field(name)]);
        Set::from_paths(top.into_iter().chain(meta))
    });
    let concerned = STRIPPED.nodes().any(|node| set.node(&node.element).is_some());
    if concerned { Cow::Owned(set.difference(&STRIPPED)) } else { Cow::Borrowed(set) }
}
