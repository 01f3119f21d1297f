//! The API server under load: requests a second for each verb, a crowd of watchers, and what both cost the server. Beside
//! another cluster's, verb by verb in turns, if one is named.
//!
//! The client is the same for both and no part of the figures for CPU, but it runs on the same machine.

use super::process::{Process, within};
use super::stats::Times;
use crate::args::BenchApi;
use crate::ui::Ui;
use anyhow::{Context as _, Result, ensure};
use futures::AsyncBufReadExt as _;
use http::{Method, Request, header};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

const JSON: &str = "application/json";
/// What each object carries.
const PAYLOAD: usize = 1024;
/// Connections that write while others watch.
const WRITERS: u32 = 8;

/// One kind of request, asked once for each object.
#[derive(Clone, Copy)]
struct Verb {
    name: &'static str,
    method: fn() -> Method,
    content_type: &'static str,
    place: Place,
    body: fn(u32) -> Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Collection,
    Object,
    /// As the manager of a server-side apply.
    Applied,
}

const VERBS: [Verb; 7] = [
    Verb {
        name: "create",
        method: || Method::POST,
        content_type: JSON,
        place: Place::Collection,
        body: |n| object(n, "v0"),
    },
    Verb { name: "get", method: || Method::GET, content_type: JSON, place: Place::Object, body: |_| Value::Null },
    Verb {
        name: "update",
        method: || Method::PUT,
        content_type: JSON,
        place: Place::Object,
        body: |n| object(n, "v1"),
    },
    Verb {
        name: "merge patch",
        method: || Method::PATCH,
        content_type: "application/merge-patch+json",
        place: Place::Object,
        body: |_| json!({"data": {"key": "v2"}}),
    },
    Verb {
        name: "JSON patch",
        method: || Method::PATCH,
        content_type: "application/json-patch+json",
        place: Place::Object,
        body: |_| json!([{"op": "replace", "path": "/data/key", "value": "v3"}]),
    },
    Verb {
        name: "apply",
        method: || Method::PATCH,
        content_type: "application/apply-patch+yaml",
        place: Place::Applied,
        body: |n| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name(n)}, "data": {"applied": "v4"}}),
    },
    Verb { name: "delete", method: || Method::DELETE, content_type: JSON, place: Place::Object, body: |_| Value::Null },
];

fn name(n: u32) -> String {
    format!("bench-{n:06}")
}

fn object(n: u32, text: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name(n), "labels": {"app": "skiff-bench"}},
        "data": {"key": text, "payload": "x".repeat(PAYLOAD)},
    })
}

/// A server that is measured.
struct Target {
    name: &'static str,
    client: Client,
    /// Only of our own is it known what it uses.
    process: Option<Process>,
    collection: String,
}

/// What a number of requests took.
struct Measured {
    rate: f64,
    times: Times,
    /// Processor seconds of the server.
    cpu: Option<f64>,
}

impl Target {
    async fn new(name: &'static str, client: Client, process: Option<Process>) -> Result<Self> {
        let namespace = format!("skiff-bench-{}", std::process::id());
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let collection = format!("/api/v1/namespaces/{namespace}/configmaps");
        let target = Self { name, client, process, collection };
        target.send(Method::POST, "/api/v1/namespaces", JSON, &body).await.context("cannot create a namespace")?;
        // The namespace has its root certificate once the control loops have seen it.
        within("set up of the namespace", async {
            while target.list(1).await?.matches("kube-root-ca.crt").count() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        })
        .await?;
        Ok(target)
    }

