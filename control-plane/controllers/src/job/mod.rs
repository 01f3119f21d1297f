//! Jobs: pods that run to completion, each end counted exactly once.

mod account;
mod failure;
mod indexes;
mod plan;
mod template;
#[cfg(test)]
mod tests;
pub(crate) mod ttl;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::access::{Access, Deleted, status_patch};
use crate::frame::batch::slow_start;
use crate::frame::events::{Note, Recorder};
use crate::frame::informer::{Change, Index, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::batch::v1::{Job, JobStatus};
use crate::k8s::api::core::v1::Pod;
use crate::owners::{claim_with, controller_of};
use crate::pods;
use crate::selector::Selector;
use crate::{Config, Error, Next};
use async_trait::async_trait;
use kube::api::{DeleteParams, Preconditions};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::JoinSet;

const JOB_NAME: &str = "batch.kubernetes.io/job-name";

struct Controller {
    access: Access,
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    events: Recorder,
    clock: Clock,
}

pub(crate) fn start(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let (jobs, pods) = (context.informers.jobs.wanted(), context.informers.pods.wanted());
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    jobs.on_change(move |change| signal.add(Key::of(change.object().as_ref())));
    let signal = Arc::clone(&queue);
    pods.on_change(move |change| {
        wake(&signal, change.object());
        if let Change::Updated { old, .. } = change {
            wake(&signal, old);
        }
    });
    let controller = Controller {
        access: context.access.clone(),
        jobs,
        pods,
        events: context.events.named("job-controller"),
        clock: context.clock.clone(),
    };
    context.spawn(tasks, Arc::new(controller), queue);
}

fn wake(queue: &Queue, pod: &Pod) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    match controller_of(&pod.metadata) {
        Some(owner) if owner.kind == "Job" => queue.add(Key::new(namespace, &owner.name)),
        Some(_) => {}
        None => {
            if let Some(name) = pod.metadata.labels.as_ref().and_then(|l| l.get(JOB_NAME)) {
                queue.add(Key::new(namespace, name));
            }
        }
    }
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "job-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(job) = self.jobs.get(key) else {
            self.release_strays(key, None).await?;
            return Ok(Next::Signal);
        };
        if job.spec.as_ref().and_then(|s| s.managed_by.as_deref()).is_some_and(|m| m != "kubernetes.io/job-controller")
        {
            return Ok(Next::Signal);
        }
        self.release_strays(key, job.metadata.uid.as_deref()).await?;
        let pods = self.pods_of(key, &job).await?;
        if plan::is_finished(&job) {
            self.release(pods.iter().filter(|pod| account::is_tracked(pod)).cloned().collect()).await?;
            return Ok(Next::Signal);
        }
        let mode = job.spec.as_ref().and_then(|s| s.completion_mode.as_deref()).unwrap_or("NonIndexed");
        if !matches!(mode, "NonIndexed" | "Indexed") {
            let message = "Skipped Job sync because completion mode is unknown";
            self.events.record(job.as_ref(), Note::warning("UnknownCompletionMode", message));
            return Ok(Next::Signal);
        }
        self.step(key, &job, pods).await
    }

    fn keys(&self) -> Vec<Key> {
        self.jobs.keys()
    }
}

impl Controller {
    async fn pods_of(&self, key: &Key, job: &Arc<Job>) -> Result<Vec<Arc<Pod>>, Error> {
        match job.spec.as_ref().and_then(|s| s.selector.as_ref()) {
            None => Ok(self.pods.find(&Index::Owner(job.metadata.uid.clone().unwrap_or_default()))),
            Some(selector) => {
                let selector = Selector::parse(selector).map_err(|reason| Error::Selector {
                    kind: "Job",
                    name: key.to_string(),
                    reason,
                })?;
                claim_with(&self.access, &self.pods, job.as_ref(), &selector, Some(account::FINALIZER)).await
            }
        }
    }

    async fn step(&self, key: &Key, job: &Arc<Job>, pods: Vec<Arc<Pod>>) -> Result<Next, Error> {
        let plan = plan::plan(job, &pods, self.clock.now());
        let mut known: HashMap<String, Arc<Pod>> = pods.into_iter().map(|p| (pods::uid(&p).to_owned(), p)).collect();
        for note in plan.notes {
            self.events.record(job.as_ref(), note);
        }
        let mut failure = None;
        let mut status = plan.status;
        let wanted = plan.create.len();
        let created = slow_start(plan.create, |pod| self.create(job, pod)).await;
        let mut missing = wanted;
        for result in created {
            match result {
                Ok(pod) => {
                    missing -= 1;
                    known.insert(pods::uid(&pod).to_owned(), pod);
                }
                Err(error) => failure = Some(error),
            }
        }
        if missing > 0 {
            let active = status.active.unwrap_or(0) - i32::try_from(missing).unwrap_or(0);
            status.active = (active > 0).then_some(active);
        }
        for result in slow_start(plan.delete, |pod| self.delete(job, pod)).await {
            match result {
                Ok((uid, Some(left))) => {
                    known.insert(uid, left);
                }
                Ok((uid, None)) => {
                    known.remove(&uid);
                }
                Err(error) => failure = Some(error),
            }
        }
        self.finish(key, job, status, plan.release, known).await?;
        match failure {
            Some(error) if !error.is_namespace_terminating() => Err(error),
            _ => Ok(Next::Signal.or_after(plan.wait)),
        }
    }

