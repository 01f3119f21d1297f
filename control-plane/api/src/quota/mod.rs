//! What ResourceQuotas count and whether an object still fits (`pkg/quota/v1`): pure, so that admission, which charges, and
//! the controller, which recounts, agree.

mod measure;
mod scope;
#[cfg(test)]
mod tests;

pub use measure::{kinds, tracks, usage};

use crate::amounts::{self, Amounts};
use crate::quantity::Quantity;
use jiff::Timestamp;
use serde_json::Value;

/// One kind of a namespace: group (empty: core) and plural.
pub type Kind<'a> = (&'a str, &'a str);

/// An object that is to be written.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    pub kind: Kind<'a>,
    pub new: &'a Value,
    /// What it replaces, for kinds whose updates are charged.
    pub old: Option<&'a Value>,
}

/// The objects of a namespace, as far as quotas ask for them.
pub trait Inventory {
    /// The pods, services or persistentvolumeclaims.
    fn objects(&self, plural: &str) -> Vec<Value>;
    /// How many objects there are of a kind; `None`: no such kind.
    fn count(&self, kind: Kind<'_>) -> Option<i64>;
}

/// `spec.hard`.
#[must_use]
pub fn hard(quota: &Value) -> Amounts {
    amounts::read(quota.pointer("/spec/hard"))
}

/// `status.used`, if the status is about `spec.hard` as it is now and leaves out nothing that can be measured.
#[must_use]
pub fn used(quota: &Value) -> Option<Amounts> {
    let hard = hard(quota);
    let used = amounts::read(quota.pointer("/status/used"));
    let known = amounts::read(quota.pointer("/status/hard")) == hard;
    (known && (hard.is_empty() || !used.is_empty())).then_some(used)
}

/// Whether the quota is about objects such as this one.
#[must_use]
pub fn concerns(quota: &Value, kind: Kind<'_>, object: &Value) -> bool {
    hard(quota).keys().any(|name| tracks(kind, name)) && scope::matches(quota, kind, object)
}

/// Refuses pods that leave out what a quota on compute resources makes them say.
///
/// # Errors
/// `must specify limits.cpu for: c`.
pub fn check_constraints(quota: &Value, change: &Change<'_>) -> Result<(), String> {
    if change.kind != ("", "pods") {
        return Ok(());
    }
    measure::missing(change.new.get("spec").unwrap_or(&Value::Null), &hard(quota)).map_or(Ok(()), Err)
}

/// What `used` becomes with the change; `None`: it stays.
///
/// # Errors
/// `exceeded quota: …`, `quota usage is negative …`.
pub fn charge(quota: &Value, used: &Amounts, change: &Change<'_>, now: Timestamp) -> Result<Option<Amounts>, String> {
    let wants = usage(change.kind, change.new, now);
    let negative: Vec<&str> = wants.iter().filter(|(_, a)| a.is_negative()).map(|(name, _)| name.as_str()).collect();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    let before = match change.old.filter(|old| concerns(quota, change.kind, old)) {
        Some(old) => usage(change.kind, old, now),
        None => Amounts::new(),
    };
    let hard = hard(quota);
    let mut requested = Amounts::new();
    for (name, amount) in wants {
        let more = amount - before.get(&name).copied().unwrap_or_default();
        if more > Quantity::ZERO && hard.contains_key(&name) {
            requested.insert(name, more);
        }
    }
    if requested.is_empty() {
        return Ok(None);
    }
    let mut after = used.clone();
    amounts::add(&mut after, &requested);
    let exceeds = |name: &String| after.get(name) > hard.get(name);
    let exceeded: Vec<String> = requested.keys().filter(|name| exceeds(name)).cloned().collect();
    if exceeded.is_empty() {
        return Ok(Some(after));
    }
    let of = |amounts: &Amounts| {
        let named = exceeded.iter().filter_map(|name| Some((name.clone(), *amounts.get(name)?)));
        amounts::pretty(&named.collect())
    };
    let name = crate::meta::name(quota);
    Err(format!("exceeded quota: {name}, requested: {}, used: {}, limited: {}", of(&requested), of(used), of(&hard)))
}

/// `status.used`, counted anew.
#[must_use]
pub fn recount(quota: &Value, inventory: &dyn Inventory, now: Timestamp) -> Amounts {
    let hard = hard(quota);
    let mut used = Amounts::new();
    for (group, plural) in kinds(&hard) {
        let kind: Kind<'_> = (&group, &plural);
        let names: Vec<&String> = hard.keys().filter(|name| tracks(kind, name)).collect();
        let mut total = Amounts::new();
        if measure::has_details(kind) {
            for object in inventory.objects(&plural).iter().filter(|object| scope::matches(quota, kind, object)) {
                amounts::add(&mut total, &usage(kind, object, now));
            }
        } else {
            let Some(count) = inventory.count(kind) else { continue };
            let count = if scope::has_none(quota) { Quantity::from_int(count) } else { Quantity::ZERO };
            total.extend(names.iter().map(|name| ((*name).clone(), count)));
        }
        used.extend(names.into_iter().map(|name| (name.clone(), total.get(name).copied().unwrap_or_default())));
    }
    used
}
