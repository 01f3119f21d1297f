//! The command line: the README's main job and everything that can go wrong at start.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;
use std::path::Path;
use std::process::Output;
use std::time::Duration;
use tests::cluster::{Options, own_arguments, own_ranges};
use tests::{Cluster, binary, eventually, skiff};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(60);

async fn output(args: &[String]) -> Output {
    let run = Command::new(skiff()).args(args).kill_on_drop(true).output();
    tokio::time::timeout(LIMIT, run).await.expect("ends in time").expect("starts")
}

fn arguments(dir: &Path, extra: &[&str]) -> Vec<String> {
    let options =
        Options { ephemeral: false, args: extra.iter().map(ToString::to_string).collect(), ..Options::default() };
    own_arguments(dir, &options, &own_ranges())
}

fn text(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn the_main_job_shows_a_real_answer_and_a_real_log() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = binary::root().join("guests/examples/hello.yaml");
    let output = output(&arguments(dir.path(), &["--ephemeral", "--exit", "-f", manifest.to_str().unwrap()])).await;
    let (stdout, stderr) = text(&output);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    for part in ["ready in ", "3/3 available", "1/1 complete", "HTTP 200", "Hello from", "log of"] {
        assert!(stdout.contains(part), "no {part:?} in:\n{stdout}");
    }
}

#[tokio::test]
async fn a_restart_brings_every_object_and_workload_back() {
    let mut cluster = Cluster::durable().await;
    let manifest = binary::root().join("guests/examples/hello.yaml");
    let extra = ["-f".to_owned(), manifest.display().to_string()];
    let client = cluster.client().await;
    let marker: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "marker"}})).unwrap();
    Api::default_namespaced(client).create(&PostParams::default(), &marker).await.unwrap();
    assert!(cluster.interrupt().await.success(), "Ctrl-C ends cleanly");
    cluster.with_arguments(&extra);
    cluster.restart().await.unwrap();
    available(&cluster, 3).await;
    cluster.kill().await;
    cluster.with_arguments(&[]);
    cluster.restart().await.unwrap();
    Api::<ConfigMap>::default_namespaced(cluster.client().await).get("marker").await.expect("still there");
    available(&cluster, 3).await;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client().await);
    eventually("the pods run again", LIMIT, || async {
        let pods = pods.list(&ListParams::default().labels("app=hello")).await.map_err(|e| e.to_string())?;
        let ready = pods.items.iter().filter(|p| ready(p)).count();
        if ready == 3 { Ok(()) } else { Err(format!("{ready} of {} ready", pods.items.len())) }
    })
    .await;
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

async fn available(cluster: &Cluster, replicas: i32) {
    let api: Api<Deployment> = Api::default_namespaced(cluster.client().await);
    eventually("the deployment is available", LIMIT, || async {
        let deployment = api.get("hello").await.map_err(|e| e.to_string())?;
        let available = deployment.status.and_then(|s| s.available_replicas).unwrap_or(0);
        if available == replicas { Ok(()) } else { Err(format!("{available} available")) }
    })
    .await;
}

#[tokio::test]
async fn several_nodes_share_the_work() {
    let cluster = Cluster::start(Options { args: vec!["--nodes=3".into()], ..Options::default() }).await.unwrap();
    let nodes = Api::<Node>::all(cluster.client().await).list(&ListParams::default()).await.unwrap();
    assert_eq!(nodes.items.len(), 3);
    let ready = |n: &Node| {
        n.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == "Ready" && c.status == "True")
    };
    assert!(nodes.items.iter().all(ready));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let output = output(&arguments(dir.path(), &["--ephemeral", "--https-port", &port.to_string()])).await;
    let (_, stderr) = text(&output);
    assert!(!output.status.success());
    assert!(stderr.contains(&format!("127.0.0.1:{port}")) && stderr.contains("in use"), "{stderr}");
}

