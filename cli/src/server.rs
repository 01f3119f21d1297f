//! `skiff server`: the control plane without a node.

use crate::cluster::{Cluster, Nodes};
use crate::ui::Ui;
use crate::{args, up};
use anyhow::Result;
use std::process::ExitCode;
use std::time::Instant;

/// Runs until Ctrl-C.
pub async fn command(args: args::Server, started: Instant) -> Result<ExitCode> {
    let ui = Ui::detect(args.serving.quiet);
    let stop = up::stop_signal()?;
    let cluster = Cluster::start(&args.serving, Nodes::None).await?;
    ui.line(format!("ready in {} ms  {}", started.elapsed().as_millis(), cluster.url()));
    ui.line(format!("kubeconfig  {}", cluster.kubeconfig().display()));
    ui.line("Join a node:");
    ui.line(format!("  skiff node --kubeconfig {}", cluster.kubeconfig().display()));
    stop.await;
    cluster.stop(&ui).await?;
    Ok(ExitCode::SUCCESS)
}
