//! `skiff run`, and `skiff up --exit`, as a script or a CI job uses them.

use serde_json::json;
use std::process::{Output, Stdio};
use tests::cluster::{Options, own_arguments, own_ranges};
use tests::rest::{LIMIT, Rest};
use tests::{Cluster, binary, eventually, skiff};
use tokio::process::Command;

/// `skiff run` on this cluster.
fn run(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = Command::new(skiff());
    command.arg("run").arg("--kubeconfig").arg(cluster.kubeconfig()).args(args).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn output(mut command: Command) -> Output {
    tokio::time::timeout(LIMIT, command.output()).await.expect("ends in time").expect("starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_run_is_as_if_the_program_ran_here() {
    let cluster = Cluster::up().await;
    let report = binary::guest("cli-report.wasm");
    let report = report.to_str().unwrap();
    let args = ["-e", "COLOR=blue", report, "--", "--exit", "5", "--stderr", "oh"];
    let out = output(run(&cluster, &args)).await;
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    assert_eq!(out.status.code(), Some(5), "{stdout}\n{stderr}");
    for line in ["arg 1: --exit", "arg 2: 5", "env COLOR=blue"] {
        assert!(stdout.lines().any(|l| l == line), "no {line:?} in\n{stdout}\n{stderr}");
    }
    let out = output(run(&cluster, &["--memory", "16Mi", report, "--", "--allocate", "64"])).await;
    assert_eq!(out.status.code(), Some(137), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("OOMKilled"), "{}", text(&out.stderr));
    let out = output(run(&cluster, &["skiff.dev/examples/cli-report:v1"])).await;
    assert!(out.status.success(), "an image by name: {}", text(&out.stderr));

    let missing = output(run(&cluster, &["/no/such/module.wasm"])).await;
    assert!(!missing.status.success() && text(&missing.stderr).contains("/no/such/module.wasm"));
    let other = cluster.scratch().join("text.wasm");
    std::fs::write(&other, "hello").unwrap();
    let other = output(run(&cluster, &[other.to_str().unwrap()])).await;
    assert!(!other.status.success() && text(&other.stderr).to_lowercase().contains("wasm"), "{}", text(&other.stderr));
    let rest = Rest::of(&cluster).await;
    rest.until("pods", "none is left", |l| l["items"].as_array()?.is_empty().then_some(())).await;
}

#[tokio::test]
async fn an_interrupted_run_leaves_nothing_behind() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let sleeper = binary::wat(cluster.scratch(), "sleeper");
    let mut child = run(&cluster, &["--name", "sleepy", sleeper.to_str().unwrap()]).spawn().unwrap();
    rest.phase("sleepy", "Running").await;
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let status = tokio::time::timeout(LIMIT, child.wait()).await.expect("ends").unwrap();
    assert!(!status.success(), "{status}");
    rest.gone("pods/sleepy").await;
}

#[tokio::test]
async fn exit_tells_a_script_how_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = dir.path().join("job.yaml");
    let job = |exit: &str| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "verdict"}, "spec": {"backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [
                {"name": "main", "image": "skiff.dev/examples/cli-report:v1", "args": ["--exit", exit]}]}}}})
    };
    for (exit, code) in [("0", 0), ("3", 1)] {
        std::fs::write(&manifest, job(exit).to_string()).unwrap();
        let args = ["--exit", "-f", manifest.to_str().unwrap()].map(str::to_owned).to_vec();
        let options = Options { args, ..Options::default() };
        let mut command = Command::new(skiff());
        command.args(own_arguments(dir.path(), &options, &own_ranges())).kill_on_drop(true);
        let out = output(command).await;
        assert_eq!(out.status.code(), Some(code), "{}\n{}", text(&out.stdout), text(&out.stderr));
    }
}

/// Ctrl-C with work under way: guests that spin, that ignore their shutdown, and a client that follows a log.
#[tokio::test]
async fn ctrl_c_does_not_wait_for_anybody() {
    let mut cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    for (name, guest) in [("spin", "spin"), ("stubborn", "ignores-shutdown")] {
        let image = format!("file://{}", binary::wat(cluster.scratch(), guest).display());
        rest.create(tests::rest::pod(name, &image, json!({}), json!({"terminationGracePeriodSeconds": 600}))).await;
        rest.ready(name).await;
    }
    let follower = tokio::spawn({
        let rest = rest.clone();
        async move { rest.text("pods/spin/log?follow=true").await }
    });
    let watching = tokio::spawn({
        let rest = rest.clone();
        async move { rest.text("/api/v1/pods?watch=true").await }
    });
    assert!(cluster.interrupt().await.success());
    let log = std::fs::read_to_string(cluster.scratch().join("stderr")).unwrap();
    assert!(!log.contains("some parts did not end in time"), "{log}");
    eventually("the clients are told", LIMIT, || async {
        if follower.is_finished() && watching.is_finished() { Ok(()) } else { Err("still open") }
    })
    .await;
}