#[tokio::test]
async fn a_data_dir_belongs_to_one_skiff_at_a_time() {
    let cluster = Cluster::durable().await;
    let data = format!("--data-dir={}", cluster.data_dir().display());
    let dir = tempfile::tempdir().unwrap();
    let mut args = arguments(dir.path(), &[]);
    args.retain(|a| !a.starts_with("--data-dir"));
    args.push(data);
    let output = output(&args).await;
    let (_, stderr) = text(&output);
    assert!(!output.status.success());
    assert!(stderr.contains("another") && stderr.contains(&cluster.data_dir().display().to_string()), "{stderr}");
    // The first is not disturbed.
    Api::<Node>::all(cluster.client().await).list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn a_corrupt_store_is_said_and_left_alone() {
    let mut cluster = Cluster::durable().await;
    assert!(cluster.interrupt().await.success());
    let store = std::fs::read_dir(cluster.data_dir())
        .unwrap()
        .filter_map(|e| e.ok().map(|e| e.path()))
        .find(|p| p.extension().is_some_and(|e| e == "redb"))
        .expect("a .redb file in the data directory");
    let mut bytes = std::fs::read(&store).unwrap();
    for byte in bytes.iter_mut().take(512) {
        *byte ^= 0xa5;
    }
    std::fs::write(&store, &bytes).unwrap();
    let error = cluster.restart().await.expect_err("must not start");
    let message = format!("{error:#}");
    assert!(message.contains(&store.display().to_string()), "{message}");
    assert_eq!(std::fs::read(&store).unwrap(), bytes, "the file is as it was");
}

#[tokio::test]
async fn help_and_mistakes_read_well() {
    for command in ["up", "server", "node", "run", "image", "kubeconfig", "bench", "version"] {
        let help = output(&[command.into(), "--help".into()]).await;
        let (stdout, _) = text(&help);
        assert!(help.status.success() && stdout.contains("Usage: skiff"), "{command}: {stdout}");
    }
    let dir = tempfile::tempdir().unwrap();
    let missing = output(&arguments(dir.path(), &["--ephemeral", "-f", "/no/such/file.yaml"])).await;
    let (_, stderr) = text(&missing);
    assert!(!missing.status.success() && stderr.contains("/no/such/file.yaml"), "{stderr}");
    let range = output(&["up".into(), "--cluster-cidr=nonsense".into(), "--ephemeral".into()]).await;
    let (_, stderr) = text(&range);
    assert!(!range.status.success() && stderr.contains("--cluster-cidr"), "{stderr}");
}

#[tokio::test]
async fn run_streams_the_log_and_hands_on_the_exit_code() {
    let cluster = Cluster::up().await;
    let module = binary::wat(cluster.scratch(), "exit-code");
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let args = ["run", module.to_str().unwrap(), "--kubeconfig", &kubeconfig].map(str::to_owned);
    let output = output(&args).await;
    let (stdout, stderr) = text(&output);
    assert_eq!(output.status.code(), Some(7), "{stdout}\n{stderr}");
    let hello = binary::wat(cluster.scratch(), "hello");
    let args = ["run", hello.to_str().unwrap(), "--kubeconfig", &kubeconfig].map(str::to_owned);
    let output = self::output(&args).await;
    let (stdout, stderr) = text(&output);
    assert!(output.status.success() && stdout.to_lowercase().contains("hello"), "{stdout}\n{stderr}");
    let pods = Api::<Pod>::default_namespaced(cluster.client().await).list(&ListParams::default()).await.unwrap();
    assert!(pods.items.is_empty(), "run removes its pod");
}

#[tokio::test]
async fn a_node_joins_a_server() {
    let server = Cluster::start(Options { command: "server", ..Options::default() }).await.unwrap();
    let data = server.scratch().join("node-data");
    let mut node = Command::new(skiff())
        .args(["node", "--node-name=joined", "--allow-file-images"])
        .arg("--kubeconfig")
        .arg(server.kubeconfig())
        .arg("--data-dir")
        .arg(&data)
        .args(server.range_arguments())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let module = binary::wat(server.scratch(), "hello");
    let kubeconfig = server.kubeconfig().display().to_string();
    let nodes: Api<Node> = Api::all(server.client().await);
    eventually("the node is there", LIMIT, || async { nodes.get("joined").await.map(|_| ()) }).await;
    // The log comes through the connection that the node opened.
    let args = ["run", module.to_str().unwrap(), "--kubeconfig", &kubeconfig].map(str::to_owned);
    let output = output(&args).await;
    let (stdout, stderr) = text(&output);
    assert!(output.status.success() && stdout.to_lowercase().contains("hello"), "{stdout}\n{stderr}");
    node.kill().await.unwrap();
}
