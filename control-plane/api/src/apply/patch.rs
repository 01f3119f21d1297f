//! Apply: a configuration becomes part of an object, and its fields its manager's (`merge.Updater.Apply` and the managers
//! around it).

use super::fields::{fields_of, validate};
use super::last_applied;
use super::managed::{Entry, Fields, Managed, Manager, Operation, Sought};
use super::merge::{merge, remove};
use super::path::path_text;
use super::reconcile::reconcile;
use super::set::Set;
use super::update::{Compared, everything, strip};
use super::{Comparison, Context};
use crate::status::{Cause, Details, Reason, Status};
use serde_json::Value;
use std::borrow::Cow;

/// What kubectl calls itself at an apply; only it gets the help of a migration.
pub(super) const KUBECTL: &str = "kubectl";
/// Who owns what an object had before it was first applied.
pub(super) const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Whether other managers' fields may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    No,
    Yes,
}

/// What an apply makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The new object, without `managedFields`.
    pub object: Value,
    /// Its `managedFields`.
    pub managed: Option<String>,
    /// The owners are who they were: if the object is as it was, too, nothing has happened but time.
    pub same_owners: bool,
}

/// A field that somebody else owns, with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub manager: Manager<'static>,
    /// `.spec.replicas`.
    pub path: String,
}

/// Why a configuration was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration is no object of the kind. The subject is `namespace/name; group/version, Kind=kind`.
    #[error("failed to create typed patch object ({subject}): {}", joined(.errors))]
    Invalid { subject: String, errors: Vec<String> },
}

impl Error {
    /// The answer to the client: 409 with a cause for each conflict (`errors.NewApplyConflict`), or 500 without a reason,
    /// as Kubernetes has it.
    #[must_use]
    pub fn to_status(&self) -> Status {
        match self {
            Self::Invalid { .. } => Status::new(Reason::Unknown, self.to_string()),
            Self::Conflicts(conflicts) => {
                let mut status = Status::new(Reason::Conflict, self.to_string());
                let causes = conflicts.iter().map(|conflict| Cause {
                    reason: "FieldManagerConflict".into(),
                    message: format!("conflict with {}", conflict.manager),
                    field: conflict.path.clone(),
                });
                status.details = Some(Box::new(Details { causes: causes.collect(), ..Details::default() }));
                status
            }
        }
    }
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [Conflict { manager, path }] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {manager}: {path}");
    }
    let mut lines = Vec::new();
    for group in conflicts.chunk_by(|a, b| a.manager == b.manager) {
        lines.push(format!("conflicts with {}:", group[0].manager));
        lines.extend(group.iter().map(|conflict| format!("- {}", conflict.path)));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

fn joined(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        many => many.iter().fold("errors:".to_owned(), |text, error| text + "\n  " + error),
    }
}

/// Applies `config` to `live`, which is `Null` when there is no such object yet. Neither has `managedFields`; those of the
/// live object are `stored`. Values are compared as they are spelt, so `1000m` is another than `1`, as in Kubernetes; what is
/// stored of the answer is for its reader to bring into one form.
///
/// # Errors
/// Conflicts, unless `force`; a configuration that is no object of the kind.
pub fn apply(
    context: &Context<'_>,
    stored: Option<&str>,
    live: &Value,
    config: &Value,
    (name, force): (&str, Force),
) -> Result<Applied, Error> {
    let schema = context.versions.schema(context.api_version);
    let errors = validate(schema, config);
    if !errors.is_empty() {
        return Err(Error::Invalid { subject: subject(config), errors });
    }
    let manager = context.manager(name, Operation::Apply);
    let before = managed_before(context, stored, live);
    let result = attempt(context, before.clone(), live, config, (&manager, force));
    let (mut object, managed) = match result {
        Err(conflicts) if name == KUBECTL => {
            let left = last_applied::disallowed(context, conflicts, live);
            if !left.conflicts.is_empty() {
                return Err(Error::Conflicts(left.conflicts));
            }
            attempt(context, before.clone(), live, config, (&manager, Force::Yes)).map_err(Refused::error)?
        }
        other => other.map_err(Refused::error)?,
    };
    if name == KUBECTL {
        last_applied::refresh(&mut object, config);
    }
    // Whoever is called `before-first-apply` is new to the object.
    let same_owners = (stored.is_some() || managed.is_empty()) && same_owners(&before, &managed);
    Ok(Applied { object, managed: managed.to_json(), same_owners })
}

