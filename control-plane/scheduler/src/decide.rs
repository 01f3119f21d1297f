//! Which node a pod should get. Pure: the same snapshot, seed and pod give the same answer.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::node::Place;
use crate::plugins::fit::MAX_SCORE;
use crate::plugins::{Reason, Refusal, Remedy, affinity, filter, fit, taints};
use crate::pod::{Pod, Preemption};
use crate::snapshot::Snapshot;

/// Clusters up to this size are looked at whole; of larger ones, a share (see `enough`).
const WHOLE: usize = 100;
/// The plugins' weights, Kubernetes' own.
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_AFFINITY: i64 = 2;

/// What to do with a pod.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Bind it to this node.
    Bind(Arc<str>),
    /// No node suits.
    Unschedulable(Diagnosis),
}

/// Why no node suits. Displays as kube-scheduler words it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    nodes: usize,
    reasons: BTreeMap<Reason, usize>,
    /// Nodes that would not suit even without their pods.
    hopeless: usize,
    preemption: PreemptionOutcome,
}

/// What displacing other pods would bring.
#[derive(Debug, Default, PartialEq, Eq)]
enum PreemptionOutcome {
    #[default]
    NoVictims,
    NotAllowed,
    /// There are pods of lower priority, but displacing them is not there yet.
    NotSupported,
}

/// Find the best node for `pod`.
#[must_use]
pub fn decide(snapshot: &Snapshot, pod: &Pod) -> Decision {
    let chance = chance(snapshot.seed(), &pod.uid);
    let mut diagnosis = Diagnosis { nodes: snapshot.len(), ..Diagnosis::default() };
    let feasible = match affinity::named(pod) {
        Some(names) => {
            let places: Vec<_> = names.iter().filter_map(|name| snapshot.place(name)).collect();
            diagnosis.exclude(snapshot.len() - places.len());
            diagnosis.sift(places.into_iter(), pod, usize::MAX)
        }
        None => {
            let start = usize::try_from(chance % snapshot.len().max(1) as u64).unwrap_or(0);
            let (before, from) = snapshot.places().focus().split_at(start);
            let around = from.into_iter().chain(before);
            diagnosis.sift(around, pod, enough(snapshot.len()))
        }
    };
    match best(&feasible, pod, chance) {
        Some(place) => Decision::Bind(place.node.name.clone()),
        None => {
            diagnosis.preemption = match pod.preemption {
                Preemption::Never => PreemptionOutcome::NotAllowed,
                Preemption::LowerPriority if snapshot.has_below(pod.priority) => PreemptionOutcome::NotSupported,
                Preemption::LowerPriority => PreemptionOutcome::NoVictims,
            };
            Decision::Unschedulable(diagnosis)
        }
    }
}

/// Whether this one node could take the pod: what a change of the node is asked first.
pub(crate) fn suits(snapshot: &Snapshot, node: &str, pod: &Pod) -> bool {
    snapshot.place(node).is_some_and(|place| filter(place, pod).is_ok())
}

/// How many suitable nodes are enough to choose from: Kubernetes' `percentageOfNodesToScore`,
/// 50 % falling to 5 % as the cluster grows, at least a hundred.
fn enough(nodes: usize) -> usize {
    if nodes <= WHOLE {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(WHOLE)
}

fn chance(seed: u64, uid: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, uid).hash(&mut hasher);
    hasher.finish()
}

/// The feasible node with the highest score; among equals, the one that `chance` likes best.
fn best<'a>(feasible: &[&'a Place], pod: &Pod, chance: u64) -> Option<&'a Place> {
    if let [only] = feasible {
        return Some(only);
    }
    let unwelcome: Vec<_> = feasible.iter().map(|place| taints::unwelcome(place, pod)).collect();
    let preference: Vec<_> = if pod.preferred_affinity.is_empty() {
        vec![0; feasible.len()]
    } else {
        feasible.iter().map(|place| affinity::preference(&place.node, pod)).collect()
    };
    let most_unwelcome = unwelcome.iter().copied().max().unwrap_or(0);
    let most_preferred = preference.iter().copied().max().unwrap_or(0);
    let share = |value: i64, of: i64| if of == 0 { 0 } else { value * MAX_SCORE / of };
    let score = |at: usize, place: &Place| {
        fit::least_allocated(place, pod)
            + fit::balanced(place, pod)
            + WEIGHT_TAINTS * (MAX_SCORE - share(unwelcome[at], most_unwelcome))
            + WEIGHT_AFFINITY * share(preference[at], most_preferred)
    };
    let ranked = feasible.iter().enumerate().map(|(at, place)| {
        let luck = (place.node.hash ^ chance).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (score(at, place), luck, *place)
    });
    ranked.max_by_key(|(score, luck, _)| (*score, *luck)).map(|(_, _, place)| place)
}

impl Diagnosis {
    /// The places that the filters let through, up to `limit`; the rest is noted.
    fn sift<'a>(&mut self, places: impl Iterator<Item = &'a Place>, pod: &Pod, limit: usize) -> Vec<&'a Place> {
        let mut feasible = Vec::new();
        for place in places {
            match filter(place, pod) {
                Ok(()) => feasible.push(place),
                Err(refusal) => self.note(refusal),
            }
            if feasible.len() >= limit {
                break;
            }
        }
        feasible
    }

    fn note(&mut self, refusal: Refusal) {
        for reason in refusal.reasons {
            *self.reasons.entry(reason).or_insert(0) += 1;
        }
        self.hopeless += usize::from(refusal.remedy == Remedy::None);
    }

    /// Nodes that need no look.
    fn exclude(&mut self, count: usize) {
        if count > 0 {
            self.reasons.insert(Reason::NotNamed, count);
            self.hopeless += count;
        }
    }

    fn write_preemption(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.preemption {
            PreemptionOutcome::NotAllowed => f.write_str(" preemption: not eligible due to preemptionPolicy=Never."),
            PreemptionOutcome::NotSupported => {
                f.write_str(" preemption: this scheduler does not displace pods of lower priority yet.")
            }
            PreemptionOutcome::NoVictims => {
                let helpless = [
                    (self.nodes - self.hopeless, "No preemption victims found for incoming pod"),
                    (self.hopeless, "Preemption is not helpful for scheduling"),
                ];
                let helpless = helpless.iter().filter(|(count, _)| *count > 0);
                let mut parts: Vec<_> = helpless.map(|(count, reason)| format!("{count} {reason}")).collect();
                parts.sort();
                write!(f, " preemption: 0/{} nodes are available: {}.", self.nodes, parts.join(", "))
            }
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        write!(f, "0/{} nodes are available:", self.nodes)?;
        let mut parts: Vec<_> = self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        parts.sort();
        for (at, part) in parts.iter().enumerate() {
            f.write_str(if at == 0 { " " } else { ", " })?;
            f.write_str(part)?;
        }
        f.write_char('.')?;
        self.write_preemption(f)
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
