//! A running `skiff up` (or `skiff server`) of the test's own.

use crate::binary::skiff;
use anyhow::{Context as _, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long a start may take, in a debug build on a busy machine.
const START: Duration = Duration::from_secs(60);

/// How long a clean stop may take.
const STOP: Duration = Duration::from_secs(60);

/// How many /15s the tests' ranges are taken from, and how many pairs of ranges each of them has.
const BLOCKS: usize = 50;
const PER_BLOCK: usize = 64;

/// A listener on it claims the ranges that begin with its address; beside skiff's own claims (64443 and 64444).
const CLAIM_PORT: u16 = 64_445;

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    pub command: &'static str,
    pub ephemeral: bool,
    pub args: Vec<String>,
    /// Pod and Service ranges; `None`: some that no other cluster has.
    pub ranges: Option<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { command: "up", ephemeral: true, args: Vec::new(), ranges: None }
    }
}

/// A cluster in a process of its own; killed when dropped.
pub struct Cluster {
    dir: TempDir,
    options: Options,
    ranges: (String, String),
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What the process has printed up to and including its `ready in` line.
    pub printed: Vec<String>,
}

impl Cluster {
    /// `skiff up --ephemeral`, ready to use.
    pub async fn up() -> Self {
        Self::start(Options::default()).await.expect("skiff up starts")
    }

    /// `skiff up` on a data directory, so that it can be stopped and started again.
    pub async fn durable() -> Self {
        Self::start(Options { ephemeral: false, ..Options::default() }).await.expect("skiff up starts")
    }

    /// Starts the binary and waits for its `ready in` line.
    pub async fn start(options: Options) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let ranges = options.ranges.clone().unwrap_or_else(own_ranges);
        let (child, lines, printed) = spawn(dir.path(), &options, &ranges).await?;
        Ok(Self { dir, options, ranges, child, lines, printed })
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig(self.dir.path())
    }

    /// A folder for the test's own files, gone with the cluster.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// The flags that tell a node which ranges this cluster has.
    pub fn range_arguments(&self) -> [String; 2] {
        range_arguments(&self.ranges)
    }

    /// The process id of the running binary.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the cluster runs")
    }

    /// The processor time that the running binary has used so far, in steps of 10 ms. A busy machine makes everything
    /// take longer, but this hardly.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the process runs");
        let fields = stat.rsplit(')').next().expect("rsplit gives one part at least").split_whitespace();
        // utime and stime, in the kernel's ticks for users: a hundred a second.
        let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// A kube-rs client over TCP and TLS, as a user would have.
    pub async fn client(&self) -> kube::Client {
        let config = self.config().await;
        kube::Client::try_from(config).expect("a client from our kubeconfig")
    }

    /// The client configuration in the kubeconfig.
    pub async fn config(&self) -> kube::Config {
        // The binary has a provider of its own; the test's client needs one here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let file = Kubeconfig::read_from(self.kubeconfig()).expect("skiff wrote a kubeconfig");
        kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a usable kubeconfig")
    }

    /// The next line that the process prints, within the time of a start.
    pub async fn line(&mut self) -> Option<String> {
        tokio::time::timeout(START, self.lines.next_line()).await.ok()?.ok()?
    }

    /// kill -9, then wait until it is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("kill -9 works");
    }

    /// Ctrl-C, then the exit status.
    pub async fn interrupt(&mut self) -> std::process::ExitStatus {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().await.expect("kill runs");
        assert!(sent.success());
        tokio::time::timeout(STOP, self.child.wait()).await.expect("stops in time").expect("has a status")
    }

    /// Further arguments for the next [`Cluster::restart`].
    pub fn with_arguments(&mut self, args: &[String]) {
        self.options.args = args.to_vec();
    }

    /// Starts the same cluster again, on the same data.
    pub async fn restart(&mut self) -> Result<()> {
        let (child, lines, printed) = spawn(self.dir.path(), &self.options, &self.ranges).await?;
        (self.child, self.lines, self.printed) = (child, lines, printed);
        Ok(())
    }
}

fn kubeconfig(dir: &Path) -> PathBuf {
    dir.join("kubeconfig")
}

/// Pod and Service ranges that no other cluster of these tests has, of this process or another: loopback addresses are
/// shared by the whole machine. They are this process's until it ends.
///
/// # Panics
/// When every one is taken.
pub fn own_ranges() -> (String, String) {
    static CLAIMS: Mutex<Vec<TcpListener>> = Mutex::new(Vec::new());
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    // Each process begins elsewhere, so that it hardly has to look for a free one.
    let begin = std::process::id() as usize % BLOCKS * PER_BLOCK + claims.len();
    for number in (begin..begin + BLOCKS * PER_BLOCK).map(|number| number % (BLOCKS * PER_BLOCK)) {
        // 127.128.0.0 … 127.227.255.255: away from the defaults, 127.64/12 and 127.96/12.
        let (block, n) = (128 + number / PER_BLOCK * 2, number % PER_BLOCK * 4);
        if let Ok(claim) = TcpListener::bind(format!("127.{block}.{n}.0:{CLAIM_PORT}")) {
            claims.push(claim);
            return (format!("127.{block}.{n}.0/22"), format!("127.{}.{n}.0/22", block + 1));
        }
    }
    panic!("{} pairs of address ranges are all taken", BLOCKS * PER_BLOCK);
}

/// The arguments that give a cluster free ports and ranges of its own.
pub fn own_arguments(dir: &Path, options: &Options, ranges: &(String, String)) -> Vec<String> {
    let mut args = vec![
        options.command.to_owned(),
        format!("--kubeconfig={}", kubeconfig(dir).display()),
        format!("--data-dir={}", dir.join("data").display()),
    ];
    args.extend(range_arguments(ranges));
    if options.ephemeral {
        args.push("--ephemeral".into());
    }
    if !options.args.iter().any(|arg| arg.starts_with("--https-port")) {
        args.push("--https-port=0".into());
    }
    args.extend(options.args.iter().cloned());
    args
}

fn range_arguments(ranges: &(String, String)) -> [String; 2] {
    [format!("--cluster-cidr={}", ranges.0), format!("--service-cluster-ip-range={}", ranges.1)]
}

type Started = (Child, Lines<BufReader<ChildStdout>>, Vec<String>);

async fn spawn(dir: &Path, options: &Options, ranges: &(String, String)) -> Result<Started> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("stderr"))?;
    let mut child = Command::new(skiff())
        .args(own_arguments(dir, options, ranges))
        .env_remove("KUBECONFIG")
        .env("SKIFF_LOG", std::env::var("SKIFF_TEST_LOG").unwrap_or_else(|_| "warn".into()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", skiff().display()))?;
    let stdout = child.stdout.take().context("no stdout")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut printed = Vec::new();
    loop {
        let line = tokio::time::timeout(START, lines.next_line()).await.context("no `ready in` line in time")??;
        let Some(line) = line else {
            let status = child.wait().await?;
            let stderr = std::fs::read_to_string(dir.join("stderr")).unwrap_or_default();
            bail!("skiff ended before it was ready: {status}\n{}\n{stderr}", printed.join("\n"));
        };
        let ready = line.contains("ready in");
        printed.push(line);
        if ready {
            return Ok((child, lines, printed));
        }
    }
}
