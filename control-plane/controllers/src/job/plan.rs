//! The next step of a Job: the Job and its pods in, writes and status out. Pure.

use super::account::{self, Outcome};
use super::failure::{self, Verdict};
use super::indexes::Indexes;
use super::template;
use crate::clock::remaining;
use crate::frame::events::Note;
use crate::k8s::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus, SuccessPolicyRule};
use crate::k8s::api::core::v1::Pod;
use crate::k8s::apimachinery::pkg::apis::meta::v1::Time;
use crate::pods;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Most pods created or deleted in one run.
const BURST: usize = 500;

/// What to write, in this order: pods, the status, the finalizers, and then the status again, settled.
#[derive(Debug, Default)]
pub struct Plan {
    pub create: Vec<Pod>,
    pub delete: Vec<Arc<Pod>>,
    pub status: JobStatus,
    /// Pods whose end is in the status: their finalizers may go.
    pub release: Vec<Arc<Pod>>,
    pub notes: Vec<Note>,
    pub wait: Option<Duration>,
}

struct Planner<'a> {
    job: &'a Job,
    spec: JobSpec,
    pods: &'a [Arc<Pod>],
    now: Timestamp,
    plan: Plan,
    completed: Indexes,
    failed_indexes: Indexes,
    fail_job: Option<String>,
}

pub fn is_finished(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")
}

pub fn condition<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == type_)
}

fn add_condition(status: &mut JobStatus, type_: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|c| c.type_ != type_);
    conditions.push(JobCondition {
        type_: type_.into(),
        status: value.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

pub fn plan(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Plan {
    let spec = job.spec.clone().unwrap_or_default();
    let mut status = job.status.clone().unwrap_or_default();
    account::settle(&mut status, &account::tracked_uids(pods));
    let completions = spec.completions.unwrap_or(0);
    let completed = Indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), completions);
    let failed_indexes = Indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), completions);
    let plan = Plan { status, ..Plan::default() };
    let mut planner = Planner { job, spec, pods, now, plan, completed, failed_indexes, fail_job: None };
    planner.account();
    planner.act();
    planner.count();
    planner.plan
}

/// After the finalizers are gone: counts what is left to count, and says that the Job has finished if it has.
pub fn settled(mut status: JobStatus, pods: &[Arc<Pod>], now: Timestamp) -> (JobStatus, Option<Note>) {
    let tracked = account::tracked_uids(pods);
    account::settle(&mut status, &tracked);
    status.terminating = Some(terminating(pods));
    let busy = pods.iter().any(|pod| !pods::is_terminal(pod)) || !tracked.is_empty() || account::listed(&status) > 0;
    let over = status.conditions.iter().flatten().any(|c| matches!(c.type_.as_str(), "Complete" | "Failed"));
    if busy || over {
        return (status, None);
    }
    let reason = |c: &JobCondition| (c.reason.clone().unwrap_or_default(), c.message.clone().unwrap_or_default());
    let note = if let Some((reason, message)) = condition(&status, "FailureTarget").map(reason) {
        add_condition(&mut status, "Failed", "True", &reason, &message, now);
        Note::warning(&reason, message)
    } else if let Some((reason, message)) = condition(&status, "SuccessCriteriaMet").map(reason) {
        add_condition(&mut status, "Complete", "True", &reason, &message, now);
        status.completion_time = Some(Time(now));
        Note::normal("Completed", "Job completed")
    } else {
        return (status, None);
    };
    (status, Some(note))
}

/// Pods that were told to stop and have not yet.
fn terminating(pods: &[Arc<Pod>]) -> i32 {
    let count = pods.iter().filter(|pod| pods::is_terminating(pod) && !pods::is_terminal(pod)).count();
    i32::try_from(count).unwrap_or(i32::MAX)
}

