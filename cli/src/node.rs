//! `skiff node`: an agent that joins a cluster; and waiting for nodes.

use crate::cluster::{network, open_images, open_runtime};
use crate::ranges::Range;
use crate::relay::{self, Relay};
use crate::ui::Ui;
use crate::{args, examples, paths, up};
use agent::images::FileImages;
use agent::{Agent, ServeMode, ServiceSync};
use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, ResourceExt as _};
use scheduler::api::k8s_openapi::api::core::v1::Node;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long nodes of this process may take to become Ready.
const READY: Duration = Duration::from_secs(60);

/// How long a node may take to end.
const STOP: Duration = Duration::from_secs(10);

/// Runs until Ctrl-C.
pub async fn command(args: args::Node, started: Instant) -> Result<ExitCode> {
    let ui = Ui::detect(args.quiet);
    let stop = up::stop_signal()?;
    let name = match &args.node_name {
        Some(name) => name.clone(),
        None => host_name()?,
    };
    let token = CancellationToken::new();
    let client = connect(&args, &token).await?;
    let agent = agent(&args, &name, &client, &token)?;
    let cancelled = token.clone();
    let running = tokio::spawn(async move { agent.run(cancelled).await });
    tokio::pin!(stop);
    let names = [name.clone()];
    tokio::select! {
        ready = all_ready(&client, &names) => {
            ready?;
            ui.line(format!("ready in {} ms  node {name}", started.elapsed().as_millis()));
            stop.await;
        }
        () = &mut stop => {}
    }
    ui.line("stopping");
    token.cancel();
    if tokio::time::timeout(STOP, running).await.is_err() {
        tracing::warn!("the agent did not end in time");
    }
    Ok(ExitCode::SUCCESS)
}

/// A client of the cluster: of all its servers where they have certificates of one authority, else of the one that the
/// kubeconfig names.
async fn connect(args: &args::Node, token: &CancellationToken) -> Result<Client> {
    let file = &args.kubeconfig;
    let config =
        Kubeconfig::read_from(file).with_context(|| format!("cannot read the kubeconfig {}", file.display()))?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let url = config.cluster_url.clone();
    if let Some(server) = relay::server_of(&config) {
        let servers = std::iter::once(server).chain(args.servers.iter().cloned()).collect();
        let ours = token.child_token();
        let relay = Relay::start(servers, ours.clone()).await?;
        let client = Client::try_from(relay.through(&config)?)?;
        match client.apiserver_version().await {
            Ok(_) => {
                relay.follow(client.clone());
                return Ok(client);
            }
            Err(error) => {
                ours.cancel();
                tracing::info!(%error, "no way by the name that all servers share; going straight to the one");
            }
        }
    }
    let client = Client::try_from(config)?;
    client.apiserver_version().await.with_context(|| format!("no Kubernetes API at {url}"))?;
    Ok(client)
}

fn agent(args: &args::Node, name: &str, client: &Client, token: &CancellationToken) -> Result<Agent> {
    let data = paths::data_dir(&args.data)?;
    let dir = data.join("nodes").join(name);
    paths::create_private(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // Where `skiff image` looks, too.
    let files = if args.allow_file_images { FileImages::Allow } else { FileImages::Deny };
    let images = open_images(&data, files)?;
    examples::import(&images)?;
    let pods = Range::parse("--cluster-cidr", &args.cluster_cidr)?;
    let services = Range::parse("--service-cluster-ip-range", &args.service_cluster_ip_range)?;
    // Shared with the cluster's other processes on this host, so not claimed: see `cluster::service_ranges`.
    let network = network(pods, services)?;
    let sync = ServiceSync::new(client.clone(), Arc::clone(&network));
    let (services_sync, cancelled) = (Arc::clone(&sync), token.clone());
    tokio::spawn(async move { services_sync.run(cancelled).await });
    let runtime = open_runtime(&dir)?;
    let mut config = agent::Config::new(name, client.clone(), dir, runtime, network, images);
    config.services = Some(sync);
    config.serve_mode = ServeMode::Tunnel;
    config.capacity.pods = args.max_pods;
    for label in &args.labels {
        let (key, value) =
            label.split_once('=').with_context(|| format!("--node-label {label}: not of the form KEY=VALUE"))?;
        config.labels.insert(key.into(), value.into());
    }
    Ok(Agent::new(config))
}

pub fn host_name() -> Result<String> {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").context("this host has no name: give --node-name")?;
    Ok(name.trim().to_lowercase())
}

/// Waits until each of these nodes is Ready.
pub async fn all_ready(client: &Client, names: &[String]) -> Result<()> {
    tokio::time::timeout(READY, ready(client, names))
        .await
        .with_context(|| format!("the node did not become Ready within {} s", READY.as_secs()))?
}

async fn ready(client: &Client, names: &[String]) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut missing: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    loop {
        let list = nodes.list(&ListParams::default()).await?;
        for node in list.items.iter().filter(|n| is_ready(n)) {
            missing.remove(node.name_any().as_str());
        }
        let version = list.metadata.resource_version.unwrap_or_default();
        let mut events = nodes.watch(&WatchParams::default(), &version).await?.boxed();
        while !missing.is_empty() {
            match events.try_next().await? {
                Some(WatchEvent::Added(node) | WatchEvent::Modified(node)) if is_ready(&node) => {
                    missing.remove(node.name_any().as_str());
                }
                Some(_) => {}
                None => break,
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}
