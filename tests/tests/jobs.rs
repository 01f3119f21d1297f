//! Jobs: parallel, failing, cleaned up.

use serde_json::{Value, json};
use tests::Cluster;
use tests::rest::{self, Rest};

const REPORT: &str = "skiff.dev/examples/cli-report:v1";

fn job(name: &str, args: &[&str], spec: Value) -> Value {
    let container = json!({"name": "main", "image": REPORT, "imagePullPolicy": "IfNotPresent", "args": args,
        "env": [{"name": "INDEX", "valueFrom": {"fieldRef": {
            "fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}}]});
    let mut whole = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}});
    rest::merge(&mut whole, spec);
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": whole})
}

async fn ended(rest: &Rest, name: &str, kind: &str) -> Value {
    rest.until(&format!("jobs/{name}"), kind, |job| rest::has_condition(job, kind, "True").then(|| job.clone())).await
}

async fn pods(rest: &Rest, job: &str) -> Vec<Value> {
    rest.items(&format!("pods?labelSelector=job-name={job}")).await
}

#[tokio::test]
async fn completions_are_counted_and_parallelism_is_kept() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create(job("many", &["--sleep", "30"], json!({"parallelism": 2, "completions": 5}))).await;
    let spec = json!({"parallelism": 3, "completions": 3, "completionMode": "Indexed"});
    rest.create(job("indexed", &[], spec)).await;
    rest.until("jobs/many", "ends with at most two at a time", |job| {
        let active = job["status"]["active"].as_u64().unwrap_or(0);
        assert!(active <= 2, "{active} active");
        rest::has_condition(job, "Complete", "True").then_some(())
    })
    .await;
    let many = ended(&rest, "many", "Complete").await;
    assert_eq!(many["status"]["succeeded"], 5, "{many}");
    assert!(many["status"]["completionTime"].is_string() && many["status"]["startTime"].is_string(), "{many}");
    assert_eq!(pods(&rest, "many").await.len(), 5);
    assert_eq!(rest.event("many", "Completed").await, "Job completed");

    assert_eq!(ended(&rest, "indexed", "Complete").await["status"]["completedIndexes"], "0-2");
    let mut seen = Vec::new();
    for pod in pods(&rest, "indexed").await {
        let log = rest.log(pod["metadata"]["name"].as_str().unwrap()).await;
        seen.push(log.lines().find_map(|l| l.strip_prefix("env INDEX=")).unwrap_or("none").to_owned());
        assert!(log.contains("env JOB_COMPLETION_INDEX="), "{log}");
    }
    seen.sort();
    assert_eq!(seen, ["0", "1", "2"]);
}

#[tokio::test]
async fn a_job_gives_up_for_a_reason() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create(job("failing", &["--exit", "1"], json!({"backoffLimit": 0}))).await;
    rest.create(job("slow", &["--sleep", "600000"], json!({"activeDeadlineSeconds": 1}))).await;
    let policy = json!({"rules": [{"action": "FailJob",
        "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}}]});
    rest.create(job("fatal", &["--exit", "42"], json!({"podFailurePolicy": policy}))).await;
    let reason = async |name: &str| {
        let job = ended(&rest, name, "Failed").await;
        let condition = rest::condition(&job, "Failed").unwrap().clone();
        (condition["reason"].as_str().unwrap().to_owned(), condition["message"].as_str().unwrap().to_owned())
    };
    let limit = ("BackoffLimitExceeded".to_owned(), "Job has reached the specified backoff limit".to_owned());
    assert_eq!(reason("failing").await, limit);
    assert_eq!(rest.get("jobs/failing").await["status"]["failed"], 1);
    let deadline = ("DeadlineExceeded".to_owned(), "Job was active longer than specified deadline".to_owned());
    assert_eq!(reason("slow").await, deadline);
    let active = |list: &Value| {
        let left = list["items"].as_array()?.iter().filter(|p| p["status"]["phase"] == "Running").count();
        (left == 0).then_some(())
    };
    rest.until("pods?labelSelector=job-name=slow", "nothing runs", active).await;
    assert_eq!(reason("fatal").await.0, "PodFailurePolicy");
    assert_eq!(rest.event("failing", "BackoffLimitExceeded").await, "Job has reached the specified backoff limit");
}

#[tokio::test]
async fn finished_jobs_go_with_their_pods_and_suspended_ones_wait() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create(job("brief", &[], json!({"ttlSecondsAfterFinished": 0}))).await;
    rest.create(job("held", &[], json!({"suspend": true}))).await;
    rest.until("events?fieldSelector=reason=Completed", "brief completes", |list| {
        (!list["items"].as_array()?.is_empty()).then_some(())
    })
    .await;
    rest.gone("jobs/brief").await;
    rest.until("pods?labelSelector=job-name=brief", "its pods are gone", |l| {
        l["items"].as_array()?.is_empty().then_some(())
    })
    .await;
    ended(&rest, "held", "Suspended").await;
    assert!(pods(&rest, "held").await.is_empty());
    rest.patch("jobs/held", json!({"spec": {"suspend": false}})).await;
    assert!(rest::has_condition(&ended(&rest, "held", "Complete").await, "Suspended", "False"));
}