impl Planner<'_> {
    fn indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    fn suspended(&self) -> bool {
        self.spec.suspend.unwrap_or(false)
    }

    /// Whether a terminating pod is replaced only once it has ended.
    fn replaces_only_failed(&self) -> bool {
        let policy = self.spec.pod_replacement_policy.as_deref();
        policy == Some("Failed") || self.spec.pod_failure_policy.is_some()
    }

    fn outcome(&self, pod: &Pod) -> Option<Outcome> {
        match pods::phase(pod) {
            "Succeeded" => Some(Outcome::Succeeded),
            "Failed" => Some(Outcome::Failed),
            _ if pods::is_terminating(pod) && !self.replaces_only_failed() => Some(Outcome::Failed),
            _ => None,
        }
    }

    /// Takes in the pods that ended since the last run.
    fn account(&mut self) {
        for pod in self.pods.iter().filter(|pod| account::is_tracked(pod)) {
            let Some(outcome) = self.outcome(pod) else { continue };
            let uid = pods::uid(pod);
            if account::is_listed(&self.plan.status, uid) {
                self.plan.release.push(Arc::clone(pod));
                continue;
            }
            if account::listed(&self.plan.status) >= account::LIMIT {
                break;
            }
            match outcome {
                Outcome::Succeeded => self.succeeded(pod),
                Outcome::Failed => self.failed(pod),
            }
            self.plan.release.push(Arc::clone(pod));
        }
        if self.indexed() {
            let status = &mut self.plan.status;
            status.completed_indexes = Some(self.completed.text()).filter(|text| !text.is_empty());
            let count = self.completed.len();
            status.succeeded = (count != 0).then_some(count);
            if self.spec.backoff_limit_per_index.is_some() {
                status.failed_indexes = Some(self.failed_indexes.text());
            }
        }
    }

    fn succeeded(&mut self, pod: &Pod) {
        if !self.indexed() {
            account::list(&mut self.plan.status, pods::uid(pod), Outcome::Succeeded);
        } else if let Some(index) = self.index(pod) {
            self.completed.insert(index);
        }
    }

    fn failed(&mut self, pod: &Pod) {
        let index = self.index(pod);
        match failure::judge(self.spec.pod_failure_policy.as_ref(), pod) {
            Verdict::Ignore => return,
            Verdict::FailJob(message) => self.fail_job = Some(message),
            Verdict::FailIndex => {
                if let Some(index) = index {
                    self.failed_indexes.insert(index);
                }
            }
            Verdict::Count => {
                let limit = self.spec.backoff_limit_per_index;
                if let (Some(index), Some(limit)) = (index, limit)
                    && template::index_failures(pod) >= limit
                {
                    self.failed_indexes.insert(index);
                }
            }
        }
        account::list(&mut self.plan.status, pods::uid(pod), Outcome::Failed);
    }

    fn index(&self, pod: &Pod) -> Option<i32> {
        template::index(pod).filter(|index| self.indexed() && *index < self.spec.completions.unwrap_or(0))
    }

    fn succeeded_total(&self) -> i32 {
        if self.indexed() { self.completed.len() } else { account::succeeded(&self.plan.status) }
    }

    fn active(&self) -> Vec<Arc<Pod>> {
        self.pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect()
    }

    fn act(&mut self) {
        if self.job.metadata.deletion_timestamp.is_some() {
            return;
        }
        self.suspend_or_resume();
        if self.plan.status.start_time.is_none() && !self.suspended() {
            self.plan.status.start_time = Some(Time(self.now));
        }
        if condition(&self.plan.status, "FailureTarget").is_none()
            && condition(&self.plan.status, "SuccessCriteriaMet").is_none()
        {
            self.decide_end();
        }
        let status = &self.plan.status;
        let ending = condition(status, "FailureTarget").or_else(|| condition(status, "SuccessCriteriaMet")).is_some();
        if ending || self.suspended() {
            self.plan.delete = self.active();
        } else {
            self.manage();
        }
    }

    fn suspend_or_resume(&mut self) {
        let was = condition(&self.plan.status, "Suspended").is_some_and(|c| c.status == "True");
        let status = &mut self.plan.status;
        if self.spec.suspend.unwrap_or(false) && !was {
            add_condition(status, "Suspended", "True", "JobSuspended", "Job suspended", self.now);
            status.start_time = None;
            self.plan.notes.push(Note::normal("Suspended", "Job suspended"));
        } else if !self.spec.suspend.unwrap_or(false) && was {
            add_condition(status, "Suspended", "False", "JobResumed", "Job resumed", self.now);
            status.start_time = Some(Time(self.now));
            self.plan.notes.push(Note::normal("Resumed", "Job resumed"));
        }
    }

    fn decide_end(&mut self) {
        if let Some((reason, message)) = self.why_failed() {
            add_condition(&mut self.plan.status, "FailureTarget", "True", reason, &message, self.now);
        } else if let Some((reason, message)) = self.why_succeeded() {
            add_condition(&mut self.plan.status, "SuccessCriteriaMet", "True", reason, &message, self.now);
        }
    }

    fn why_failed(&mut self) -> Option<(&'static str, String)> {
        if let Some(message) = self.fail_job.take() {
            return Some(("PodFailurePolicy", message));
        }
        let limit = self.spec.backoff_limit.unwrap_or(6);
        let restarts = || {
            let policy = self.spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref());
            if policy == Some("OnFailure") { failure::restarts(self.pods) } else { 0 }
        };
        let restarted = || if limit == 0 { restarts() > 0 } else { restarts() >= limit };
        if account::failed(&self.plan.status) > limit || restarted() {
            return Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit".into()));
        }
        if let (Some(seconds), Some(start)) = (self.spec.active_deadline_seconds, &self.plan.status.start_time)
            && !self.suspended()
        {
            match remaining(start.0, SignedDuration::from_secs(seconds), self.now) {
                None => return Some(("DeadlineExceeded", "Job was active longer than specified deadline".into())),
                left => self.plan.wait = left,
            }
        }
        if self.spec.max_failed_indexes.is_some_and(|most| self.failed_indexes.len() > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(("MaxFailedIndexesExceeded", message.into()));
        }
        let ended = self.completed.len().saturating_add(self.failed_indexes.len());
        if self.failed_indexes.len() > 0 && self.spec.completions.is_some_and(|completions| ended >= completions) {
            return Some(("FailedIndexes", "Job has failed indexes".into()));
        }
        None
    }

    fn why_succeeded(&self) -> Option<(&'static str, String)> {
        if let Some(policy) = self.spec.success_policy.as_ref().filter(|_| self.indexed())
            && let Some(at) = policy.rules.iter().position(|rule| self.satisfies(rule))
        {
            return Some(("SuccessPolicy", format!("Matched rules at index {at}")));
        }
        let succeeded = self.succeeded_total();
        let complete = match self.spec.completions {
            Some(completions) => succeeded >= completions,
            None => succeeded > 0,
        };
        // An unfinished pod of a Job with a fixed number is surplus; of a work queue it still works.
        let idle = self.active().is_empty();
        (complete && idle).then(|| ("CompletionsReached", "Reached expected number of succeeded pods".into()))
    }

    fn satisfies(&self, rule: &SuccessPolicyRule) -> bool {
        let completions = self.spec.completions.unwrap_or(0);
        let Some(wanted) = &rule.succeeded_indexes else {
            return rule.succeeded_count.is_some_and(|count| self.completed.len() >= count);
        };
        let wanted = Indexes::parse(wanted, completions);
        wanted.common(&self.completed) >= rule.succeeded_count.unwrap_or(wanted.len())
    }

    /// Creates or deletes pods towards the wanted number.
    fn manage(&mut self) {
        let active = self.active();
        let active_count = i32::try_from(active.len()).unwrap_or(i32::MAX);
        let parallelism = self.spec.parallelism.unwrap_or(1);
        let succeeded = self.succeeded_total();
        let wanted = match self.spec.completions {
            // A work queue: once one has succeeded, no new ones.
            None if succeeded > 0 => active_count.min(parallelism),
            None => parallelism,
            Some(completions) => {
                completions.saturating_sub(succeeded).saturating_sub(self.failed_indexes.len()).clamp(0, parallelism)
            }
        };
        let surplus = self.surplus(&active, wanted);
        if !surplus.is_empty() {
            self.plan.delete = surplus;
            return;
        }
        let terminating = if self.replaces_only_failed() { terminating(self.pods) } else { 0 };
        let missing = wanted - active_count - terminating;
        if missing <= 0 {
            return;
        }
        let missing = usize::try_from(missing).unwrap_or(0).min(BURST);
        if self.spec.backoff_limit_per_index.is_none()
            && let Some(wait) = failure::backoff(self.pods.iter(), self.now)
        {
            self.plan.wait = Some(self.plan.wait.map_or(wait, |w| w.min(wait)));
            return;
        }
        if self.indexed() {
            self.create_indexed(missing);
        } else {
            self.plan.create = vec![template::pod(self.job, &self.spec); missing];
        }
    }

    /// The active pods that are too many; of an Indexed Job first those without a useful index, or with one twice.
    fn surplus(&self, active: &[Arc<Pod>], wanted: i32) -> Vec<Arc<Pod>> {
        let mut seen = std::collections::HashSet::new();
        let (mut useless, mut useful) = (Vec::new(), Vec::new());
        for pod in active {
            let keep = !self.indexed()
                || self.index(pod).is_some_and(|index| !self.completed.contains(index) && seen.insert(index));
            if keep { useful.push(Arc::clone(pod)) } else { useless.push(Arc::clone(pod)) }
        }
        let wanted = usize::try_from(wanted).unwrap_or(0);
        if useful.len() > wanted {
            // Those that are not ready, and then the youngest, go first.
            useful.sort_by_key(|pod| (!pods::is_ready(pod), pod.metadata.creation_timestamp.clone()));
            useful.sort_by_key(|pod| std::cmp::Reverse(pods::is_ready(pod)));
            useless.extend(useful.split_off(wanted));
        }
        useless.truncate(BURST);
        useless
    }

    fn create_indexed(&mut self, missing: usize) {
        let mut taken = Indexes::default();
        let mut failures: HashMap<i32, (i32, Vec<&Arc<Pod>>)> = HashMap::new();
        let only_failed = self.replaces_only_failed();
        for pod in self.pods {
            let Some(index) = self.index(pod) else { continue };
            if pods::is_active(pod) || (only_failed && !pods::is_terminal(pod)) {
                taken.insert(index);
            } else if self.outcome(pod) == Some(Outcome::Failed) {
                let counts = failure::judge(self.spec.pod_failure_policy.as_ref(), pod) != Verdict::Ignore;
                let (most, pods) = failures.entry(index).or_default();
                *most = (*most).max(template::index_failures(pod).saturating_add(counts.into()));
                pods.push(pod);
            }
        }
        let completions = self.spec.completions.unwrap_or(0);
        let per_index = self.spec.backoff_limit_per_index.is_some();
        let free = (0..completions).filter(|index| {
            !taken.contains(*index) && !self.completed.contains(*index) && !self.failed_indexes.contains(*index)
        });
        for index in free.take(missing) {
            let (failed, ended) = failures.remove(&index).unwrap_or_default();
            if per_index && let Some(wait) = failure::backoff(ended.into_iter(), self.now) {
                self.plan.wait = Some(self.plan.wait.map_or(wait, |w| w.min(wait)));
                continue;
            }
            let failed = per_index.then_some(failed);
            self.plan.create.push(template::indexed_pod(self.job, &self.spec, index, failed));
        }
    }

    /// The counts, as they will be once the plan is carried out.
    fn count(&mut self) {
        let leaving = |pod: &Pod| self.plan.delete.iter().any(|gone| pods::uid(gone) == pods::uid(pod));
        let staying = self.pods.iter().filter(|pod| pods::is_active(pod) && !leaving(pod));
        let (mut active, mut ready) = (self.plan.create.len(), 0);
        for pod in staying {
            active += 1;
            ready += i32::from(pods::is_ready(pod));
        }
        let active = i32::try_from(active).unwrap_or(i32::MAX);
        let leaving = i32::try_from(self.plan.delete.len()).unwrap_or(i32::MAX);
        let terminating = terminating(self.pods) + leaving;
        let status = &mut self.plan.status;
        status.active = (active != 0).then_some(active);
        status.ready = Some(ready);
        status.terminating = Some(terminating);
        status.uncounted_terminated_pods.get_or_insert_default();
    }
}
