//! An API server on its own, in memory, for trying clients: `serve [KUBECONFIG]` writes a kubeconfig and stays up.

use apiserver::{ApiServer, Config};
use std::path::PathBuf;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let started = std::time::Instant::now();
    let store = store::Store::open(store::Options::memory())?;
    let server = ApiServer::start(Config::new(store)).await?;
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("kubeconfig.yaml"), PathBuf::from);
    std::fs::write(&path, server.kubeconfig(&server.url()))?;
    let text = format!("{} after {:?}; KUBECONFIG={}\n", server.url(), started.elapsed(), path.display());
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
    std::future::pending::<()>().await;
    Ok(())
}
