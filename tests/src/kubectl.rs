//! The real kubectl against a cluster of the test's own.

use crate::{Cluster, clients};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::LazyLock;
use tokio::process::Command;

/// The kubectl to use: `$KUBECTL`, or the one on the PATH.
///
/// # Panics
/// When there is none: the tests with clients need it and are not skipped.
pub fn binary() -> &'static Path {
    static BIN: LazyLock<PathBuf> = LazyLock::new(|| clients::program("KUBECTL", "kubectl", &["version", "--client"]));
    &BIN
}

/// A kubectl command line on this cluster.
pub fn command(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .arg("--cache-dir")
        .arg(cluster.scratch().join("kubectl-cache"))
        .args(args)
        .kill_on_drop(true);
    command
}

/// Runs kubectl to its end.
pub async fn output(cluster: &Cluster, args: &[&str]) -> Output {
    command(cluster, args).output().await.expect("kubectl runs")
}

/// Runs kubectl and returns what it printed.
///
/// # Panics
/// When it exits with an error.
pub async fn run(cluster: &Cluster, args: &[&str]) -> String {
    let output = output(cluster, args).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {args:?}: {}\n{text}\n{errors}", output.status);
    text
}

/// Runs kubectl, expects it to fail, and returns its error output.
///
/// # Panics
/// When it succeeds.
pub async fn fails(cluster: &Cluster, args: &[&str]) -> String {
    let output = output(cluster, args).await;
    assert!(!output.status.success(), "kubectl {args:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Pipes `manifest` into `kubectl apply -f -`.
///
/// # Panics
/// When kubectl fails.
pub async fn apply(cluster: &Cluster, manifest: &str) -> String {
    let file = cluster.scratch().join("manifest.yaml");
    std::fs::write(&file, manifest).expect("the scratch folder is writable");
    run(cluster, &["apply", "-f", file.to_str().expect("UTF-8 path")]).await
}

/// Applies a CRD and waits until its kind is served; what kubectl said of the first.
///
/// # Panics
/// When kubectl fails, or the CRD is not established within ten seconds.
pub async fn establish(cluster: &Cluster, name: &str, manifest: &str) -> String {
    let said = apply(cluster, manifest).await;
    run(cluster, &["wait", "--for=condition=Established", &format!("crd/{name}"), "--timeout=10s"]).await;
    said
}
