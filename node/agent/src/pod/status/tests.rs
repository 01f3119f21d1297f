//! Records in, the kubelet's statuses out.

use super::*;
use serde_json::json;

fn pod(policy: &str, inits: &[&str], apps: &[&str]) -> v1::Pod {
    let list = |names: &[&str]| names.iter().map(|n| json!({"name": n, "image": "i"})).collect::<Vec<_>>();
    serde_json::from_value(json!({
        "metadata": {"name": "p", "uid": "u", "generation": 3},
        "spec": {"restartPolicy": policy, "initContainers": list(inits), "containers": list(apps)}
    }))
    .unwrap()
}

fn record(pod: &v1::Pod) -> PodRecord {
    PodRecord::new(pod.spec.as_ref().unwrap())
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn end(code: i32) -> Terminated {
    Terminated {
        exit_code: code,
        reason: if code == 0 { "Completed" } else { "Error" }.into(),
        message: String::new(),
        started_at: Some(now()),
        finished_at: Some(now()),
        container_id: "wasmtime://1".into(),
    }
}

fn status(pod: &v1::Pod, record: &PodRecord) -> PodStatus {
    compute(record, &Context { pod, host_ip: [127, 0, 0, 1].into(), now: now(), before: &[] })
}

fn check_condition(status: &PodStatus, type_: &str, expected: &str, reason: &str, message: &str) {
    let c = status.conditions.iter().flatten().find(|c| c.type_ == type_).unwrap();
    let actual = (c.status.as_str(), c.reason.as_deref().unwrap_or(""), c.message.as_deref().unwrap_or(""));
    assert_eq!(actual, (expected, reason, message), "{type_}");
}

#[test]
fn a_new_pod_is_pending_and_says_why() {
    let pod = pod("Always", &[], &["a", "b"]);
    let status = status(&pod, &record(&pod));
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let waiting = status.container_statuses.as_ref().unwrap()[0].state.as_ref().unwrap().waiting.as_ref().unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("ContainerCreating"));
    check_condition(&status, "Ready", "False", "ContainersNotReady", "containers with unready status: [a b]");
    check_condition(&status, "Initialized", "True", "", "");
    check_condition(&status, "PodReadyToStartContainers", "False", "", "");
    assert_eq!(status.observed_generation, Some(3));
}

#[test]
fn init_containers_hold_the_pod_in_pending() {
    let pod = pod("Always", &["i1", "i2"], &["a"]);
    let mut record = record(&pod);
    record.containers[0].terminate(end(0));
    let now = status(&pod, &record);
    assert_eq!(now.phase.as_deref(), Some("Pending"));
    check_condition(
        &now,
        "Initialized",
        "False",
        "ContainersNotInitialized",
        "containers with incomplete status: [i2]",
    );
    assert!(now.init_container_statuses.as_ref().unwrap()[0].ready);
    record.containers[1].terminate(end(1));
    assert_eq!(status(&pod, &record).phase.as_deref(), Some("Pending"));
    let never = super::tests::pod("Never", &["i1"], &["a"]);
    let mut record = super::tests::record(&never);
    record.containers[0].terminate(end(1));
    assert_eq!(status(&never, &record).phase.as_deref(), Some("Failed"));
}

