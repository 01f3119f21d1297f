//! What becomes of a CRD that was written: its names are accepted or not, it is established, and its objects go before
//! it does (the naming, establishing, api-approval and finalizing controllers of `apiextensions-apiserver`, as one rule).

use super::bundle;
use crate::kinds::Kinds;
use crate::{meta, schema, time};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Keeps a CRD until all its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Where a CRD of a protected group says who approved it.
pub(super) const APPROVED: &str = "api-approved.kubernetes.io";

/// What [`settle`] thinks of a CRD.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// The CRD with its names, conditions and finalizer as they should be; None: they are.
    pub change: Option<Value>,
    /// Whether its kinds are served.
    pub established: bool,
}

/// Whether a condition is `True`.
fn holds(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == "True")
}

fn condition<'o>(object: &'o Value, kind: &str) -> Option<&'o Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Whether the CRD's kinds are served.
#[must_use]
pub fn established(object: &Value) -> bool {
    holds(object, "Established")
}

/// Whether the CRD is being deleted.
#[must_use]
pub fn is_terminating(object: &Value) -> bool {
    meta::deletion_timestamp(object).is_some()
}

/// Judges a CRD beside the `others` and the built-in `kinds`.
#[must_use]
pub fn settle<'o>(object: &Value, others: impl Iterator<Item = &'o Value>, kinds: &Kinds, now: Timestamp) -> Verdict {
    let mut changed = object.clone();
    let taken = Taken::of(object, others, kinds);
    let accepted = accept(&mut changed, &taken, now);
    if accepted && !established(&changed) && bundle::is_invalid(&object["spec"]) {
        // Nobody could read objects of other versions.
        let why = ("InvalidCABundle", "The conversion webhook CABundle is invalid");
        set(&mut changed, "Established", "False", why, now);
    } else if accepted && !established(&changed) {
        let why = ("InitialNamesAccepted", "the initial names have been accepted");
        set(&mut changed, "Established", "True", why, now);
    } else if condition(&changed, "Established").is_none() {
        set(&mut changed, "Established", "False", ("NotAccepted", "not all names are accepted"), now);
    }
    approve(&mut changed, now);
    if is_terminating(object) {
        if meta::finalizers(object).any(|finalizer| finalizer == FINALIZER) {
            let why = ("InstanceDeletionInProgress", "CustomResource deletion is in progress");
            set(&mut changed, "Terminating", "True", why, now);
        }
    } else if !meta::finalizers(object).any(|finalizer| finalizer == FINALIZER)
        && let Some(metadata) = meta::metadata_mut(&mut changed)
        && let Some(list) = metadata.entry("finalizers").or_insert_with(|| json!([])).as_array_mut()
    {
        list.push(FINALIZER.into());
    }
    Verdict { established: established(&changed), change: (changed != *object).then_some(changed) }
}

/// The CRD without its finalizer: its objects are gone.
#[must_use]
pub fn finish(object: &Value, now: Timestamp) -> Value {
    let mut changed = object.clone();
    set(&mut changed, "Terminating", "False", ("InstanceDeletionCompleted", "removed all instances"), now);
    if let Some(metadata) = meta::metadata_mut(&mut changed)
        && let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut)
    {
        list.retain(|finalizer| finalizer != FINALIZER);
        if list.is_empty() {
            metadata.remove("finalizers");
        }
    }
    changed
}

/// Names of a group that somebody has.
struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Taken {
    fn of<'o>(object: &Value, others: impl Iterator<Item = &'o Value>, kinds: &Kinds) -> Self {
        let group = object["spec"]["group"].as_str().unwrap_or_default();
        let mut taken = Self { resources: BTreeSet::new(), kinds: BTreeSet::new() };
        let same = |other: &&Value| other["spec"]["group"] == group && meta::name(other) != meta::name(object);
        for other in others.filter(same) {
            let names = &other["status"]["acceptedNames"];
            let text = |field: &str| names[field].as_str().map(str::to_owned);
            taken.resources.extend([text("plural"), text("singular")].into_iter().flatten());
            taken.resources.extend(schema::strings(names.get("shortNames")));
            taken.kinds.extend([text("kind"), text("listKind")].into_iter().flatten());
        }
        for row in kinds.iter().filter(|row| row.custom.is_none() && row.group == group) {
            taken.resources.extend([row.plural.to_string(), row.singular.to_string()]);
            taken.resources.extend(row.short_names.iter().map(ToString::to_string));
            taken.kinds.extend([row.kind.to_string(), row.list_kind.to_string()]);
        }
        taken
    }
}

