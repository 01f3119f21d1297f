//! What a PodDisruptionBudget says about its pods. Pure.

use crate::clock::remaining;
use crate::k8s::api::core::v1::Pod;
use crate::k8s::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use crate::k8s::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use crate::k8s::apimachinery::pkg::util::intstr::IntOrString;
use crate::pods;
use api::intstr::{self, Rounding};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long an evicted pod may take to show that it is being deleted (`DeletionTimeout`).
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
const ALLOWED: &str = "DisruptionAllowed";

/// The pods that evictions were granted for and that are not being deleted yet.
#[derive(Debug, Default, PartialEq)]
pub struct Disrupted {
    pub kept: BTreeMap<String, Time>,
    /// Names of the pods that were to be deleted and were not.
    pub overdue: Vec<String>,
    /// When the first of `kept` becomes overdue.
    pub look_again: Option<Duration>,
}

impl Disrupted {
    pub fn of(recorded: Option<&BTreeMap<String, Time>>, pods: &[Arc<Pod>], now: Timestamp) -> Self {
        let mut found = Self::default();
        for pod in pods.iter().filter(|pod| !pods::is_terminating(pod)) {
            let Some(granted) = recorded.and_then(|map| map.get(pods::name(pod))) else { continue };
            match remaining(granted.0, DELETION_TIMEOUT, now) {
                None => found.overdue.push(pods::name(pod).to_owned()),
                Some(left) => {
                    found.kept.insert(pods::name(pod).to_owned(), granted.clone());
                    found.look_again = Some(found.look_again.map_or(left, |first| first.min(left)));
                }
            }
        }
        found
    }
}

/// Pods that count: ready, not on their way out, and no eviction granted.
pub fn healthy(pods: &[Arc<Pod>], disrupted: &Disrupted) -> i32 {
    let counts = |pod: &&Arc<Pod>| {
        !pods::is_terminating(pod) && pods::is_ready(pod) && !disrupted.kept.contains_key(pods::name(pod))
    };
    count(pods.iter().filter(counts).count())
}

pub fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Where the number of pods that there should be comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The pods that are there: `minAvailable` is a number.
    Pods,
    /// The scales of the pods' controllers.
    Scale,
    /// Neither field is set: nothing is asked for.
    Nothing,
}

pub fn basis(spec: &PodDisruptionBudgetSpec) -> Basis {
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(_), _) | (None, Some(IntOrString::String(_))) => Basis::Scale,
        (None, Some(IntOrString::Int(_))) => Basis::Pods,
        (None, None) => Basis::Nothing,
    }
}

/// How many of `expected` pods must be healthy.
///
/// # Errors
/// A percentage that is none.
pub fn desired(spec: &PodDisruptionBudgetSpec, expected: i32) -> Result<i32, String> {
    if let Some(value) = &spec.max_unavailable {
        return Ok(expected.saturating_sub(scaled(value, expected)?).max(0));
    }
    spec.min_available.as_ref().map_or(Ok(0), |value| scaled(value, expected))
}