    async fn send(&self, method: Method, path: &str, content_type: &str, body: &Value) -> Result<String> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        let request = Request::builder().method(method).uri(path).header(header::ACCEPT, JSON);
        let request = request.header(header::CONTENT_TYPE, content_type).body(body)?;
        Ok(self.client.request_text(request).await?)
    }

    async fn list(&self, limit: u32) -> Result<String> {
        self.send(Method::GET, &format!("{}?limit={limit}", self.collection), JSON, &Value::Null).await
    }

    async fn ask(&self, verb: &Verb, n: u32) -> Result<()> {
        let path = match verb.place {
            Place::Collection => self.collection.clone(),
            Place::Object => format!("{}/{}", self.collection, name(n)),
            Place::Applied => format!("{}/{}?fieldManager=skiff-bench", self.collection, name(n)),
        };
        self.send((verb.method)(), &path, verb.content_type, &(verb.body)(n)).await?;
        Ok(())
    }

    fn cpu(&self) -> Result<Option<f64>> {
        self.process.as_ref().map(Process::cpu_seconds).transpose()
    }

    /// Asks `verb` of the objects in `range`, `concurrency` at a time.
    async fn load(
        self: &Arc<Self>,
        verb: &'static Verb,
        range: std::ops::Range<u32>,
        concurrency: u32,
    ) -> Result<Measured> {
        let (next, count) = (Arc::new(AtomicU32::new(range.start)), range.len());
        let cpu = self.cpu()?;
        let began = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..concurrency {
            let (target, next, end) = (Arc::clone(self), Arc::clone(&next), range.end);
            workers.spawn(async move {
                let mut times = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= end {
                        return anyhow::Ok(times);
                    }
                    let began = Instant::now();
                    target.ask(verb, n).await?;
                    times.push(began.elapsed());
                }
            });
        }
        let mut times = Vec::with_capacity(count);
        while let Some(worker) = workers.join_next().await {
            times.extend(worker??);
        }
        let rate = per_second(count, began.elapsed());
        let cpu = cpu.zip(self.cpu()?).map(|(before, after)| after - before);
        Ok(Measured { rate, times: Times::new(times), cpu })
    }

    /// Lists everything, one list after the other.
    async fn lists(&self, count: usize) -> Result<Measured> {
        let cpu = self.cpu()?;
        let began = Instant::now();
        let mut times = Vec::new();
        for _ in 0..count {
            let began = Instant::now();
            self.list(0).await?;
            times.push(began.elapsed());
        }
        let rate = per_second(count, began.elapsed());
        let cpu = cpu.zip(self.cpu()?).map(|(before, after)| after - before);
        Ok(Measured { rate, times: Times::new(times), cpu })
    }

    /// Creates `range` while `watchers` watch; what is measured is one event for one watcher.
    async fn fan_out(self: &Arc<Self>, range: std::ops::Range<u32>, watchers: usize) -> Result<Measured> {
        let list: Value = serde_json::from_str(&self.list(1).await?)?;
        let version = list["metadata"]["resourceVersion"].as_str().context("a list without a resourceVersion")?;
        let path = format!("{}?watch=true&resourceVersion={version}", self.collection);
        let seen = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for _ in 0..watchers {
            let request = Request::get(&path).header(header::ACCEPT, JSON).body(Vec::new())?;
            let stream = self.client.request_stream(request).await?;
            tasks.push(AbortOnDropHandle::new(tokio::spawn(count_lines(Box::pin(stream), Arc::clone(&seen)))));
        }
        let wanted = u64::try_from(range.len() * watchers)?;
        let cpu = self.cpu()?;
        let began = Instant::now();
        let times = self.load(&VERBS[0], range, WRITERS).await?.times;
        within("last event", async {
            while seen.load(Ordering::Relaxed) < wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        })
        .await?;
        let rate = per_second(usize::try_from(wanted)?, began.elapsed());
        let cpu = cpu.zip(self.cpu()?).map(|(before, after)| after - before);
        ensure!(tasks.iter().all(|task| !task.is_finished()), "a watch ended early");
        Ok(Measured { rate, times, cpu })
    }

    async fn clean_up(&self) -> Result<()> {
        let namespace = self.collection.trim_end_matches("/configmaps");
        self.send(Method::DELETE, namespace, JSON, &Value::Null).await?;
        Ok(())
    }
}

