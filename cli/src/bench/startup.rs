//! From exec to the first answer, what an idle cluster costs, and how long a pod takes to start.

use super::pods::Watcher;
use super::process::{Process, within};
use super::stats::Times;
use crate::args::BenchStartup;
use crate::ui::Ui;
use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use kube::api::{Api, ListParams};
use scheduler::api::k8s_openapi::api::core::v1::Node;
use std::path::Path;
use std::time::{Duration, Instant};

/// The times of one start, from exec.
struct Start {
    ready: Duration,
    node: Duration,
    pod: Duration,
    answer: Duration,
}

/// Runs all of it and prints a table.
pub async fn command(args: &BenchStartup) -> Result<()> {
    let ui = Ui::detect(false);
    ui.line(format!("{} cold starts, store {}", args.starts, if args.ephemeral { "in memory" } else { "on disk" }));
    // The first start fills the cache of compiled modules.
    let cache = tempfile::tempdir()?;
    let cache = cache.path();
    let first = start(args.ephemeral, cache).await?;
    ui.line(format!("  very first start (compiles)  first pod Running {:.1} ms", first.pod.as_secs_f64() * 1e3));
    let mut starts = Vec::new();
    for _ in 0..args.starts {
        starts.push(start(args.ephemeral, cache).await?);
    }
    let row = |name: &str, pick: fn(&Start) -> Duration| {
        ui.line(format!("  {name:<28} {}", Times::new(starts.iter().map(pick).collect()).summary()));
    };
    row("exec → /readyz", |s| s.ready);
    row("exec → node Ready", |s| s.node);
    row("exec → first pod Running", |s| s.pod);
    row("exec → first HTTP answer", |s| s.answer);
    running(args, &ui, cache).await
}

async fn start(ephemeral: bool, cache: &Path) -> Result<Start> {
    let process = Process::start(ephemeral, cache)?;
    let ready = process.ready().await?;
    let client = process.client().await?;
    let watcher = Watcher::start(client.clone()).await?;
    let node = async { node_ready(client.clone()).await.map(|()| process.started.elapsed()) };
    let pod = async {
        let pod = watcher.run("first").await?;
        let at = process.started.elapsed();
        crate::http::get(&format!("http://{}:8080/", pod.ip), Duration::from_secs(10)).await?;
        anyhow::Ok((at, process.started.elapsed()))
    };
    let (node, pod) = tokio::join!(node, pod);
    let (node, (pod, answer)) = (node?, pod?);
    process.stop().await?;
    Ok(Start { ready, node, pod, answer })
}

async fn node_ready(client: Client) -> Result<()> {
    let nodes: Api<Node> = Api::all(client);
    within("Ready node", async {
        loop {
            let list = nodes.list(&ListParams::default()).await?;
            let mut conditions = list.items.iter().filter_map(|n| n.status.as_ref()?.conditions.as_ref()).flatten();
            if conditions.any(|c| c.type_ == "Ready" && c.status == "True") {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

async fn running(args: &BenchStartup, ui: &Ui, cache: &Path) -> Result<()> {
    let process = Process::start(args.ephemeral, cache)?;
    process.ready().await?;
    let client = process.client().await?;
    node_ready(client.clone()).await?;
    let cpu = process.cpu_seconds()?;
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(args.idle_seconds)).await;
    let share = (process.cpu_seconds()? - cpu) / began.elapsed().as_secs_f64();
    ui.line(format!(
        "idle, control plane and node    {:.1} MB RSS, {:.2} % of a core",
        mb(process.rss()?),
        share * 100.0
    ));

    let watcher = Watcher::start(client).await?;
    watcher.run("warm-up").await?;
    for concurrency in [1, 16] {
        let before = process.rss()?;
        let cpu = process.cpu_seconds()?;
        let began = Instant::now();
        let times: Vec<Duration> = stream::iter(0..args.pods)
            .map(|n| {
                let (watcher, name) = (&watcher, format!("p{concurrency}-{n}"));
                async move { watcher.run(&name).await.map(|r| r.took) }
            })
            .buffer_unordered(concurrency)
            .try_collect()
            .await?;
        let rate = f64::from(args.pods) / began.elapsed().as_secs_f64();
        ui.line(format!(
            "{} pods, {concurrency:>2} at a time, create → Running   {}  {rate:.0}/s",
            args.pods,
            Times::new(times).summary()
        ));
        let each = (process.rss()?.saturating_sub(before)) / u64::from(args.pods.max(1));
        let cpu = (process.cpu_seconds()? - cpu) * 1e3 / f64::from(args.pods.max(1));
        ui.line(format!("  {:.0} kB RSS and {cpu:.2} ms CPU each", each as f64 / 1e3));
    }
    watcher.clean_up().await?;
    process.stop().await
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
