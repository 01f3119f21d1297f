//! Waiting until what was applied works, and showing that it does: the answer of a Service, the log of a Job.

use crate::manifests::Manifest;
use crate::ui::Ui;
use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, ListParams, LogParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt as _};
use scheduler::api::k8s_openapi::api::apps::v1::Deployment;
use scheduler::api::k8s_openapi::api::batch::v1::Job;
use scheduler::api::k8s_openapi::api::core::v1::{Pod, PodStatus, Service};
use std::fmt::Debug;
use std::time::Duration;
use tokio::time::Instant;

/// Most bytes of an HTTP answer or a log that are shown.
const SHOWN_BYTES: usize = 4 << 10;

/// How far a workload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Working(String),
    Done(String),
    Failed(String),
}

/// Waits for every workload among `manifests`. An error names the first that failed or did not make it in time.
pub async fn wait(client: &Client, ui: &Ui, manifests: &[Manifest], deadline: Instant) -> Result<()> {
    for manifest in manifests {
        let namespace = manifest.namespace();
        let name = manifest.object.name_any();
        if manifest.is("apps/v1", "Deployment") {
            let api: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
            until(&api, ui, manifest, &name, deadline, deployment_progress).await?;
        } else if manifest.is("batch/v1", "Job") {
            let api: Api<Job> = Api::namespaced(client.clone(), &namespace);
            until(&api, ui, manifest, &name, deadline, job_progress).await?;
        } else if manifest.is("v1", "Pod") {
            let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            until(&api, ui, manifest, &name, deadline, pod_progress).await?;
        }
    }
    Ok(())
}

/// Follows one object by watch until it is done or failed, or the deadline passes.
async fn until<K>(
    api: &Api<K>,
    ui: &Ui,
    manifest: &Manifest,
    name: &str,
    deadline: Instant,
    judge: fn(&K) -> Progress,
) -> Result<()>
where
    K: kube::Resource + Clone + Debug + serde::de::DeserializeOwned,
{
    let mut step = ui.step(manifest.label());
    let mut last = "not seen yet".to_owned();
    loop {
        let followed = tokio::time::timeout_at(
            deadline,
            follow(api, name, judge, |text| {
                step.progress(text);
                last = text.to_owned();
            }),
        );
        match followed.await {
            Err(_) => {
                step.failed(&format!("not ready in time: {last}"));
                bail!("{} was not ready in time: {last}", manifest.label());
            }
            Ok(Ok(Some(Progress::Done(text)))) => {
                step.done(&text);
                return Ok(());
            }
            Ok(Ok(Some(Progress::Failed(text)))) => {
                step.failed(&text);
                bail!("{} failed: {text}", manifest.label());
            }
            // The watch ended: take it up again.
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                step.failed(&error.to_string());
                return Err(error).with_context(|| format!("cannot watch {}", manifest.label()));
            }
        }
    }
}

async fn follow<K>(
    api: &Api<K>,
    name: &str,
    judge: fn(&K) -> Progress,
    mut report: impl FnMut(&str),
) -> Result<Option<Progress>, kube::Error>
where
    K: kube::Resource + Clone + Debug + serde::de::DeserializeOwned,
{
    let list = api.list(&ListParams::default().fields(&format!("metadata.name={name}"))).await?;
    for object in &list.items {
        match judge(object) {
            Progress::Working(text) => report(&text),
            end => return Ok(Some(end)),
        }
    }
    let version = list.metadata.resource_version.unwrap_or_default();
    let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(60);
    let mut events = api.watch(&params, &version).await?.boxed();
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => match judge(&object) {
                Progress::Working(text) => report(&text),
                end => return Ok(Some(end)),
            },
            WatchEvent::Deleted(_) => return Ok(Some(Progress::Failed("was deleted".into()))),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(_) => return Ok(None),
        }
    }
    Ok(None)
}

