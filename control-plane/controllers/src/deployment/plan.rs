//! The next step of a Deployment: its objects in, writes and status out. Pure.

use super::rollout::{self, Sets, new_set_size};
use super::sets::{self, REVISION, Set};
use super::status;
use crate::k8s::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Everything a decision depends on.
pub struct View<'a> {
    pub deployment: &'a Deployment,
    pub replica_sets: Vec<Arc<ReplicaSet>>,
    /// UIDs of ReplicaSets that have pods which have not ended.
    pub running: HashSet<String>,
    pub now: Timestamp,
}

/// What to write, in this order: ReplicaSets, the revision annotation, the status.
#[derive(Debug)]
pub struct Plan {
    /// To create or patch; those that need neither are left out by the writer.
    pub sets: Vec<Set>,
    pub delete: Vec<Arc<ReplicaSet>>,
    /// The Deployment's own revision annotation, if it changes.
    pub revision: Option<String>,
    pub status: DeploymentStatus,
    pub wait: Option<Duration>,
}

struct Planner<'a> {
    view: &'a View<'a>,
    sets: Sets,
    status: DeploymentStatus,
    revision: Option<String>,
    delete: Vec<Arc<ReplicaSet>>,
}

pub fn plan(view: &View<'_>) -> Plan {
    let deployment = view.deployment;
    let mut planner = Planner {
        view,
        sets: split(deployment, &view.replica_sets),
        status: deployment.status.clone().unwrap_or_default(),
        revision: None,
        delete: Vec::new(),
    };
    if deployment.metadata.deletion_timestamp.is_some() {
        planner.count();
    } else {
        planner.step();
    }
    let wait = status::next_look(deployment, &planner.status, view.now);
    Plan {
        // The new one first: what is to replace must exist before what is replaced goes.
        sets: planner.sets.new.into_iter().chain(planner.sets.old).collect(),
        delete: planner.delete,
        revision: planner.revision,
        status: planner.status,
        wait,
    }
}

/// The new set is the oldest one with the current template.
fn split(deployment: &Deployment, all: &[Arc<ReplicaSet>]) -> Sets {
    let template = deployment.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    let mut all: Vec<Set> = all.iter().map(Set::stored).collect();
    all.sort_by_key(|set| (set.now.metadata.creation_timestamp.clone(), set.name().to_owned()));
    let new = all.iter().position(|set| sets::same_template(&set.template(), &template)).map(|at| all.remove(at));
    Sets { new, old: all }
}

impl Planner<'_> {
    fn step(&mut self) {
        let deployment = self.view.deployment;
        let paused = deployment.spec.as_ref().and_then(|s| s.paused).unwrap_or(false);
        status::note_pause(deployment, &mut self.status, self.view.now);
        if paused || self.is_rescaled() {
            self.refresh_new();
            rollout::rescale(deployment, &mut self.sets);
            if paused {
                self.clean_up();
            }
            self.count();
        } else if sets::is_recreate(deployment) {
            self.recreate();
        } else {
            self.ensure_new();
            if !rollout::rolling(deployment, &mut self.sets) {
                self.clean_up_if_complete();
            }
            self.judge();
        }
    }

    fn recreate(&mut self) {
        let deployment = self.view.deployment;
        self.refresh_new();
        if !rollout::stop_old(deployment, &mut self.sets) && !self.old_pods_run() {
            self.ensure_new();
            if let Some(new) = self.sets.new.as_mut() {
                new.scale(deployment, sets::replicas(deployment));
            }
            self.clean_up_if_complete();
        }
        self.judge();
    }

    fn old_pods_run(&self) -> bool {
        self.sets.old.iter().any(|set| set.actual() > 0 || self.view.running.contains(set.uid()))
    }

    fn is_rescaled(&self) -> bool {
        let wanted = sets::replicas(self.view.deployment);
        self.sets.all().any(|set| set.replicas() > 0 && set.desired().is_some_and(|desired| desired != wanted))
    }

    fn next_revision(&self) -> i64 {
        self.sets.old.iter().map(Set::revision).max().unwrap_or(0).saturating_add(1)
    }

    /// Brings the new set, if there is one, up to date with the Deployment.
    fn refresh_new(&mut self) {
        let revision = self.next_revision();
        let deployment = self.view.deployment;
        let Some(new) = self.sets.new.as_mut() else { return };
        new.refresh(deployment, revision);
        let message = format!("Found new replica set \"{}\"", new.name());
        let revision = new.revision().to_string();
        self.set_revision(revision);
        if status::deadline(deployment).is_some() && status::get(&self.status, status::PROGRESSING).is_none() {
            let found = status::condition(status::PROGRESSING, "True", "FoundNewReplicaSet", message, self.view.now);
            status::set(&mut self.status, found);
        }
    }

    fn ensure_new(&mut self) {
        if self.sets.new.is_some() {
            return self.refresh_new();
        }
        let deployment = self.view.deployment;
        let revision = self.next_revision();
        self.sets.new = Some(sets::fresh(deployment, revision));
        let size = new_set_size(deployment, &self.sets);
        let Some(new) = self.sets.new.as_mut() else { return };
        new.scale(deployment, size);
        let message = format!("Created new replica set \"{}\"", new.name());
        self.set_revision(revision.to_string());
        if status::deadline(deployment).is_some() {
            let created =
                status::condition(status::PROGRESSING, "True", "NewReplicaSetCreated", message, self.view.now);
            status::set(&mut self.status, created);
        }
    }

    fn set_revision(&mut self, revision: String) {
        let annotations = self.view.deployment.metadata.annotations.as_ref();
        if annotations.and_then(|a| a.get(REVISION)) != Some(&revision) {
            self.revision = Some(revision);
        }
    }

    fn count(&mut self) {
        self.status = status::count(self.view.deployment, &self.sets, &self.status, self.view.now);
    }

    fn judge(&mut self) {
        self.count();
        status::judge(self.view.deployment, &self.sets, &mut self.status, self.view.now);
    }

    fn clean_up_if_complete(&mut self) {
        let before = self.view.deployment.status.clone().unwrap_or_default();
        if status::is_complete(self.view.deployment, &before) {
            self.clean_up();
        }
    }

    /// Drops the oldest revisions beyond the history limit, those that are empty and settled.
    fn clean_up(&mut self) {
        let limit = self.view.deployment.spec.as_ref().and_then(|s| s.revision_history_limit).unwrap_or(10);
        if limit == i32::MAX {
            return;
        }
        let mut alive: Vec<&Set> =
            self.sets.old.iter().filter(|set| set.now.metadata.deletion_timestamp.is_none()).collect();
        let surplus = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        alive.sort_by_key(|set| set.revision());
        let settled = |set: &&&Set| {
            let observed = set.status().observed_generation.unwrap_or(0);
            set.actual() == 0 && set.replicas() == 0 && set.now.metadata.generation.unwrap_or(0) <= observed
        };
        self.delete = alive[..surplus].iter().filter(settled).filter_map(|set| set.stored.clone()).collect();
    }
}

impl Plan {
    /// What the plan would say, for tests.
    #[cfg(test)]
    pub fn notes(&self) -> Vec<&super::Note> {
        self.sets.iter().flat_map(|set| &set.notes).collect()
    }
}
