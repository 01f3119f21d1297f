//! A `skiff up` in a process of its own, and what the system says it uses.

use anyhow::{Context as _, Result};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How long one start may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Between two looks at something that is not there yet.
const LOOK: Duration = Duration::from_millis(1);

/// Clock ticks a second in `/proc/PID/stat` (`USER_HZ`, fixed at 100 on Linux).
const TICKS: f64 = 100.0;

/// A running cluster.
pub struct Process {
    child: Child,
    pub started: Instant,
    port: u16,
    dir: TempDir,
}

impl Process {
    /// Starts the cluster, with its compiled modules in `cache`; returns at once.
    pub fn start(ephemeral: bool, cache: &Path) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["up", "--quiet", "--https-port", &port.to_string()])
            .arg("--kubeconfig")
            .arg(dir.path().join("kubeconfig"))
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .args(["--cluster-cidr=127.112.0.0/13", "--service-cluster-ip-range=127.120.0.0/16"])
            .env("XDG_CACHE_HOME", cache)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if ephemeral {
            command.arg("--ephemeral");
        }
        let started = Instant::now();
        let child = command.spawn().context("cannot start another skiff")?;
        Ok(Self { child, started, port, dir })
    }

    /// Waits until `/readyz` answers, and says when it did.
    pub async fn ready(&self) -> Result<Duration> {
        let url = format!("https://127.0.0.1:{}", self.port).parse()?;
        let mut config = kube::Config::new(url);
        config.accept_invalid_certs = true;
        let client = Client::try_from(config)?;
        within("/readyz", async {
            loop {
                let request = http::Request::get("/readyz").body(Vec::new())?;
                if client.request_text(request).await.is_ok() {
                    return Ok(self.started.elapsed());
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await
    }

    /// An administrator's client.
    pub async fn client(&self) -> Result<Client> {
        let path = self.dir.path().join("kubeconfig");
        let text = within("a kubeconfig", async {
            loop {
                match std::fs::read_to_string(&path) {
                    Ok(text) => return Ok(text),
                    Err(_) => tokio::time::sleep(LOOK).await,
                }
            }
        })
        .await?;
        let config = Kubeconfig::from_yaml(&text)?;
        Ok(Client::try_from(kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?)?)
    }

    /// Resident memory, in bytes.
    pub fn rss(&self) -> Result<u64> {
        let status = std::fs::read_to_string(self.proc("status")?)?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    /// Processor time used so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(self.proc("stat")?)?;
        // The command's name, in brackets, may hold spaces.
        let fields: Vec<&str> = stat.rsplit_once(") ").context("odd /proc stat")?.1.split(' ').collect();
        let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        Ok((ticks(11) + ticks(12)) / TICKS)
    }

    fn proc(&self, file: &str) -> Result<std::path::PathBuf> {
        let pid = self.child.id().context("the cluster has ended")?;
        Ok(Path::new("/proc").join(pid.to_string()).join(file))
    }

    /// Ends it.
    pub async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("cannot stop the cluster")
    }
}

/// Bounds a wait.
pub async fn within<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(LIMIT, work).await.with_context(|| format!("no {what} within {LIMIT:?}"))?
}