fn deployment_progress(deployment: &Deployment) -> Progress {
    let wanted = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let (updated, available) = (status.updated_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
    let seen = status.observed_generation >= deployment.metadata.generation;
    let text = format!("{available}/{wanted} available");
    if seen && updated >= wanted && available >= wanted {
        return Progress::Done(text);
    }
    let stuck = status.conditions.iter().flatten().find(|c| c.reason.as_deref() == Some("ProgressDeadlineExceeded"));
    match stuck {
        Some(condition) if seen => Progress::Failed(condition.message.clone().unwrap_or(text)),
        _ => Progress::Working(text),
    }
}

fn job_progress(job: &Job) -> Progress {
    let wanted = job.spec.as_ref().and_then(|s| s.completions.or(s.parallelism)).unwrap_or(1);
    let status = job.status.clone().unwrap_or_default();
    let text = format!("{}/{wanted} complete", status.succeeded.unwrap_or(0));
    for condition in status.conditions.iter().flatten().filter(|c| c.status == "True") {
        match condition.type_.as_str() {
            "Complete" => return Progress::Done(text),
            "Failed" => {
                let message = condition.message.clone().or_else(|| condition.reason.clone());
                return Progress::Failed(message.unwrap_or_else(|| "failed".into()));
            }
            _ => {}
        }
    }
    Progress::Working(text)
}

fn pod_progress(pod: &Pod) -> Progress {
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.clone().unwrap_or_default();
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    match phase.as_str() {
        "Succeeded" => Progress::Done("Succeeded".into()),
        "Failed" => {
            let why = status.message.clone().or(status.reason.clone()).or_else(|| ended_badly(&status));
            Progress::Failed(why.unwrap_or_else(|| "Failed".into()))
        }
        _ if ready => Progress::Done("Ready".into()),
        _ => Progress::Working(waiting_reason(&status).unwrap_or(phase)),
    }
}

/// The reason and exit code of the first container that failed.
fn ended_badly(status: &PodStatus) -> Option<String> {
    let containers = status.container_statuses.iter().flatten();
    let mut ends = containers.filter_map(|c| c.state.as_ref()?.terminated.as_ref());
    let end = ends.find(|end| end.exit_code != 0)?;
    Some(format!("{}, exit code {}", end.reason.as_deref().unwrap_or("Error"), end.exit_code))
}

fn waiting_reason(status: &PodStatus) -> Option<String> {
    let container = status.container_statuses.iter().flatten().next()?;
    container.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

/// Asks each Service for `/` and prints the answer; prints the log of each Job.
pub async fn show(client: &Client, ui: &Ui, manifests: &[Manifest]) -> Result<()> {
    for manifest in manifests {
        let namespace = manifest.namespace();
        let name = manifest.object.name_any();
        if manifest.is("v1", "Service") {
            let service = Api::<Service>::namespaced(client.clone(), &namespace).get(&name).await?;
            show_service(ui, manifest, &service).await;
        } else if manifest.is("batch/v1", "Job") {
            show_job(client, ui, manifest, &namespace, &name).await?;
        }
    }
    Ok(())
}

async fn show_service(ui: &Ui, manifest: &Manifest, service: &Service) {
    let Some(spec) = &service.spec else { return };
    let address = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None");
    let port = spec.ports.iter().flatten().find(|p| p.protocol.as_deref() != Some("UDP"));
    let (Some(address), Some(port)) = (address, port) else { return };
    let url = format!("http://{address}:{}/", port.port);
    ui.line("");
    ui.line(ui.bold(&format!("{}  →  GET {url}", manifest.label())));
    match crate::http::get(&url, Duration::from_secs(10)).await {
        Ok(answer) => indent(ui, &format!("HTTP {}\n{}", answer.status, clip(&answer.body))),
        Err(error) => indent(ui, &format!("no HTTP answer: {error:#}")),
    }
}

async fn show_job(client: &Client, ui: &Ui, manifest: &Manifest, namespace: &str, name: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
    for pod in pods.list(&of_job).await? {
        let pod_name = pod.name_any();
        let log = pods.logs(&pod_name, &LogParams::default()).await;
        ui.line("");
        ui.line(ui.bold(&format!("{}  →  log of {pod_name}", manifest.label())));
        match log {
            Ok(text) => indent(ui, clip(&text)),
            Err(error) => indent(ui, &format!("no log: {error}")),
        }
    }
    Ok(())
}

fn clip(text: &str) -> &str {
    let end = (0..=SHOWN_BYTES.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text[..end].trim_end()
}

fn indent(ui: &Ui, text: &str) {
    for line in text.lines() {
        ui.line(format!("    {line}"));
    }
}
