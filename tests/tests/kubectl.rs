//! Real kubectl, as a user would type it.

use std::time::Duration;
use tests::cluster::Options;
use tests::kubectl::{apply, command, fails, run};
use tests::{Cluster, binary, eventually};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const LIMIT: Duration = Duration::from_secs(60);

async fn hello() -> Cluster {
    let manifest = binary::root().join("guests/examples/hello.yaml");
    let cluster = Cluster::start(Options::default()).await.unwrap();
    run(&cluster, &["apply", "-f", manifest.to_str().unwrap()]).await;
    run(&cluster, &["rollout", "status", "deployment/hello", "--timeout=60s"]).await;
    cluster
}

#[tokio::test]
async fn a_deployment_lives_its_life() {
    let cluster = hello().await;
    run(&cluster, &["wait", "--for=condition=Ready", "pod", "-l", "app=hello", "--timeout=60s"]).await;
    let all = run(&cluster, &["get", "all", "-A", "-o", "wide"]).await;
    for part in ["pod/hello-", "deployment.apps/hello", "replicaset.apps/hello-", "service/hello", "job.batch/", "3/3"]
    {
        assert!(all.contains(part), "no {part} in\n{all}");
    }
    run(&cluster, &["scale", "deployment/hello", "--replicas=5"]).await;
    run(&cluster, &["rollout", "status", "deployment/hello", "--timeout=60s"]).await;
    assert!(run(&cluster, &["get", "deployment", "hello"]).await.contains("5/5"));

    run(&cluster, &["set", "env", "deployment/hello", "EXTRA=second"]).await;
    run(&cluster, &["rollout", "status", "deployment/hello", "--timeout=60s"]).await;
    let history = run(&cluster, &["rollout", "history", "deployment/hello"]).await;
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    run(&cluster, &["rollout", "undo", "deployment/hello"]).await;
    run(&cluster, &["rollout", "status", "deployment/hello", "--timeout=60s"]).await;
    let env = run(
        &cluster,
        &["get", "deployment", "hello", "-o", "jsonpath={.spec.template.spec.containers[0].env[*].name}"],
    )
    .await;
    assert!(env.contains("GREETING") && !env.contains("EXTRA"), "{env}");
    run(&cluster, &["rollout", "pause", "deployment/hello"]).await;
    run(&cluster, &["rollout", "resume", "deployment/hello"]).await;
    run(&cluster, &["rollout", "restart", "deployment/hello"]).await;
    run(&cluster, &["rollout", "status", "deployment/hello", "--timeout=60s"]).await;

    run(&cluster, &["delete", "deployment", "hello", "--wait", "--timeout=60s"]).await;
    eventually("the pods go with their deployment", LIMIT, || async {
        let left = run(&cluster, &["get", "pods,rs", "-l", "app=hello", "-o", "name"]).await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn describe_events_and_logs_tell_what_happened() {
    let cluster = hello().await;
    let pods = run(&cluster, &["get", "pods", "-l", "app=hello", "-o", "name"]).await;
    let describe = run(&cluster, &["describe", pods.lines().next().unwrap()]).await;
    for part in
        ["Status:", "Running", "Scheduled", "Successfully assigned default/hello-", "Started container", "Ready "]
    {
        assert!(describe.contains(part), "no {part:?} in\n{describe}");
    }
    let describe = run(&cluster, &["describe", "deployment", "hello"]).await;
    for part in
        ["ScalingReplicaSet", "Scaled up replica set hello-", "MinimumReplicasAvailable", "NewReplicaSetAvailable"]
    {
        assert!(describe.contains(part), "no {part:?} in\n{describe}");
    }
    let node = run(&cluster, &["describe", "nodes"]).await;
    assert!(node.contains("wasmtime://") && node.contains("KubeletReady"), "{node}");
    run(&cluster, &["wait", "--for=condition=Complete", "job", "--all", "--timeout=60s"]).await;
    let events = run(&cluster, &["events"]).await;
    assert!(events.contains("Scheduled") && events.contains("Completed"), "{events}");
    let log = run(&cluster, &["logs", "job/report"]).await;
    assert!(!log.trim().is_empty());
    let stamped = run(&cluster, &["logs", "job/report", "--timestamps", "--tail=1"]).await;
    assert!(stamped.starts_with("20") && stamped.lines().count() == 1, "{stamped}");
}

#[tokio::test]
async fn following_a_log_shows_lines_as_they_come() {
    let cluster = hello().await;
    let mut follow = command(&cluster, &["logs", "-f", "-l", "app=hello", "--max-log-requests=9"]);
    let mut child = follow.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ip =
        run(&cluster, &["get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}"]).await;
    let ask = async {
        loop {
            let mut stream = tokio::net::TcpStream::connect(&ip).await.expect("the Service answers");
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /ping HTTP/1.0\r\nHost: hello\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    };
    let line = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("/ping") {
                return line;
            }
        }
        panic!("the log ended")
    };
    tokio::time::timeout(LIMIT, async {
        tokio::select! { _ = line => {}, () = ask => {} }
    })
    .await
    .expect("a line in time");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn apply_diff_and_strict_validation() {
    let cluster = Cluster::up().await;
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: conf\ndata:\n  a: one\n";
    assert!(apply(&cluster, map).await.contains("configmap/conf created"));
    assert!(apply(&cluster, map).await.contains("configmap/conf unchanged"));
    let changed = cluster.scratch().join("changed.yaml");
    std::fs::write(&changed, map.replace("one", "two")).unwrap();
    // kubectl diff exits with 1 when there is a difference.
    let diff = command(&cluster, &["diff", "-f", changed.to_str().unwrap()]).output().await.unwrap();
    let text = String::from_utf8_lossy(&diff.stdout);
    assert!(
        diff.status.code() == Some(1) && text.contains("+  a: two"),
        "{text}{}",
        String::from_utf8_lossy(&diff.stderr)
    );
    assert!(apply(&cluster, &map.replace("one", "two")).await.contains("configmap/conf configured"));
    let unknown = cluster.scratch().join("unknown.yaml");
    std::fs::write(&unknown, format!("{map}bogus: 1\n")).unwrap();
    let error = fails(&cluster, &["apply", "--validate=strict", "-f", unknown.to_str().unwrap()]).await;
    assert!(error.contains("unknown field \"bogus\""), "{error}");
    let yaml = run(&cluster, &["get", "cm", "conf", "-o", "yaml"]).await;
    assert!(yaml.contains("a: two") && yaml.contains("resourceVersion:"), "{yaml}");
    run(&cluster, &["label", "cm", "conf", "x=y"]).await;
    run(&cluster, &["annotate", "cm", "conf", "note=hi"]).await;
    assert!(run(&cluster, &["get", "cm", "-l", "x=y", "-o", "name"]).await.contains("configmap/conf"));
    run(&cluster, &["patch", "cm", "conf", "--type=json", "-p", r#"[{"op":"add","path":"/data/b","value":"2"}]"#])
        .await;
    assert_eq!(run(&cluster, &["get", "cm", "conf", "-o", "jsonpath={.data.b}"]).await, "2");
    run(&cluster, &["replace", "-f", changed.to_str().unwrap()]).await;
    run(&cluster, &["delete", "cm", "conf", "--wait"]).await;
    assert!(fails(&cluster, &["get", "cm", "conf"]).await.contains("NotFound"));
}

#[tokio::test]
async fn explain_and_api_resources() {
    let cluster = Cluster::up().await;
    let explain = run(&cluster, &["explain", "deployment.spec.strategy"]).await;
    assert!(explain.contains("rollingUpdate") && explain.contains("FIELD"), "{explain}");
    let explain = run(&cluster, &["explain", "pod.spec.containers.resources"]).await;
    assert!(explain.contains("limits"), "{explain}");
    let resources = run(&cluster, &["api-resources"]).await;
    for part in ["deployments", "deploy", "configmaps", "cm", "leases", "endpointslices", "cronjobs"] {
        assert!(resources.contains(part), "no {part} in\n{resources}");
    }
    assert!(run(&cluster, &["api-versions"]).await.contains("apps/v1"));
    assert!(run(&cluster, &["version"]).await.contains("v1.36"));
    assert!(run(&cluster, &["cluster-info"]).await.contains("control plane"));
}

#[tokio::test]
async fn get_watch_prints_changes() {
    let cluster = Cluster::up().await;
    let mut watch = command(&cluster, &["get", "configmaps", "-w", "--output-watch-events"]);
    let mut child = watch.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    run(&cluster, &["create", "configmap", "seen", "--from-literal=a=b"]).await;
    let seen = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("seen") {
                return line;
            }
        }
        panic!("the watch ended")
    };
    let line = tokio::time::timeout(LIMIT, seen).await.expect("in time");
    assert!(line.starts_with("ADDED"), "{line}");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn namespaces_take_everything_with_them() {
    let cluster = Cluster::up().await;
    run(&cluster, &["create", "namespace", "team"]).await;
    run(&cluster, &["-n", "team", "create", "configmap", "x", "--from-literal=a=b"]).await;
    run(&cluster, &["-n", "team", "create", "deployment", "d", "--image=example.com/none:v1"]).await;
    run(&cluster, &["delete", "namespace", "team", "--wait", "--timeout=60s"]).await;
    assert!(fails(&cluster, &["get", "namespace", "team"]).await.contains("NotFound"));
    assert!(fails(&cluster, &["-n", "team", "create", "configmap", "y"]).await.contains("not found"));
}

#[tokio::test]
async fn unschedulable_pods_say_why_and_are_tried_again() {
    let cluster = Cluster::up().await;
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: picky}\nspec:\n  nodeSelector: {disk: ssd}\n  restartPolicy: Never\n  containers: [{name: c, image: example.com/none:v1}]\n";
    apply(&cluster, pod).await;
    eventually("the pod is unschedulable", LIMIT, || async {
        let events = run(&cluster, &["events", "--for", "pod/picky"]).await;
        let wanted = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector";
        if events.contains(wanted) { Ok(()) } else { Err(events) }
    })
    .await;
    run(&cluster, &["label", "nodes", "--all", "disk=ssd"]).await;
    eventually("the pod is bound", LIMIT, || async {
        let node = run(&cluster, &["get", "pod", "picky", "-o", "jsonpath={.spec.nodeName}"]).await;
        if node.is_empty() { Err("not bound") } else { Ok(()) }
    })
    .await;
}
