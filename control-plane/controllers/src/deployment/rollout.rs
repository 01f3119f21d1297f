//! One step of a rollout: how large each ReplicaSet should be now. Pure; sizes are changed on copies.

use super::sets::{self, Set, max_unavailable, replicas};
use crate::k8s::api::apps::v1::Deployment;

/// The new ReplicaSet and the old ones, oldest first.
#[derive(Debug)]
pub struct Sets {
    pub new: Option<Set>,
    pub old: Vec<Set>,
}

impl Sets {
    pub fn all(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(&self.new)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Set> {
        self.old.iter_mut().chain(&mut self.new)
    }

    fn total(&self) -> i32 {
        sum(self.all().map(Set::replicas))
    }

    /// Pods that there are or are to be: those that a set has been told to delete count until it has.
    fn present(&self) -> i32 {
        sum(self.all().map(|set| set.replicas().max(set.actual())))
    }

    fn old_total(&self) -> i32 {
        sum(self.old.iter().map(Set::replicas))
    }

    fn new_size(&self) -> i32 {
        self.new.as_ref().map_or(0, Set::replicas)
    }
}

/// Sizes come from users: a sum beyond what an i32 holds is as good as the largest.
fn sum(sizes: impl Iterator<Item = i32>) -> i32 {
    sizes.fold(0, i32::saturating_add)
}

/// How large the new ReplicaSet may be now.
pub fn new_set_size(deployment: &Deployment, sets: &Sets) -> i32 {
    let wanted = replicas(deployment);
    if sets::is_recreate(deployment) {
        return wanted;
    }
    let room = sets::most(deployment).saturating_sub(sets.present());
    let now = sets.new_size();
    if room <= 0 { now } else { now + room.min(wanted - now) }
}

/// RollingUpdate: grow the new set, or else shrink the old ones. Whether anything changed.
pub fn rolling(deployment: &Deployment, sets: &mut Sets) -> bool {
    grow_new(deployment, sets) || shrink_old(deployment, sets)
}

fn grow_new(deployment: &Deployment, sets: &mut Sets) -> bool {
    let wanted = replicas(deployment);
    let size = match sets.new_size() {
        now if now == wanted => return false,
        now if now > wanted => wanted,
        _ => new_set_size(deployment, sets),
    };
    sets.new.as_mut().is_some_and(|set| set.scale(deployment, size))
}

fn shrink_old(deployment: &Deployment, sets: &mut Sets) -> bool {
    if sets.old_total() == 0 {
        return false;
    }
    let min_available = replicas(deployment) - max_unavailable(deployment);
    let new_unavailable = sets.new.as_ref().map_or(0, |set| set.replicas() - set.lasting());
    let removable = sets.total().saturating_sub(min_available).saturating_sub(new_unavailable);
    if removable <= 0 {
        return false;
    }
    let mut changed = false;
    // The pods that do not work go first: they can be spared at no cost.
    let mut left = removable;
    for set in &mut sets.old {
        let broken = (set.replicas() - set.lasting()).min(left);
        if set.replicas() > 0 && broken > 0 {
            left -= broken;
            changed |= set.scale(deployment, set.replicas() - broken);
        }
    }
    let mut left = sum(sets.all().map(Set::lasting)).saturating_sub(min_available);
    for set in &mut sets.old {
        let spared = set.replicas().min(left);
        if spared > 0 {
            left -= spared;
            changed |= set.scale(deployment, set.replicas() - spared);
        }
    }
    changed
}

/// Recreate, first half: all old sets to zero.
pub fn stop_old(deployment: &Deployment, sets: &mut Sets) -> bool {
    let stopped = sets.old.iter_mut().filter_map(|set| set.scale_if_active(deployment).then_some(())).count();
    stopped > 0
}

impl Set {
    /// Pods that are available and stay: a status may still count those that the set has been told to delete, and
    /// to count them once more would break what `maxUnavailable` promises.
    fn lasting(&self) -> i32 {
        self.available().min(self.replicas())
    }

    fn scale_if_active(&mut self, deployment: &Deployment) -> bool {
        self.replicas() > 0 && self.scale(deployment, 0)
    }
}

/// The Deployment's size changed (or it is paused): give each active set its share.
pub fn rescale(deployment: &Deployment, sets: &mut Sets) {
    let wanted = replicas(deployment);
    if let Some(only) = active_or_latest(sets) {
        only.scale(deployment, wanted);
        return;
    }
    let saturated = sets
        .new
        .as_ref()
        .is_some_and(|set| set.desired() == Some(wanted) && set.replicas() == wanted && set.available() == wanted);
    if saturated {
        stop_old(deployment, sets);
    } else if !sets::is_recreate(deployment) {
        proportional(deployment, sets);
    }
}

/// The one set to scale: the only active one, or the latest where none is active.
fn active_or_latest(sets: &mut Sets) -> Option<&mut Set> {
    match sets.all().filter(|set| set.replicas() > 0).count() {
        0 if sets.new.is_some() => sets.new.as_mut(),
        0 => sets.old.last_mut(),
        1 => sets.all_mut().find(|set| set.replicas() > 0),
        _ => None,
    }
}

fn proportional(deployment: &Deployment, sets: &mut Sets) {
    let wanted = replicas(deployment);
    let allowed = if wanted > 0 { sets::most(deployment) } else { 0 };
    let mut active: Vec<&mut Set> = sets.all_mut().filter(|set| set.replicas() > 0).collect();
    let total = sum(active.iter().map(|set| set.replicas()));
    let to_add = allowed - total;
    // The largest first; among equals, the newer when growing and the older when shrinking.
    active.reverse();
    if to_add < 0 {
        active.reverse();
    }
    active.sort_by_key(|set| std::cmp::Reverse(set.replicas()));
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for set in &active {
        let share = share(deployment, set, to_add, added);
        added = share.saturating_add(added);
        sizes.push(set.replicas().saturating_add(share));
    }
    if let Some(first) = sizes.first_mut() {
        *first = first.saturating_add(to_add.saturating_sub(added)).max(0);
    }
    for (set, size) in active.into_iter().zip(sizes) {
        set.scale(deployment, size);
    }
}

fn share(deployment: &Deployment, set: &Set, to_add: i32, added: i32) -> i32 {
    if to_add == 0 || to_add == added {
        return 0;
    }
    let fraction = fraction(deployment, set);
    let allowed = to_add.saturating_sub(added);
    if to_add > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
}

fn fraction(deployment: &Deployment, set: &Set) -> i32 {
    let wanted = replicas(deployment);
    if wanted == 0 {
        return -set.replicas();
    }
    let before: i32 = set
        .annotation(sets::MAX)
        .and_then(|m| m.parse().ok())
        .filter(|m| *m > 0)
        .unwrap_or_else(|| deployment.status.as_ref().and_then(|s| s.replicas).unwrap_or(0).max(1));
    let size = f64::from(set.replicas()) * f64::from(sets::most(deployment)) / f64::from(before);
    #[expect(clippy::cast_possible_truncation, reason = "a share of an i32")]
    let size = size.round() as i32;
    size.saturating_sub(set.replicas())
}
