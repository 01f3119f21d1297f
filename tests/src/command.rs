//! The binary as a command that ends: what it printed, and how.

use crate::{Cluster, skiff};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// What it printed.
    ///
    /// # Panics
    /// When it failed.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// What it complained about.
    ///
    /// # Panics
    /// When it did not fail with exit code 1.
    pub fn refused(self) -> String {
        assert_eq!(self.code, 1, "{self:?}");
        self.stderr
    }
}

/// `skiff ARGS`, without a terminal.
pub async fn run(args: &[&str]) -> Ended {
    let mut command = Command::new(skiff());
    command.args(args).env_remove("KUBECONFIG").env_remove("SKIFF_DATA_DIR").stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("skiff runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// `skiff ARGS` for a running cluster.
pub async fn on(cluster: &Cluster, args: &[&str]) -> Ended {
    with(args, "--kubeconfig", &cluster.kubeconfig()).await
}

/// `skiff ARGS` for a data directory.
pub async fn at(dir: &Path, args: &[&str]) -> Ended {
    with(args, "--data-dir", dir).await
}

async fn with(args: &[&str], flag: &str, path: &Path) -> Ended {
    let path = path.to_str().expect("a path of text");
    run(&[args, &[flag, path]].concat()).await
}