/// Conflicts, and the same as one set.
pub(super) struct Refused {
    pub conflicts: Vec<Conflict>,
    pub set: Set,
}

impl Refused {
    fn error(self) -> Error {
        Error::Conflicts(self.conflicts)
    }
}

/// `namespace/name; group/version, Kind=kind`.
fn subject(config: &Value) -> String {
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    let version = text("apiVersion");
    let slash = if version.contains('/') { "" } else { "/" };
    format!("{}/{}; {slash}{version}, Kind={}", crate::meta::namespace(config), crate::meta::name(config), text("kind"))
}

/// The owners that an apply finds. What has none is somebody's who is called `before-first-apply`.
fn managed_before<'a>(context: &Context<'a>, stored: Option<&'a str>, live: &Value) -> Managed<'a> {
    let mut managed = stored.map(Managed::stored).unwrap_or_default();
    if managed.is_empty() && !live.is_null() {
        let fields = Fields::Set(everything(context, live));
        let manager = context.manager(BEFORE_FIRST_APPLY, Operation::Update);
        managed.entries.push(Entry { manager, time: Some(context.now.into()), fields });
        managed.drop_empty();
    }
    for entry in &mut managed.entries {
        let (from, to) = (context.api_version, &*entry.manager.api_version);
        if let Some(live) = context.versions.convert(live, from, to)
            && let Some(set) = reconcile(context.versions.schema(to), &entry.fields.set(), &live)
        {
            entry.fields = Fields::Set(set);
        }
    }
    managed
}

fn attempt<'a>(
    context: &Context<'a>,
    mut managed: Managed<'a>,
    live: &Value,
    config: &Value,
    (manager, force): (&Manager<'a>, Force),
) -> Result<(Value, Managed<'a>), Refused> {
    let schema = context.versions.schema(context.api_version);
    let merged = if live.is_null() { config.clone() } else { merge(schema, live, config) };
    let mut set = fields_of(schema, config);
    set.retain_fields(|name| context.tracks(name));
    let last = managed.find(manager).map(|at| managed.entries.remove(at));
    let time = last.as_ref().and_then(|entry| entry.time.clone());
    managed.entries.push(Entry { manager: manager.clone(), time, fields: Fields::Set(set) });
    let object = match &last {
        // Once more: an empty map that is applied is not to go with what was in it.
        Some(last) => match prune(context, &merged, &managed, last) {
            Some(pruned) => merge(schema, &pruned, config),
            None => merged,
        },
        None => merged,
    };
    take(context, &mut managed, (live, &object), (manager, force))?;
    if let Some(at) = managed.find(manager) {
        let own = &mut managed.entries[at];
        own.fields = Fields::Set(strip(&own.fields.set()).into_owned());
        // Who applies what is there already owns it, but since nobody knows when.
        if object != *live {
            own.time = Some(context.now.into());
        }
    }
    managed.drop_empty();
    Ok((object, managed))
}

