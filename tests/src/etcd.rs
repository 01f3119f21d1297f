//! A real etcd of the test's own, on free ports.

use crate::web;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

const START: Duration = Duration::from_secs(30);

/// The etcd to use: `$ETCD`, or the one on the PATH.
///
/// # Panics
/// When there is none: the tests with clients need it and are not skipped.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("ETCD").map_or_else(|| PathBuf::from("etcd"), PathBuf::from);
    let found = std::process::Command::new(&path).arg("--version").output();
    assert!(
        found.is_ok_and(|o| o.status.success()),
        "{} does not run: install etcd (Debian: etcd-server) or set ETCD",
        path.display()
    );
    path
}

/// A running etcd; killed when dropped.
pub struct Etcd {
    dir: TempDir,
    ports: [u16; 2],
    child: Option<Child>,
}

impl Etcd {
    pub async fn start() -> Self {
        // Somebody else may take a port between its choice and its use.
        for _ in 0..5 {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let mut etcd = Self { dir, ports: free_ports(), child: None };
            if etcd.run().await {
                return etcd;
            }
        }
        panic!("etcd does not start");
    }

    /// What `--store` is to be.
    pub fn url(&self) -> String {
        format!("etcd://127.0.0.1:{}", self.ports[0])
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("kill -9 works");
        }
    }

    /// Starts it again on its data, after [`Etcd::kill`].
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        assert!(self.run().await, "etcd does not start again");
    }

    async fn run(&mut self) -> bool {
        let [client, peer] = self.ports.map(|port| format!("http://127.0.0.1:{port}"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log"));
        let child = Command::new(binary())
            .arg("--data-dir")
            .arg(self.dir.path().join("data"))
            .args(["--name=test", &format!("--initial-cluster=test={peer}")])
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .kill_on_drop(true)
            .spawn();
        let mut child = child.expect("etcd runs");
        let address = format!("127.0.0.1:{}", self.ports[0]);
        let serves = async {
            // It listens before it serves.
            while !web::get(&address, "/health").await.is_ok_and(|(_, body)| body.contains("true")) {
                tokio::time::sleep(PERIOD).await;
            }
        };
        let up = tokio::select! {
            up = tokio::time::timeout(START, serves) => up.is_ok(),
            _ = child.wait() => false,
        };
        self.child = up.then_some(child);
        up
    }
}

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(20);

fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("a bound socket has an address").port())
}
