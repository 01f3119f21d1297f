//! What goes on after a process has died: work that was under way, nodes, and what they ran.

use serde_json::{Value, json};
use std::process::Stdio;
use tests::cluster::Options;
use tests::rest::{self, LIMIT, Rest};
use tests::{Cluster, eventually, skiff, web};
use tokio::process::{Child, Command};

const HTTP: &str = "skiff.dev/examples/hello-http:v1";
const REPORT: &str = "skiff.dev/examples/cli-report:v1";

#[tokio::test]
async fn a_job_finishes_although_everything_died_in_between() {
    let mut cluster = Cluster::durable().await;
    let rest = Rest::of(&cluster).await;
    let container =
        json!({"name": "main", "image": REPORT, "imagePullPolicy": "IfNotPresent", "args": ["--sleep", "300"]});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "long"}, "spec": {
        "completions": 6, "parallelism": 2,
        "template": {"spec": {"restartPolicy": "OnFailure", "containers": [container]}}}});
    rest.create(job).await;
    rest.until("jobs/long", "has begun", |job| (job["status"]["succeeded"].as_i64()? >= 1).then_some(())).await;
    cluster.kill().await;
    cluster.restart().await.unwrap();
    let rest = Rest::of(&cluster).await;
    let done =
        rest.until("jobs/long", "Complete", |job| rest::has_condition(job, "Complete", "True").then(|| job.clone()));
    assert_eq!(done.await["status"]["succeeded"], 6);
}

/// A node process of its own on the cluster's data.
fn node(server: &Cluster, name: &str) -> Child {
    Command::new(skiff())
        .args(["node", "--quiet", &format!("--node-name={name}")])
        .arg(format!("--kubeconfig={}", server.kubeconfig().display()))
        .arg(format!("--data-dir={}", server.scratch().join(name).display()))
        .args(server.range_arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(server.scratch().join(format!("{name}.stderr"))).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn node_ready(rest: &Rest, name: &str) {
    rest.until(&format!("nodes/{name}"), "Ready", |n| rest::has_condition(n, "Ready", "True").then_some(())).await;
}

async fn answers(address: &str) {
    eventually("the pod answers", LIMIT, || async {
        match web::get(address, "/").await {
            Ok((status, body)) if status == 200 && body.contains("GET /") => Ok(()),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await;
}

#[tokio::test]
async fn nodes_of_their_own_carry_pods_and_bring_them_back() {
    let server = Cluster::start(Options { command: "server", ..Options::default() }).await.unwrap();
    let rest = Rest::of(&server).await;
    rest.create(rest::pod("early", HTTP, json!({}), json!({}))).await;
    assert!(rest.event("early", "FailedScheduling").await.starts_with("no nodes available to schedule pods"));
    let (mut one, _two) = (node(&server, "one"), node(&server, "two"));
    node_ready(&rest, "one").await;
    node_ready(&rest, "two").await;
    rest.ready("early").await;
    for (name, node) in [("web", "one"), ("other", "two")] {
        let spec = json!({"nodeName": node, "restartPolicy": "Always"});
        let mut pod = rest::pod(name, HTTP, json!({"ports": [{"containerPort": 8080}]}), spec);
        pod["metadata"]["labels"]["tier"] = json!("web");
        rest.create(pod).await;
    }
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"tier": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    let service = rest.create(service).await["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let address = |pod: &Value| format!("{}:8080", pod["status"]["podIP"].as_str().unwrap());
    let web = rest.ready("web").await;
    let other = rest.ready("other").await;
    answers(&address(&web)).await;
    answers(&address(&other)).await;
    answers(&format!("{service}:80")).await;
    assert!(rest.log("web").await.contains("GET /"));

    one.kill().await.unwrap();
    answers(&address(&other)).await;
    let _one = node(&server, "one");
    let back = rest
        .until("pods/web", "runs again", |pod| {
            let status = &pod["status"]["containerStatuses"][0];
            let again = status["restartCount"].as_i64()? >= 1 && rest::has_condition(pod, "Ready", "True");
            again.then(|| pod.clone())
        })
        .await;
    assert_eq!(back["metadata"]["uid"], web["metadata"]["uid"], "the same pod");
    answers(&address(&back)).await;
    answers(&format!("{service}:80")).await;
    rest.delete("pods/web", json!(null)).await;
    rest.gone("pods/web").await;

    // `skiff image import` fills the store of the node whose data directory it is given.
    let module = tests::binary::wat(server.scratch(), "hello");
    let mut import = Command::new(skiff());
    import.args(["image", "import"]).arg(module).arg("me/hello:v1").arg("--data-dir");
    assert!(import.arg(server.scratch().join("two")).stdout(Stdio::null()).status().await.unwrap().success());
    let spec = json!({"nodeName": "two"});
    rest.create(rest::pod("imported", "me/hello:v1", json!({"imagePullPolicy": "Never"}), spec)).await;
    rest.phase("imported", "Succeeded").await;
}
