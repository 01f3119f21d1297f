//! Programs that drive a cluster beside kubectl: where they are (`.ci/clients` installs them), and how they are run.

use crate::{Cluster, binary};
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;
use tokio::process::Command;

/// How long one run of a program may take, in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

/// `$variable`, or `name` on the PATH.
///
/// # Panics
/// When `program PROBE` does not run: the tests with clients need it and are not skipped.
#[must_use]
pub fn program(variable: &str, name: &str, probe: &[&str]) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(|| PathBuf::from(name), PathBuf::from);
    let found = std::process::Command::new(&path).args(probe).output();
    assert!(
        found.as_ref().is_ok_and(|o| o.status.success()),
        "`{} {}` does not run: `.ci/clients FOLDER` installs it, then `. FOLDER/env` ({found:?})",
        path.display(),
        probe.join(" "),
    );
    path
}

/// A file of `tests/fixtures`.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    let path = binary::root().join("tests/fixtures").join(name);
    assert!(path.exists(), "no fixture {}", path.display());
    path
}

/// Runs `command` on the cluster to its end; its own folders (caches, configuration) are in the cluster's scratch folder.
///
/// # Panics
/// When it cannot be run, or takes too long.
pub async fn output(cluster: &Cluster, command: &mut Command) -> Output {
    let home = cluster.scratch().join("home");
    std::fs::create_dir_all(&home).expect("the scratch folder is writable");
    command.env("KUBECONFIG", cluster.kubeconfig()).env("HOME", &home).kill_on_drop(true);
    for folder in ["CACHE", "CONFIG", "DATA"] {
        command.env(format!("HELM_{folder}_HOME"), home.join(folder));
    }
    let ended = tokio::time::timeout(LIMIT, command.stdin(std::process::Stdio::null()).output()).await;
    ended.expect("a client ends in time").expect("a client runs")
}

/// The same, and returns what it printed, errors last.
///
/// # Panics
/// When it fails, with what it printed.
pub async fn run(cluster: &Cluster, command: &mut Command) -> String {
    let output = output(cluster, command).await;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{:?}: {}\n{text}", command.as_std(), output.status);
    text
}