async fn count_lines(mut stream: impl futures::AsyncBufRead + Unpin, seen: Arc<AtomicU64>) -> std::io::Result<()> {
    loop {
        let piece = stream.fill_buf().await?;
        if piece.is_empty() {
            return Ok(());
        }
        let (length, lines) = (piece.len(), piece.iter().filter(|byte| **byte == b'\n').count());
        stream.consume_unpin(length);
        seen.fetch_add(lines as u64, Ordering::Relaxed);
    }
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

/// Runs all of it and prints a table.
pub async fn command(args: &BenchApi) -> Result<()> {
    let ui = Ui::detect(false);
    let cache = tempfile::tempdir()?;
    let process = Process::start(args.ephemeral, cache.path())?;
    process.ready().await?;
    let client = process.client().await?;
    let mut targets = vec![Arc::new(Target::new("skiff", client, Some(process)).await?)];
    if let Some(path) = &args.beside {
        targets.push(Arc::new(Target::new("beside", other(path).await?, None).await?));
    }
    ui.line(format!(
        "{} ConfigMaps of {PAYLOAD} bytes, {} requests at a time, store {}",
        args.objects,
        args.concurrency,
        if args.ephemeral { "in memory" } else { "on disk" }
    ));
    let result = measure(args, &ui, &targets).await;
    for target in targets {
        target.clean_up().await?;
        if let Some(process) = Arc::into_inner(target).and_then(|target| target.process) {
            ui.line(format!("skiff's memory at the end: {:.1} MB", rss(&process)?));
            process.stop().await?;
        }
    }
    result
}

async fn measure(args: &BenchApi, ui: &Ui, targets: &[Arc<Target>]) -> Result<()> {
    for verb in &VERBS {
        if verb.name == "delete" {
            lists_and_watches(args, ui, targets).await?;
        }
        let mut rates = Vec::new();
        for target in targets {
            let measured = target.load(verb, 0..args.objects, args.concurrency).await;
            let measured = measured.with_context(|| format!("{}: {}", target.name, verb.name))?;
            rates.push(show(ui, target, verb.name, args.objects.into(), &measured));
        }
        compare(ui, &rates);
    }
    Ok(())
}

async fn lists_and_watches(args: &BenchApi, ui: &Ui, targets: &[Arc<Target>]) -> Result<()> {
    let mut rates = Vec::new();
    for target in targets {
        let measured = target.lists(args.lists as usize).await?;
        rates.push(show(ui, target, "list all", args.lists.into(), &measured));
    }
    compare(ui, &rates);
    let (events, watchers) = (args.objects..args.objects + args.events, args.watchers as usize);
    let mut rates = Vec::new();
    for target in targets {
        let measured = target.fan_out(events.clone(), watchers).await?;
        let name = format!("{watchers} watch");
        rates.push(show(ui, target, &name, u64::from(args.events) * u64::from(args.watchers), &measured));
    }
    compare(ui, &rates);
    Ok(())
}

/// One line; the times of a row of watches are those of the creates.
#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn show(ui: &Ui, target: &Target, what: &str, count: u64, measured: &Measured) -> f64 {
    let cpu = measured.cpu.map(|seconds| format!("  {:.1} µs CPU each", seconds * 1e6 / count as f64));
    let summary = measured.times.summary();
    ui.line(format!("  {:<7} {what:<12} {:>9.0}/s  {summary}{}", target.name, measured.rate, cpu.unwrap_or_default()));
    measured.rate
}

fn compare(ui: &Ui, rates: &[f64]) {
    if let [ours, theirs] = rates {
        ui.line(format!("  {:>28.1}×", ours / theirs));
    }
}

async fn other(kubeconfig: &Path) -> Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    Ok(Client::try_from(kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?)?)
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn rss(process: &Process) -> Result<f64> {
    Ok(process.rss()? as f64 / 1e6)
}
