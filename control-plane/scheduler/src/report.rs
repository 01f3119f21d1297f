//! Telling about decisions, events and conditions, beside the way of the pods: a bounded queue that
//! drops what does not fit. Nothing here may delay a binding.

use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use kube::Client;
use kube::core::Request;
use kube::core::params::{Patch, PatchParams, PostParams};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::events::{Kind, event};
use crate::pod::Pod;

/// Reports that wait; more are dropped.
const QUEUE: usize = 8_192;
/// Reports on their way to the API server at a time.
const IN_FLIGHT: usize = 16;

/// Something to tell.
enum Report {
    Event { namespace: Arc<str>, body: Value },
    Condition { pod: Arc<Pod>, resource_version: String, message: String, at: Timestamp },
}

/// Where the scheduler leaves its reports.
pub(crate) struct Reporter {
    queue: mpsc::Sender<Report>,
    name: String,
    dropped: u64,
}

impl Reporter {
    /// A reporter, and the work to be run beside the scheduler until the reporter is dropped.
    pub fn new(client: Client, name: &str) -> (Self, impl Future<Output = ()> + use<>) {
        let (queue, reports) = mpsc::channel(QUEUE);
        (Self { queue, name: name.to_owned(), dropped: 0 }, deliver(client, reports))
    }

    /// `Scheduled`.
    pub fn scheduled(&mut self, pod: &Pod, resource_version: &str, node: &str) {
        let message = format!("Successfully assigned {}/{} to {node}", pod.namespace, pod.name);
        self.event(Kind::Scheduled, pod, resource_version, &message);
    }

    /// `FailedScheduling`.
    pub fn failed(&mut self, pod: &Pod, resource_version: &str, message: &str) {
        self.event(Kind::FailedScheduling, pod, resource_version, message);
    }

    /// `PodScheduled=False`, reason `Unschedulable`, unless the pod is not at `resource_version` any
    /// more: it may have a node by then.
    pub fn unschedulable(&mut self, pod: Arc<Pod>, resource_version: String, message: String) {
        self.send(Report::Condition { pod, resource_version, message, at: Timestamp::now() });
    }

    fn event(&mut self, kind: Kind, pod: &Pod, resource_version: &str, message: &str) {
        let body = event(kind, pod, resource_version, message, &self.name, Timestamp::now());
        self.send(Report::Event { namespace: pod.namespace.clone(), body });
    }

    fn send(&mut self, report: Report) {
        if self.queue.try_send(report).is_err() {
            self.dropped += 1;
            if self.dropped.is_power_of_two() {
                tracing::info!(dropped = self.dropped, "more reports than the API server takes");
            }
        }
    }
}

async fn deliver(client: Client, mut reports: mpsc::Receiver<Report>) {
    futures::stream::poll_fn(move |context| reports.poll_recv(context))
        .for_each_concurrent(IN_FLIGHT, |report| {
            let client = client.clone();
            async move {
                if let Err(error) = send(&client, &report).await {
                    tracing::debug!(%error, "a report was not taken");
                }
            }
        })
        .await;
}

async fn send(client: &Client, report: &Report) -> Result<(), kube::Error> {
    let request = match report {
        Report::Event { namespace, body } => Request::new(format!("/api/v1/namespaces/{namespace}/events"))
            .create(&PostParams::default(), body.to_string().into_bytes()),
        Report::Condition { pod, resource_version, message, at } => {
            let patch = Patch::Strategic(condition(pod, resource_version, message, *at));
            Request::new(format!("/api/v1/namespaces/{}/pods", pod.namespace)).patch_subresource(
                "status",
                &pod.name,
                &PatchParams::default(),
                &patch,
            )
        }
    };
    let IgnoredAny = client.request(request.map_err(kube::Error::BuildRequest)?).await?;
    Ok(())
}

fn condition(pod: &Pod, resource_version: &str, message: &str, at: Timestamp) -> Value {
    json!({
        "metadata": {"uid": &*pod.uid, "resourceVersion": resource_version},
        "status": {"conditions": [{
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": null,
            "lastTransitionTime": api::time::format(at),
        }]},
    })
}
