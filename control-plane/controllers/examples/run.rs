//! Runs all controllers against the cluster of the current kubeconfig: `cargo run -p controllers --example run`.

use controllers::Config;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let config = Config::new(kube::Client::try_default().await?);
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    });
    controllers::run(config, token).await;
    Ok(())
}
