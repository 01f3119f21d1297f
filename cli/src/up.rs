//! `skiff up`: a cluster in this process, manifests on it, their workloads ready, and what they answer.

use crate::cluster::{Cluster, Nodes};
use crate::ui::{self, Ui};
use crate::{args, manifests, workloads};
use anyhow::Result;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs until Ctrl-C, or with `--exit` until the workloads are ready or have failed.
pub async fn command(args: args::Up, started: Instant) -> Result<ExitCode> {
    let ui = Ui::detect(args.serving.quiet);
    // Before anything starts: a typo in a manifest should cost nothing.
    let manifests = manifests::read(&args.files)?;
    let stop = stop_signal()?;
    tokio::pin!(stop);

    let cluster = tokio::select! {
        cluster = Cluster::start(&args.serving, Nodes::Local(args.nodes)) => cluster?,
        () = &mut stop => return Ok(ExitCode::SUCCESS),
    };
    let ready = tokio::select! {
        ready = cluster.nodes_ready() => ready,
        () = &mut stop => return cluster.stop(&ui).await.map(|()| ExitCode::SUCCESS),
    };
    if let Err(error) = ready {
        cluster.stop(&ui).await?;
        return Err(error);
    }
    ui.line(format!("ready in {} ms  {}", started.elapsed().as_millis(), cluster.url()));

    let worked = tokio::select! {
        worked = run(&cluster, &ui, &manifests, &args) => worked,
        () = &mut stop => return cluster.stop(&ui).await.map(|()| ExitCode::SUCCESS),
    };
    let code = match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if args.exit => {
            cluster.stop(&ui).await?;
            return Err(error);
        }
        Err(error) => {
            ui.line(format!("\n{error:#}"));
            ExitCode::FAILURE
        }
    };
    if args.exit {
        cluster.stop(&ui).await?;
        return Ok(code);
    }
    next_steps(&ui, &cluster, &manifests);
    stop.await;
    cluster.stop(&ui).await?;
    Ok(ExitCode::SUCCESS)
}

async fn run(cluster: &Cluster, ui: &Ui, manifests: &[manifests::Manifest], args: &args::Up) -> Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(args.timeout);
    if manifests.is_empty() {
        return Ok(());
    }
    let began = Instant::now();
    for manifest in manifests {
        let outcome = manifest.apply(cluster.client()).await?;
        ui.line(format!("  {} {}", manifest.label(), outcome.text()));
    }
    workloads::wait(cluster.client(), ui, manifests, deadline).await?;
    ui.line(format!("all ready {} after the first object was sent", ui::human(began.elapsed())));
    workloads::show(cluster.client(), ui, manifests).await
}

fn next_steps(ui: &Ui, cluster: &Cluster, manifests: &[manifests::Manifest]) {
    let deployment = manifests.iter().find(|m| m.is("apps/v1", "Deployment"));
    ui.line("");
    ui.line(format!("kubeconfig  {}", cluster.kubeconfig().display()));
    ui.line("Next, in another terminal:");
    ui.line(format!("  export KUBECONFIG={}", cluster.kubeconfig().display()));
    ui.line("  kubectl get all -A -o wide");
    match deployment {
        Some(manifest) => {
            let name = manifest.object.metadata.name.as_deref().unwrap_or_default();
            ui.line(format!("  kubectl -n {} logs -f deployment/{name}", manifest.namespace()));
        }
        None => ui.line("  skiff run MODULE.wasm -- ARGS"),
    }
    ui.line(ui.dim("Ctrl-C stops the cluster."));
}

/// Resolves at the first Ctrl-C or SIGTERM. A second one ends the process at once.
pub fn stop_signal() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        let _ = sender.send(());
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        std::process::exit(130);
    });
    Ok(async move {
        let _ = receiver.await;
    })
}
