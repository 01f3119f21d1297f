//! A private etcd on free ports of the loopback interface. It ends with the test process, however that ends.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs etcd beside a read from our pipe: when that ends, because it was closed or this process is gone, so does etcd.
const WATCHDOG: &str = r#"
exec 3<&0
"$@" </dev/null >"$LOG" 2>&1 3<&- &
pid=$!
echo $pid
read -r _ <&3
kill -9 $pid
wait $pid
"#;

/// How an etcd is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Each write is on the disk before it is acknowledged.
    Synced,
    /// Durability is not what the test is about.
    Fast,
}

/// Where an etcd keeps its data, and what it listens on.
pub struct Server {
    folder: tempfile::TempDir,
    ports: [u16; 2],
    disk: Disk,
    scheme: &'static str,
    arguments: Vec<String>,
    name: String,
    /// Its own name and address, and those of its fellow members.
    cluster: String,
    process: Option<Process>,
}

struct Process {
    watchdog: Child,
    stdin: Option<ChildStdin>,
    pid: u32,
}

impl Server {
    pub fn start(disk: Disk) -> Self {
        Self::start_with(disk, "http", |_| Vec::new())
    }

    /// Start one that gets these arguments, too; they may name files in the server's folder.
    pub fn start_with(disk: Disk, scheme: &'static str, arguments: impl Fn(&tempfile::TempDir) -> Vec<String>) -> Self {
        // Somebody else may take a port between its choice and its use.
        for _ in 0..10 {
            let folder = tempfile::tempdir().unwrap();
            let arguments = arguments(&folder);
            let ports = free_ports();
            let cluster = member("a", ports);
            let name = "a".to_owned();
            let mut server = Self { folder, ports, disk, scheme, arguments, name, cluster, process: None };
            if server.run() {
                return server;
            }
        }
        panic!("etcd does not start");
    }

    /// Three that form one cluster.
    pub fn three() -> [Self; 3] {
        for _ in 0..10 {
            let members = ["a", "b", "c"].map(|name| (name, free_ports()));
            let cluster = members.map(|(name, ports)| member(name, ports)).join(",");
            let mut servers = members.map(|(name, ports)| {
                let (folder, arguments) = (tempfile::tempdir().unwrap(), Vec::new());
                let (name, cluster) = (name.to_owned(), cluster.clone());
                Self { folder, ports, disk: Disk::Fast, scheme: "http", arguments, name, cluster, process: None }
            });
            servers.iter_mut().for_each(Self::spawn);
            // None is ready before it has met another.
            if servers.iter_mut().all(Self::is_up) {
                return servers;
            }
        }
        panic!("etcd does not start");
    }

    /// Whether it leads its cluster.
    pub fn leads(&self) -> bool {
        let status = self.ctl(&["endpoint", "status", "--write-out", "fields"]);
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        field("\"MemberID\" :") == field("\"Leader\" :")
    }

    /// Start it again where it was, after [`Server::kill`].
    pub fn restart(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.run() {
            assert!(Instant::now() < deadline, "etcd does not start again: {}", self.log());
        }
    }

    fn run(&mut self) -> bool {
        self.spawn();
        self.is_up()
    }

    /// Start it without waiting for it.
    pub fn spawn(&mut self) {
        let url =
            |port: u16| format!("{}://127.0.0.1:{port}", if port == self.ports[0] { self.scheme } else { "http" });
        let [client, peer] = self.ports.map(url);
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "watchdog"]).arg(binary()).arg("--data-dir").arg(self.folder.path().join("data"));
        command.args(["--name", &self.name, "--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &self.cluster, "--max-request-bytes", "1572864"]);
        command.args(&self.arguments);
        if self.disk == Disk::Fast {
            command.arg("--unsafe-no-fsync");
        }
        command.env("LOG", self.folder.path().join("log"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut watchdog = command.spawn().unwrap();
        let stdin = watchdog.stdin.take();
        let mut line = String::new();
        BufReader::new(watchdog.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().parse().unwrap();
        self.process = Some(Process { watchdog, stdin, pid });
    }

    /// Wait until it serves. Ends it when it does not.
    fn is_up(&mut self) -> bool {
        let pid = self.process.as_ref().unwrap().pid;
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[0])).is_ok() {
                return true;
            }
            if !PathBuf::from(format!("/proc/{pid}/exe")).exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        false
    }

    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            process.watchdog.wait().unwrap();
        }
    }

    /// Stop it where it stands: its connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().pid.to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Run etcdctl against it.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let output = Command::new(binary().with_file_name("etcdctl"))
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn member(name: &str, ports: [u16; 2]) -> String {
    format!("{name}=http://127.0.0.1:{}", ports[1])
}

fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("ETCD") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("etcd")).find(|file| file.exists());
    found.expect("install Debian's etcd-server and etcd-client, or name an etcd, with etcdctl beside it, by ETCD")
}

/// Two ports that nobody uses at the moment.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Write a file that a server's arguments name.
pub fn write(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> String {
    let path = folder.path().join(name);
    std::fs::File::create(&path).unwrap().write_all(content).unwrap();
    path.to_str().unwrap().to_owned()
}