/// Takes from the other managers what the apply changed.
fn take(
    context: &Context<'_>,
    managed: &mut Managed<'_>,
    (live, object): (&Value, &Value),
    (manager, force): (&Manager<'_>, Force),
) -> Result<(), Refused> {
    let old = if live.is_null() { context.empty() } else { live };
    let mut comparison = Comparison::of(context.versions.schema(context.api_version), old, object);
    comparison.retain_fields(|name| context.tracks(name));
    let mut versions = Compared::new(context, (old, object));
    let mut refused = Refused { conflicts: Vec::new(), set: Set::default() };
    let mut kept = Vec::with_capacity(managed.entries.len());
    for mut entry in managed.entries.drain(..) {
        if entry.manager.is(manager) {
            kept.push(entry);
            continue;
        }
        let comparison = if entry.manager.api_version == context.api_version {
            &comparison
        } else {
            match versions.at(&entry.manager.api_version) {
                Some(comparison) => comparison,
                None => continue,
            }
        };
        let changed = Sought::new(comparison.set());
        if entry.owns_any_of(&changed) {
            let lost = entry.fields.set().intersection(&changed.set);
            let owner = entry.manager.clone().into_owned();
            lost.for_each(&mut |path| {
                refused.conflicts.push(Conflict { manager: owner.clone(), path: path_text(path) });
            });
            refused.set = refused.set.union(&lost);
            entry.fields = Fields::Set(entry.fields.set().difference(&lost));
        }
        if entry.owns_any_of(&Sought::new(Cow::Borrowed(&comparison.removed))) {
            entry.fields = Fields::Set(entry.fields.set().difference(&comparison.removed));
        }
        kept.push(entry);
    }
    managed.entries = kept;
    if force == Force::Yes || refused.conflicts.is_empty() {
        return Ok(());
    }
    // As their JSON is ordered: what has a subresource goes before what has none.
    let key = |conflict: &Conflict| {
        let Manager { name, operation, api_version, subresource } = conflict.manager.clone();
        (name, operation, api_version, subresource.is_empty(), subresource)
    };
    refused.conflicts.sort_by_cached_key(key);
    Err(refused)
}

/// Takes out of `merged` what the manager applied last time, does not apply now, and nobody else owns. `None`: nothing.
fn prune(context: &Context<'_>, merged: &Value, managed: &Managed<'_>, last: &Entry<'_>) -> Option<Value> {
    let version = &*last.manager.api_version;
    let last_set = last.fields.set();
    let own = managed.entries.last().map(|entry| entry.fields.set());
    let covered = own.is_some_and(|own| last_set.difference(&own).is_empty());
    if last_set.is_empty() || (covered && version == context.api_version) {
        return None;
    }
    let convert =
        |object: &Value, from: &str, to: &str| context.versions.convert(object, from, to).map(Cow::into_owned);
    let at_last = convert(merged, context.api_version, version)?;
    let schema = context.versions.schema(version);
    let last_named = last_set.ensure_named_fields_are_members(schema);
    let pruned = remove(schema, &at_last, &last_named);
    let pruned = add_back_owned(context, (&at_last, pruned), version, managed)?;
    let all = |object: &Value| fields_of(schema, object).ensure_named_fields_are_members(schema);
    let gone = all(&at_last).difference(&all(&pruned)).intersection(&last_named);
    let pruned = remove(schema, &at_last, &gone);
    convert(&pruned, version, context.api_version)
}

/// Puts back what somebody still owns, in the version that was pruned first, then in the others. `None`: a version
/// cannot be converted back.
fn add_back_owned(
    context: &Context<'_>,
    (merged, mut pruned): (&Value, Value),
    version: &str,
    managed: &Managed<'_>,
) -> Option<Value> {
    let mut versions: Vec<&str> = vec![version];
    for entry in &managed.entries {
        if !versions.contains(&&*entry.manager.api_version) {
            versions.push(&entry.manager.api_version);
        }
    }
    let (mut merged, mut at) = (Cow::Borrowed(merged), version);
    for version in versions {
        let (Some(merged_here), Some(pruned_here)) =
            (context.versions.convert(&merged, at, version), context.versions.convert(&pruned, at, version))
        else {
            continue;
        };
        let owners = managed.entries.iter().filter(|entry| entry.manager.api_version == version);
        let owned = owners.fold(Set::default(), |all, entry| all.union(&entry.fields.set()));
        let schema = context.versions.schema(version);
        let named = |set: Set| set.ensure_named_fields_are_members(schema);
        let keep = named(fields_of(schema, &pruned_here)).union(&named(owned));
        let gone = named(fields_of(schema, &merged_here)).difference(&keep);
        let (next_pruned, next_merged) = (remove(schema, &merged_here, &gone), merged_here.into_owned());
        pruned = next_pruned;
        merged = Cow::Owned(next_merged);
        at = version;
    }
    context.versions.convert(&pruned, at, version).map(Cow::into_owned)
}

/// Whether two states differ at most in times.
fn same_owners(before: &Managed<'_>, after: &Managed<'_>) -> bool {
    before.entries.len() == after.entries.len()
        && after.entries.iter().all(|entry| {
            before.find(&entry.manager).is_some_and(|at| {
                let known = &before.entries[at];
                known.manager.api_version == entry.manager.api_version && known.fields.set() == entry.fields.set()
            })
        })
}
