//! Owners of `spec.replicas` that came through the `scale` subresource (`managedfields.ScaleHandler`).

use super::Context;
use super::managed::{Entry, Fields, Managed, Operation, Sought};
use super::patch::{BEFORE_FIRST_APPLY, Conflict, Error, Force};
use super::path::Element;
use super::set::Set;
use super::update::Updated;
use std::borrow::Cow;

/// The number of replicas at `path` (`.spec.replicas`), before and after.
#[derive(Clone, Copy, Debug)]
pub struct Replicas<'a> {
    pub path: &'a str,
    pub before: i64,
    pub after: i64,
}

impl Replicas<'_> {
    fn set(&self) -> Set {
        let path = self.path.trim_start_matches('.').split('.').map(Element::field).collect();
        Set::from_paths([path])
    }
}

/// Follows an update of the scale by `name`.
#[must_use]
pub fn updated_scale(context: &Context<'_>, stored: Option<&str>, replicas: Replicas<'_>, name: &str) -> Updated {
    let Some(stored) = stored.filter(|_| replicas.before != replicas.after) else { return Updated::Same };
    let mut managed = Managed::stored(stored);
    let set = replicas.set();
    let sought = Sought::new(Cow::Borrowed(&set));
    for entry in &mut managed.entries {
        if entry.owns_any_of(&sought) {
            entry.fields = Fields::Set(entry.fields.set().difference(&sought.set));
        }
    }
    own(context, &mut managed, set.clone(), (name, Operation::Update));
    managed.drop_empty();
    managed.cap();
    Updated::New(managed.to_json())
}

/// Follows an apply of the scale that says a number of replicas. The answer: `managedFields`.
///
/// # Errors
/// Conflicts, unless `force`.
pub fn applied_scale(
    context: &Context<'_>,
    stored: Option<&str>,
    replicas: Replicas<'_>,
    (name, force): (&str, Force),
) -> Result<Updated, Error> {
    let set = replicas.set();
    let mut managed = stored.map(Managed::stored).unwrap_or_default();
    if managed.is_empty() {
        own(context, &mut managed, set.clone(), (BEFORE_FIRST_APPLY, Operation::Update));
    }
    let sought = Sought::new(Cow::Borrowed(&set));
    let manager = context.manager(name, Operation::Apply);
    let changes = replicas.before != replicas.after;
    let mut conflicts = Vec::new();
    for entry in managed.entries.iter_mut().filter(|entry| changes && !entry.manager.is(&manager)) {
        if entry.owns_any_of(&sought) {
            let mut owner = entry.manager.clone().into_owned();
            owner.api_version = "autoscaling/v1".into();
            conflicts.push(Conflict { manager: owner, path: ".spec.replicas".into() });
            entry.fields = Fields::Set(entry.fields.set().difference(&sought.set));
        }
    }
    if force == Force::No && !conflicts.is_empty() {
        conflicts.sort_by(|a, b| a.manager.name.cmp(&b.manager.name));
        return Err(Error::Conflicts(conflicts));
    }
    let known = managed.find(&manager).is_some_and(|at| managed.entries[at].owns_all_of(&sought));
    if known && !changes {
        return Ok(Updated::Same);
    }
    own(context, &mut managed, set.clone(), (name, Operation::Apply));
    managed.drop_empty();
    Ok(Updated::New(managed.to_json()))
}

/// Makes the replicas a manager's, now.
fn own(context: &Context<'_>, managed: &mut Managed<'_>, set: Set, (name, operation): (&str, Operation)) {
    let manager = context.manager(name, operation).into_owned();
    let (time, fields) = (Some(context.now.to_owned().into()), Fields::Set(set));
    match managed.find(&manager) {
        Some(at) => managed.entries[at] = Entry { manager, time, fields },
        None => managed.entries.push(Entry { manager, time, fields }),
    }
}
