//! Jobs: pods created, counted, failed, and the end.

use super::account::FINALIZER;
use super::plan::{Plan, condition, plan, settled};
use super::template::INDEX;
use crate::k8s::api::batch::v1::Job;
use crate::k8s::api::core::v1::Pod;
use crate::testing::Cluster;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn job(spec: &Value, status: &Value) -> Job {
    let mut value = json!({
        "metadata": {"name": "j", "namespace": "d", "uid": "job"},
        "spec": {"parallelism": 2, "completions": 4, "backoffLimit": 2,
            "template": {"metadata": {"labels": {"job-name": "j"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}},
        "status": status});
    for (field, more) in spec.as_object().unwrap() {
        value["spec"][field] = more.clone();
    }
    serde_json::from_value(value).unwrap()
}

fn pod(name: &str, phase: &str, more: &Value) -> Arc<Pod> {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "d", "uid": name, "finalizers": [FINALIZER]},
        "spec": {"containers": []},
        "status": {"phase": phase, "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0}]}});
    for (field, more) in more.as_object().unwrap() {
        crate::job::tests::set(&mut value, field, more);
    }
    Arc::new(serde_json::from_value(value).unwrap())
}

fn set(value: &mut Value, field: &str, more: &Value) {
    match field {
        "exit" => {
            value["status"]["containerStatuses"][0]["state"] =
                json!({"terminated": {"exitCode": more[0], "finishedAt": more[1]}});
        }
        "index" => value["metadata"]["annotations"] = json!({INDEX: more}),
        "done" => value["metadata"]["finalizers"] = Value::Null,
        _ => value["metadata"][field] = more.clone(),
    }
}

fn step(job: &Job, pods: &[Arc<Pod>]) -> Plan {
    plan(job, pods, now())
}

fn reason(plan: &Plan, type_: &str) -> Option<String> {
    condition(&plan.status, type_).and_then(|c| c.reason.clone())
}

#[test]
fn pods_are_created_up_to_parallelism_and_what_is_missing() {
    let none = json!({});
    let running = |n: usize| (0..n).map(|i| pod(&format!("r{i}"), "Running", &none)).collect::<Vec<_>>();
    for (spec, succeeded, active, creates, deletes) in [
        (json!({}), 0, 0, 2, 0),
        (json!({}), 0, 1, 1, 0),
        (json!({}), 3, 0, 1, 0),
        (json!({"parallelism": 9}), 1, 1, 2, 0),
        (json!({"parallelism": 1}), 0, 3, 0, 2),
        (json!({"completions": null}), 0, 0, 2, 0),
        (json!({"completions": null}), 1, 1, 0, 0),
        (json!({"suspend": true}), 0, 2, 0, 2),
    ] {
        let plan = step(&job(&spec, &json!({"succeeded": succeeded})), &running(active));
        assert_eq!((plan.create.len(), plan.delete.len()), (creates, deletes), "{spec} {succeeded} {active}");
    }
}

#[test]
fn an_ended_pod_is_listed_released_and_counted_once() {
    let job_1 = job(&json!({}), &json!({}));
    let ended = pod("p", "Succeeded", &json!({"exit": [0, "2026-01-01T00:59:00Z"]}));
    let plan_1 = step(&job_1, std::slice::from_ref(&ended));
    let listed = plan_1.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!(listed.succeeded, Some(vec!["p".to_owned()]));
    assert_eq!((plan_1.status.succeeded, plan_1.release.len()), (None, 1));
    // We died after the status was written: the pod is not listed again, only released.
    let job_2 = Job { status: Some(plan_1.status.clone()), ..job_1.clone() };
    let plan_2 = step(&job_2, &[ended]);
    assert_eq!((plan_2.status.uncounted_terminated_pods.as_ref(), plan_2.release.len()), (Some(&listed), 1));
    // The finalizer is gone: it counts.
    let released = pod("p", "Succeeded", &json!({"done": true}));
    let plan_3 = step(&job_2, std::slice::from_ref(&released));
    assert_eq!(plan_3.status.succeeded, Some(1));
    let job_4 = Job { status: Some(plan_3.status), ..job_1 };
    assert_eq!(step(&job_4, &[released]).status.succeeded, Some(1));
}

#[test]
fn completion_and_failure_conditions() {
    let complete = step(&job(&json!({}), &json!({"succeeded": 4})), &[]);
    assert_eq!(reason(&complete, "SuccessCriteriaMet").as_deref(), Some("CompletionsReached"));
    let (status, note) = settled(complete.status, &[], now());
    assert_eq!(
        condition(&status, "Complete").unwrap().message.as_deref(),
        Some("Reached expected number of succeeded pods")
    );
    assert_eq!(note.unwrap().message, "Job completed");
    assert!(status.completion_time.is_some());

    let failed = step(&job(&json!({}), &json!({"failed": 3})), &[pod("r", "Running", &json!({}))]);
    assert_eq!(reason(&failed, "FailureTarget").as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(failed.delete.len(), 1);
    let (status, _) = settled(failed.status.clone(), &[pod("r", "Running", &json!({}))], now());
    assert!(condition(&status, "Failed").is_none(), "a pod still runs");
    assert_eq!((failed.status.terminating, status.terminating), (Some(1), Some(0)));
    let (status, note) = settled(failed.status, &[], now());
    assert_eq!(condition(&status, "Failed").unwrap().reason.as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(note.unwrap().message, "Job has reached the specified backoff limit");

    let started = json!({"startTime": "2026-01-01T00:59:00Z"});
    let late = step(&job(&json!({"activeDeadlineSeconds": 60}), &started), &[]);
    assert_eq!(reason(&late, "FailureTarget").as_deref(), Some("DeadlineExceeded"));
    let early = step(&job(&json!({"activeDeadlineSeconds": 90}), &started), &[]);
    assert_eq!(early.wait.map(|w| w.as_secs()), Some(30));
}

#[test]
fn failures_delay_the_next_pod() {
    let failed = |name: &str, at: &str| pod(name, "Failed", &json!({"exit": [1, at], "done": true}));
    let spec = json!({"backoffLimit": 9, "parallelism": 1});
    let one = step(&job(&spec, &json!({"failed": 1})), &[failed("a", "2026-01-01T00:59:57Z")]);
    assert_eq!((one.create.len(), one.wait.map(|w| w.as_secs())), (0, Some(7)));
    let two = [failed("a", "2026-01-01T00:59:00Z"), failed("b", "2026-01-01T00:59:57Z")];
    assert_eq!(step(&job(&spec, &json!({"failed": 2})), &two).wait.map(|w| w.as_secs()), Some(17));
    let healed = [two[0].clone(), pod("ok", "Succeeded", &json!({"exit": [0, "2026-01-01T00:59:30Z"], "done": true}))];
    assert_eq!(step(&job(&spec, &json!({"failed": 1, "succeeded": 1})), &healed).create.len(), 1);
    let later = plan(&job(&spec, &json!({"failed": 1})), &two[..1], now() + SignedDuration::from_secs(60));
    assert_eq!(later.create.len(), 1);
}

#[test]
fn the_pod_failure_policy_decides() {
    let policy = json!({"podFailurePolicy": {"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [7]}}]}});
    let at = "2026-01-01T00:59:00Z";
    let fatal = step(&job(&policy, &json!({})), &[pod("p", "Failed", &json!({"exit": [42, at]}))]);
    let why = condition(&fatal.status, "FailureTarget").unwrap();
    assert_eq!(why.reason.as_deref(), Some("PodFailurePolicy"));
    assert_eq!(
        why.message.as_deref(),
        Some("Container c for pod d/p failed with exit code 42 matching FailJob rule at index 0")
    );
    let ignored = step(&job(&policy, &json!({})), &[pod("p", "Failed", &json!({"exit": [7, at]}))]);
    assert_eq!((super::account::failed(&ignored.status), ignored.release.len()), (0, 1));
    let counted = step(&job(&policy, &json!({})), &[pod("p", "Failed", &json!({"exit": [1, at]}))]);
    assert_eq!(super::account::failed(&counted.status), 1);
}

#[test]
fn an_indexed_job_fills_its_indexes() {
    let spec = json!({"completionMode": "Indexed", "parallelism": 3});
    let pods = [
        pod("p0", "Succeeded", &json!({"index": "0", "exit": [0, "2026-01-01T00:10:00Z"]})),
        pod("p2", "Running", &json!({"index": "2"})),
        pod("p2b", "Running", &json!({"index": "2"})),
    ];
    let plan_1 = step(&job(&spec, &json!({})), &pods);
    assert_eq!(plan_1.status.completed_indexes.as_deref(), Some("0"));
    assert_eq!(plan_1.status.succeeded, Some(1));
    assert_eq!(plan_1.delete.len(), 1, "an index that runs twice");
    let plan_2 = step(&job(&spec, &json!({})), &pods[..2]);
    let indexes: Vec<_> = plan_2.create.iter().map(|p| super::template::index(p).unwrap()).collect();
    assert_eq!(indexes, [1, 3]);
    let made = &plan_2.create[0];
    assert_eq!(made.metadata.generate_name.as_deref(), Some("j-1-"));
    let spec = made.spec.as_ref().unwrap();
    assert_eq!(spec.hostname.as_deref(), Some("j-1"));
    assert_eq!(spec.containers[0].env.as_ref().unwrap()[0].name, "JOB_COMPLETION_INDEX");
    let done = step(&job(&json!({"completionMode": "Indexed"}), &json!({"completedIndexes": "0-3"})), &[]);
    assert_eq!(reason(&done, "SuccessCriteriaMet").as_deref(), Some("CompletionsReached"));
}

#[test]
fn failed_indexes_are_given_up_one_by_one() {
    let spec = json!({"completionMode": "Indexed", "backoffLimitPerIndex": 0, "backoffLimit": 100, "completions": 2});
    let pods = [
        pod("p0", "Failed", &json!({"index": "0", "exit": [1, "2026-01-01T00:10:00Z"]})),
        pod("p1", "Succeeded", &json!({"index": "1", "exit": [0, "2026-01-01T00:10:00Z"]})),
    ];
    let plan = step(&job(&spec, &json!({})), &pods);
    assert_eq!(plan.status.failed_indexes.as_deref(), Some("0"));
    assert_eq!(reason(&plan, "FailureTarget").as_deref(), Some("FailedIndexes"));
}

#[tokio::test(start_paused = true)]
async fn end_to_end_with_a_failure_and_ttl() {
    let cluster = Cluster::start(&["job-controller", "ttl-after-finished-controller"]);
    let fake = &cluster.fake;
    fake.create(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "d"},
        "spec": {"completions": 1, "backoffLimit": 3, "ttlSecondsAfterFinished": 100, "template":
            {"metadata": {"labels": {"batch.kubernetes.io/job-name": "j"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}}}));
    let end = |name: &str, phase: &str, at: &str| {
        let terminated = json!({"terminated": {"exitCode": 0, "finishedAt": at}});
        let status = json!({"phase": phase, "containerStatuses":
            [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": terminated}]});
        fake.merge("pods", &format!("d/{name}"), &json!({"status": status}));
    };
    let name = |index: usize| fake.list("pods")[index]["metadata"]["name"].as_str().unwrap().to_owned();
    fake.until(1, "the first pod", |f| f.list("pods").len() == 1).await;
    let first = name(0);
    end(&first, "Failed", "2026-01-01T00:00:00Z");
    fake.until(1, "the failure counts", |f| f.get("jobs", "d/j").unwrap()["status"]["failed"] == 1).await;
    assert_eq!(fake.list("pods").len(), 1, "back-off");
    fake.until(11, "the second pod after ten seconds", |f| f.list("pods").len() == 2).await;
    let second = if name(0) == first { name(1) } else { name(0) };
    end(&second, "Succeeded", "2026-01-01T00:00:20Z");
    let complete = |f: &crate::testing::Fake| {
        let conditions = f.get("jobs", "d/j").unwrap()["status"]["conditions"].clone();
        conditions.as_array().is_some_and(|c| c.iter().any(|c| c["type"] == "Complete"))
    };
    fake.until(1, "Complete", complete).await;
    let status = fake.get("jobs", "d/j").unwrap()["status"].clone();
    assert_eq!((&status["succeeded"], &status["failed"], &status["active"]), (&json!(1), &json!(1), &Value::Null));
    assert!(fake.list("pods").iter().all(|p| p["metadata"]["finalizers"].is_null()));
    assert_eq!(fake.requests("POST pods"), 2);
    fake.until(1, "the event", |f| f.list("events").iter().any(|e| e["reason"] == "Completed")).await;
    fake.until(101, "deleted by TTL", |f| !f.get("jobs", "d/j").unwrap()["metadata"]["deletionTimestamp"].is_null())
        .await;
    cluster.stop().await;
}