    /// Writes the status, removes finalizers, and writes the settled status.
    async fn finish(
        &self,
        key: &Key,
        job: &Arc<Job>,
        mut status: JobStatus,
        release: Vec<Arc<Pod>>,
        mut known: HashMap<String, Arc<Pod>>,
    ) -> Result<(), Error> {
        let mut job = Arc::clone(job);
        if !release.is_empty() {
            job = self.write(key, job, status.clone()).await?;
            for (uid, left) in self.release(release).await? {
                match left {
                    Some(pod) => known.insert(uid, pod),
                    None => known.remove(&uid),
                };
            }
        }
        let pods: Vec<_> = known.into_values().collect();
        let note;
        (status, note) = plan::settled(status, &pods, self.clock.now());
        let written = self.write(key, job, status).await?;
        if let Some(note) = note {
            self.events.record(written.as_ref(), note);
        }
        Ok(())
    }

    async fn write(&self, key: &Key, job: Arc<Job>, status: JobStatus) -> Result<Arc<Job>, Error> {
        let version = job.metadata.resource_version.as_deref();
        let Some(patch) = status_patch(version, &job.status, &Some(status)) else { return Ok(job) };
        let written = self.access.patch_status::<Job>(key, &patch).await?;
        self.jobs.learn(written.clone());
        Ok(Arc::new(written))
    }

    async fn create(&self, job: &Job, pod: Pod) -> Result<Arc<Pod>, Error> {
        match self.access.create(&pod).await {
            Ok(created) => {
                let message = format!("Created pod: {}", pods::name(&created));
                self.events.record(job, Note::normal("SuccessfulCreate", message));
                self.pods.learn(created.clone());
                Ok(Arc::new(created))
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let message = format!("Error creating: {}", error.reason());
                    self.events.record(job, Note::warning("FailedCreate", message));
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, job: &Job, pod: Arc<Pod>) -> Result<(String, Option<Arc<Pod>>), Error> {
        let key = Key::of(pod.as_ref());
        let uid = pods::uid(&pod).to_owned();
        let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let outcome = self.access.delete::<Pod>(&key, &params).await?;
        self.events.record(job, Note::normal("SuccessfulDelete", format!("Deleted pod: {}", key.name())));
        Ok(match outcome {
            Deleted::Terminating(left) => {
                self.pods.learn(left.as_ref().clone());
                (uid, Some(Arc::new(*left)))
            }
            Deleted::Gone => {
                self.pods.forget(&key, &uid);
                (uid, None)
            }
        })
    }

    /// Removes the tracking finalizer; returns what is left of each pod, by UID.
    async fn release(&self, pods: Vec<Arc<Pod>>) -> Result<Vec<(String, Option<Arc<Pod>>)>, Error> {
        slow_start(pods, |pod| self.release_one(pod)).await.into_iter().collect()
    }

    async fn release_one(&self, pod: Arc<Pod>) -> Result<(String, Option<Arc<Pod>>), Error> {
        let (key, uid) = (Key::of(pod.as_ref()), pods::uid(&pod).to_owned());
        let finalizers: Vec<_> =
            pod.metadata.finalizers.iter().flatten().filter(|f| *f != account::FINALIZER).collect();
        let finalizers = if finalizers.is_empty() { serde_json::Value::Null } else { json!(finalizers) };
        let patch = json!({"metadata": {
            "uid": uid, "resourceVersion": pod.metadata.resource_version, "finalizers": finalizers}});
        match self.access.patch::<Pod>(&key, &patch).await {
            Ok(written) => {
                let gone = pods::is_terminating(&written)
                    && written.metadata.finalizers.as_ref().is_none_or(Vec::is_empty)
                    && written.metadata.deletion_grace_period_seconds == Some(0);
                if gone {
                    self.pods.forget(&key, &uid);
                } else {
                    self.pods.learn(written.clone());
                }
                Ok((uid, (!gone).then(|| Arc::new(written))))
            }
            Err(error) if error.is_not_found() => {
                self.pods.forget(&key, &uid);
                Ok((uid, None))
            }
            Err(error) => Err(error),
        }
    }

    /// Pods that the tracking finalizer holds for a Job that is gone.
    async fn release_strays(&self, key: &Key, uid: Option<&str>) -> Result<(), Error> {
        let label = |name: &str| Index::Label {
            namespace: key.namespace().into(),
            name: name.into(),
            value: key.name().into(),
        };
        let mut strays = self.pods.find(&label(JOB_NAME));
        strays.retain(|pod| {
            let owner = controller_of(&pod.metadata);
            let ours = match owner {
                Some(owner) => owner.kind == "Job" && owner.name == key.name() && Some(owner.uid.as_str()) != uid,
                None => uid.is_none(),
            };
            ours && account::is_tracked(pod)
        });
        self.release(strays).await.map(|_| ())
    }
}
