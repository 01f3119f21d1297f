//! Deletes finished Jobs when their `ttlSecondsAfterFinished` has passed.

use crate::clock::{Clock, remaining};
use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::informer::{Change, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::batch::v1::Job;
use crate::{Config, Error, Next};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Preconditions};
use std::sync::Arc;
use tokio::task::JoinSet;

struct Controller {
    access: Access,
    jobs: Informer<Job>,
    clock: Clock,
}

pub(crate) fn start(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let jobs = context.informers.jobs.wanted();
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    jobs.on_change(move |change| {
        if let Change::Added(job) | Change::Updated { new: job, .. } = change
            && expiry(job).is_some()
        {
            signal.add(Key::of(job.as_ref()));
        }
    });
    let controller = Controller { access: context.access.clone(), jobs, clock: context.clock.clone() };
    context.spawn(tasks, Arc::new(controller), queue);
}

/// When the Job ended and how long it is kept after that; `None` while it runs or where it is kept.
fn expiry(job: &Job) -> Option<(Timestamp, SignedDuration)> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let end = conditions.iter().find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")?;
    Some((end.last_transition_time.as_ref()?.0, SignedDuration::from_secs(ttl.into())))
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "ttl-after-finished-controller";
    const WORKERS: usize = 4;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(job) = self.jobs.get(key).filter(|j| j.metadata.deletion_timestamp.is_none()) else {
            return Ok(Next::Signal);
        };
        let Some((end, ttl)) = expiry(&job) else { return Ok(Next::Signal) };
        if let Some(left) = remaining(end, ttl, self.clock.now()) {
            return Ok(Next::After(left));
        }
        let preconditions =
            Preconditions { uid: job.metadata.uid.clone(), resource_version: job.metadata.resource_version.clone() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::foreground() };
        self.access.delete::<Job>(key, &params).await?;
        Ok(Next::Signal)
    }

    fn keys(&self) -> Vec<Key> {
        self.jobs.keys()
    }
}