fn scaled(value: &IntOrString, total: i32) -> Result<i32, String> {
    match value {
        IntOrString::Int(number) => Ok(*number),
        IntOrString::String(text) => {
            let parsed = intstr::parse(&serde_json::Value::from(text.as_str())).map_err(|e| e.to_string())?;
            let amount = parsed.scaled(total.into(), Rounding::Up);
            Ok(i32::try_from(amount).unwrap_or(i32::MAX))
        }
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub healthy: i32,
    pub desired: i32,
    pub expected: i32,
}

/// The status that says so. A budget that matches nothing allows nothing: it may be about pods that come later.
pub fn status(
    budget: &PodDisruptionBudget,
    counts: Counts,
    disrupted: &Disrupted,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    let spare = counts.healthy.saturating_sub(counts.desired);
    let allowed = if counts.expected <= 0 { 0 } else { spare.max(0) };
    let (state, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let generation = budget.metadata.generation;
    PodDisruptionBudgetStatus {
        current_healthy: Some(counts.healthy),
        desired_healthy: Some(counts.desired),
        expected_pods: Some(counts.expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.kept.is_empty()).then(|| disrupted.kept.clone()),
        observed_generation: generation,
        conditions: Some(conditions(budget, state, (reason, ""), now)),
    }
}

/// The status when nobody knows: no disruptions until somebody does.
pub fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    PodDisruptionBudgetStatus {
        disruptions_allowed: Some(0),
        conditions: Some(conditions(budget, "False", ("SyncFailed", why), now)),
        ..budget.status.clone().unwrap_or_default()
    }
}

/// The budget's conditions with `DisruptionAllowed` as given.
fn conditions(
    budget: &PodDisruptionBudget,
    state: &str,
    (reason, message): (&str, &str),
    now: Timestamp,
) -> Vec<Condition> {
    let mut list = budget.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let since = list.iter().find(|c| c.type_ == ALLOWED && c.status == state).map(|c| c.last_transition_time.clone());
    let condition = Condition {
        type_: ALLOWED.into(),
        status: state.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: budget.metadata.generation,
        last_transition_time: since.unwrap_or(Time(now)),
    };
    match list.iter_mut().find(|c| c.type_ == ALLOWED) {
        Some(place) => *place = condition,
        None => list.push(condition),
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, ready: bool) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" };
        let pod = json!({"metadata": {"name": name},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn budget(spec: &Value) -> PodDisruptionBudget {
        serde_json::from_value(json!({"metadata": {"name": "b", "generation": 2}, "spec": spec})).unwrap()
    }

    #[test]
    fn numbers_and_percentages_say_how_many_must_be_healthy() {
        for (spec, expected, healthy) in [
            (json!({"minAvailable": 2}), 5, 2),
            (json!({"minAvailable": "50%"}), 5, 3),
            (json!({"maxUnavailable": 1}), 5, 4),
            (json!({"maxUnavailable": "50%"}), 5, 2),
            (json!({"maxUnavailable": 9}), 5, 0),
            (json!({}), 5, 0),
        ] {
            assert_eq!(desired(budget(&spec).spec.as_ref().unwrap(), expected), Ok(healthy), "{spec}");
        }
        assert!(desired(budget(&json!({"minAvailable": "x"})).spec.as_ref().unwrap(), 5).is_err());
    }

    #[test]
    fn granted_evictions_count_against_the_budget_until_they_are_overdue() {
        let pods = [pod("a", true), pod("b", true), pod("c", false)];
        let granted = Timestamp::UNIX_EPOCH;
        let recorded = BTreeMap::from([("a".to_owned(), Time(granted)), ("gone".to_owned(), Time(granted))]);
        let soon = Disrupted::of(Some(&recorded), &pods, granted + SignedDuration::from_secs(30));
        assert_eq!(soon.kept.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(soon.look_again, Some(Duration::from_secs(90)));
        assert_eq!(healthy(&pods, &soon), 1);
        let late = Disrupted::of(Some(&recorded), &pods, granted + SignedDuration::from_secs(121));
        assert_eq!((late.kept.len(), late.overdue), (0, vec!["a".to_owned()]));
    }

    #[test]
    fn the_condition_follows_the_number_and_keeps_its_time() {
        let mut budget = budget(&json!({"minAvailable": 1}));
        let now = Timestamp::UNIX_EPOCH;
        let two = Counts { healthy: 2, desired: 1, expected: 2 };
        let first = status(&budget, two, &Disrupted::default(), now);
        assert_eq!((first.disruptions_allowed, first.observed_generation), (Some(1), Some(2)));
        assert_eq!(first.conditions.as_ref().unwrap()[0].reason, "SufficientPods");
        budget.status = Some(first.clone());
        let later = now + SignedDuration::from_secs(60);
        assert_eq!(status(&budget, two, &Disrupted::default(), later), first);
        let one = status(&budget, Counts { healthy: 1, ..two }, &Disrupted::default(), later);
        assert_eq!(
            (one.disruptions_allowed, one.conditions.unwrap()[0].reason.as_str()),
            (Some(0), "InsufficientPods")
        );
        let none = status(&budget, Counts { healthy: 0, desired: 0, expected: 0 }, &Disrupted::default(), later);
        assert_eq!(none.disruptions_allowed, Some(0), "no pods, no disruptions");
    }
}