#[test]
fn phases_follow_the_restart_policy() {
    let check = |policy: &str, codes: &[i32], expected: &str| {
        let names: Vec<String> = (0..codes.len()).map(|i| format!("c{i}")).collect();
        let pod = pod(policy, &[], &names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut record = record(&pod);
        for (container, code) in record.containers.iter_mut().zip(codes) {
            container.terminate(end(*code));
        }
        assert_eq!(status(&pod, &record).phase.as_deref(), Some(expected), "{policy} {codes:?}");
    };
    check("Always", &[0], "Running");
    check("Always", &[1], "Running");
    check("OnFailure", &[0], "Succeeded");
    check("OnFailure", &[1], "Running");
    check("Never", &[0, 0], "Succeeded");
    check("Never", &[0, 1], "Failed");
}

#[test]
fn a_running_pod_is_ready_with_its_containers_and_gates() {
    let mut pod = pod("Always", &[], &["a"]);
    let mut record = record(&pod);
    record.sandbox_ready = true;
    record.ip = Some([127, 64, 0, 5].into());
    let c = &mut record.containers[0];
    (c.state, c.ready, c.started) = (State::Running { started_at: now() }, true, true);
    let running = status(&pod, &record);
    assert_eq!(running.phase.as_deref(), Some("Running"));
    assert_eq!(running.pod_ip.as_deref(), Some("127.64.0.5"));
    check_condition(&running, "Ready", "True", "", "");
    pod.spec.as_mut().unwrap().readiness_gates = Some(vec![v1::PodReadinessGate { condition_type: "lb".into() }]);
    let gated = status(&pod, &record);
    check_condition(&gated, "ContainersReady", "True", "", "");
    check_condition(
        &gated,
        "Ready",
        "False",
        "ReadinessGatesNotReady",
        "corresponding condition of pod readiness gate \"lb\" does not exist.",
    );
}

#[test]
fn what_others_do_to_the_readiness_is_noticed() {
    let condition = |type_: &str, status: &str| v1::PodCondition {
        type_: type_.into(),
        status: status.into(),
        ..Default::default()
    };
    let stored = |conditions: Vec<v1::PodCondition>| {
        let mut pod = pod("Always", &[], &["a"]);
        pod.spec.as_mut().unwrap().readiness_gates = Some(vec![v1::PodReadinessGate { condition_type: "lb".into() }]);
        pod.status = Some(v1::PodStatus { conditions: Some(conditions), ..Default::default() });
        pod
    };
    let before = stored(vec![condition("Ready", "True"), condition("Other", "True")]);
    let written = before.status.clone().unwrap();
    let same = stored(vec![condition("Other", "False"), condition("Ready", "True")]);
    assert_eq!(readiness(&before), readiness(&same));
    assert!(!is_overruled(&same, &written));
    let gate = stored(vec![condition("Ready", "True"), condition("lb", "True")]);
    assert_ne!(readiness(&before), readiness(&gate));
    assert!(!is_overruled(&gate, &written));
    for conditions in [vec![condition("Ready", "False")], vec![]] {
        let overruled = stored(conditions);
        assert_ne!(readiness(&before), readiness(&overruled));
        assert!(is_overruled(&overruled, &written));
    }
}

#[test]
fn a_pod_is_not_over_while_a_sidecar_runs() {
    let mut pod = pod("Never", &["side"], &["a"]);
    let inits = pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap();
    inits[0].restart_policy = Some("Always".into());
    for code in [0, 1] {
        let mut record = record(&pod);
        record.initialized = true;
        record.containers[0].state = State::Running { started_at: now() };
        record.containers[1].terminate(end(code));
        assert_eq!(phase(pod.spec.as_ref().unwrap(), &record), Phase::Running);
        record.containers[0].terminate(end(0));
        let over = if code == 0 { Phase::Succeeded } else { Phase::Failed };
        assert_eq!(phase(pod.spec.as_ref().unwrap(), &record), over);
    }
}

#[test]
fn a_finished_pod_reports_completion() {
    let pod = pod("Never", &[], &["a"]);
    let mut record = record(&pod);
    record.containers[0].terminate(end(0));
    record.finished = true;
    let done = status(&pod, &record);
    check_condition(&done, "Ready", "False", "PodCompleted", "");
    check_condition(&done, "Initialized", "True", "PodCompleted", "");
}

#[test]
fn transition_times_stay_until_the_status_changes() {
    let pod = pod("Always", &[], &["a"]);
    let record = record(&pod);
    let first = status(&pod, &record);
    let later = "2026-01-02T00:00:00Z".parse().unwrap();
    let second = compute(
        &record,
        &Context {
            pod: &pod,
            host_ip: [127, 0, 0, 1].into(),
            now: later,
            before: first.conditions.as_deref().unwrap(),
        },
    );
    assert_eq!(first.conditions, second.conditions);
}

#[test]
fn after_a_crash_of_the_agent_pods_come_back_by_their_policy() {
    let running = json!([{"name": "a", "image": "i", "imageID": "x", "ready": true, "restartCount": 2,
        "containerID": "wasmtime://9", "state": {"running": {"startedAt": "2025-12-31T00:00:00Z"}}}]);
    let resume = |policy: &str| {
        let pod = pod(policy, &[], &["a"]);
        let status = serde_json::from_value(json!({"containerStatuses": running})).unwrap();
        PodRecord::resume(pod.spec.as_ref().unwrap(), &status, now())
    };
    let always = resume("Always");
    assert_eq!(always.containers[0].restart_count, 3);
    assert_eq!(always.containers[0].last.as_ref().unwrap().reason, "ContainerStatusUnknown");
    assert!(matches!(always.containers[0].state, State::Waiting { .. }));
    let never = resume("Never");
    let State::Terminated(end) = &never.containers[0].state else { panic!("still waiting") };
    assert_eq!((end.exit_code, end.reason.as_str()), (137, "ContainerStatusUnknown"));
    assert_eq!(never.containers[0].restart_count, 2);
}

#[test]
fn the_patch_names_the_uid_and_replaces_an_old_address() {
    let pod = pod("Always", &[], &["a"]);
    let mut record = record(&pod);
    record.ip = Some([127, 64, 0, 5].into());
    let status = status(&pod, &record);
    let value = patch("u", &status, Cleared { pod_ips: true, reason: true });
    assert_eq!(value["metadata"]["uid"], "u");
    assert_eq!(value["status"]["podIPs"], json!([{"$patch": "replace"}, {"ip": "127.64.0.5"}]));
    assert!(value["status"]["reason"].is_null());
    assert!(value["status"].get("nominatedNodeName").is_none());
}