/// Takes over the names that are free. Whether all are.
fn accept(object: &mut Value, taken: &Taken, now: Timestamp) -> bool {
    let asked = object["spec"]["names"].clone();
    let before = object["status"]["acceptedNames"].clone();
    let mut accepted = if before.is_object() { before.clone() } else { json!({}) };
    let mut conflict: Option<(&'static str, String)> = None;
    let in_use = |name: &str| format!("{name:?} is already in use");
    let mut one = |field: &str, reason: &'static str, used: &BTreeSet<String>| {
        let name = asked[field].as_str().unwrap_or_default();
        if asked.get(field) != before.get(field) && used.contains(name) {
            return Some((reason, in_use(name)));
        }
        copy(&asked, &mut accepted, field);
        None
    };
    // The last one is told, as in Kubernetes.
    let names =
        [one("plural", "PluralConflict", &taken.resources), one("singular", "SingularConflict", &taken.resources)];
    let kinds = [one("kind", "KindConflict", &taken.kinds), one("listKind", "ListKindConflict", &taken.kinds)];
    conflict = names.into_iter().flatten().last().or(conflict);
    if asked.get("shortNames") != before.get("shortNames") {
        let known = schema::strings(before.get("shortNames"));
        let wrong: Vec<String> = schema::strings(asked.get("shortNames"))
            .iter()
            .filter(|name| !known.contains(name) && taken.resources.contains(*name))
            .map(|name| in_use(name))
            .collect();
        match wrong.as_slice() {
            [] => copy(&asked, &mut accepted, "shortNames"),
            [one] => conflict = Some(("ShortNamesConflict", one.clone())),
            many => conflict = Some(("ShortNamesConflict", format!("[{}]", many.join(", ")))),
        }
    }
    conflict = kinds.into_iter().flatten().last().or(conflict);
    copy(&asked, &mut accepted, "categories");
    if accepted != before {
        object["status"]["acceptedNames"] = accepted;
    }
    match &conflict {
        Some((reason, message)) => set(object, "NamesAccepted", "False", (reason, message), now),
        None => set(object, "NamesAccepted", "True", ("NoConflicts", "no conflicts found"), now),
    }
    conflict.is_none()
}

fn copy(from: &Value, to: &mut Value, field: &str) {
    let Some(to) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => to.insert(field.into(), value.clone()),
        None => to.remove(field),
    };
}

/// Sets a condition; its time changes with its status.
fn set(object: &mut Value, kind: &str, status: &str, (reason, message): (&str, &str), now: Timestamp) {
    let since = condition(object, kind)
        .filter(|old| old["status"] == status)
        .and_then(|old| old.get("lastTransitionTime").cloned())
        .unwrap_or_else(|| time::format(now).into());
    let next = json!({
        "lastTransitionTime": since, "message": message, "reason": reason, "status": status, "type": kind,
    });
    if !object["status"]["conditions"].is_array() {
        object["status"]["conditions"] = json!([]);
    }
    let Some(list) = object["status"]["conditions"].as_array_mut() else { return };
    match list.iter_mut().find(|condition| condition["type"] == kind) {
        // Only what the condition says counts: others may have written more into it.
        Some(old) if old["status"] == status && old["reason"] == reason && old["message"] == message => {}
        Some(old) => *old = next,
        None => list.push(next),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Approval {
    Missing,
    Invalid,
    Approved,
    /// `unapproved, experimental-only` and the like.
    Bypassed,
}

/// Groups that belong to the Kubernetes community.
pub(super) fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|own| group == *own || group.ends_with(&format!(".{own}")))
}

/// The state of a protected CRD's approval, and its reason in words.
pub(super) fn approval(object: &Value) -> (Approval, String) {
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let wanted = format!("protected groups must have approval annotation {APPROVED:?}");
    let Some(text) = meta::annotation(object, APPROVED).filter(|text| !text.is_empty()) else {
        return (Approval::Missing, format!("{wanted}, {SEE}"));
    };
    if text.starts_with("unapproved") {
        return (Approval::Bypassed, format!("not approved: {text:?}"));
    }
    let is_url = text.split_once("://").is_some_and(|(scheme, rest)| {
        scheme.bytes().all(|b| b.is_ascii_alphabetic())
            && !scheme.is_empty()
            && !rest.is_empty()
            && !rest.starts_with('/')
    });
    if is_url {
        (Approval::Approved, format!("approved in {text}"))
    } else {
        (Approval::Invalid, format!("{wanted} with either a URL or a reason starting with \"unapproved\", {SEE}"))
    }
}

fn approve(object: &mut Value, now: Timestamp) {
    if !is_protected(object["spec"]["group"].as_str().unwrap_or_default()) {
        return;
    }
    let (state, message) = approval(object);
    let (status, reason) = match state {
        Approval::Missing => ("False", "MissingAnnotation"),
        Approval::Invalid => ("False", "InvalidAnnotation"),
        Approval::Approved => ("True", "ApprovedAnnotation"),
        Approval::Bypassed => ("False", "UnapprovedAnnotation"),
    };
    set(object, "KubernetesAPIApprovalPolicyConformant", status, (reason, &message), now);
}
