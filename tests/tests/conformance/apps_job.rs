//! [sig-apps] Job: test/e2e/apps/job.go, ttl_after_finished.go.

use super::apps_deployment::REPORT;
use super::scene::{Patch, Scene, condition, controller, has_condition, merged, play, scenarios, version};
use serde_json::{Value, json};
use tests::binary;

#[tokio::test]
async fn jobs() {
    play(scenarios![
        should_run_a_job_to_completion_when_tasks_succeed,
        should_allow_to_use_the_pod_failure_policy_on_exit_code_to_fail_the_job_early,
        should_allow_to_use_the_pod_failure_policy_to_not_count_the_failure_towards_the_backoff_limit,
        should_allow_to_use_a_pod_failure_policy_to_ignore_failure_matching_on_disruption_target_condition,
        should_not_create_pods_when_created_in_suspend_state,
        should_delete_pods_when_suspended,
        should_recreate_pods_only_after_they_have_failed,
        should_create_pods_for_an_indexed_job_with_completion_indexes_and_specified_hostname,
        should_execute_all_indexes_despite_some_failing_when_using_backoff_limit_per_index,
        should_terminate_job_execution_when_the_number_of_failed_indexes_exceeds_max_failed_indexes,
        should_mark_indexes_as_failed_when_the_fail_index_action_is_matched,
        with_success_policy_should_succeed_when_all_indexes_succeeded,
        with_success_policy_succeeded_indexes_rule,
        with_success_policy_succeeded_count_rule,
        should_allow_to_delegate_reconciliation_to_external_controller,
        elastic_indexed_job_scales_up_and_down,
        should_remove_pods_when_job_is_deleted,
        should_run_a_job_to_completion_when_tasks_sometimes_fail_and_are_locally_restarted,
        should_fail_when_exceeds_active_deadline,
        should_delete_a_job,
        should_adopt_matching_orphans_and_release_non_matching_pods,
        should_fail_to_exceed_backoff_limit,
        should_apply_changes_to_a_job_status,
        should_manage_the_lifecycle_of_a_job,
        should_update_the_status_ready_field,
        job_should_be_deleted_once_it_finishes_after_ttl_seconds,
    ])
    .await;
}

const JOBS: &str = "batch/v1/jobs";

fn job(name: &str, args: &[&str], spec: Value) -> Value {
    let container = json!({"name": "c", "image": REPORT, "imagePullPolicy": "IfNotPresent", "args": args});
    let template = json!({"metadata": {"labels": {"job": name}}, "spec": {
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}});
    let base = json!({"parallelism": 2, "completions": 4, "backoffLimit": 6, "template": template});
    json!({"metadata": {"name": name}, "spec": merged(base, spec)})
}

async fn ended(scene: &Scene, name: &str, kind: &str) -> Value {
    scene
        .until(&format!("{JOBS}/{name}"), kind, |job| {
            if kind == "Complete" {
                assert!(!has_condition(job, "Failed", "True"), "{}", job["status"]);
            }
            has_condition(job, kind, "True").then(|| job.clone())
        })
        .await
}

fn of(name: &str) -> String {
    format!("v1/pods?labelSelector=batch.kubernetes.io/job-name%3D{name}")
}

async fn running(scene: &Scene, name: &str, count: usize) -> Vec<Value> {
    scene
        .until_list(&of(name), &format!("{count} running"), |pods| {
            let running = pods.iter().filter(|p| p["status"]["phase"] == "Running").count();
            (running == count).then(|| pods.to_vec())
        })
        .await
}

/// The conditions in the order in which they came, as `type/reason`.
fn conditions(job: &Value) -> Vec<String> {
    let text = |c: &Value| format!("{}/{}", c["type"].as_str().unwrap(), c["reason"].as_str().unwrap_or_default());
    job["status"]["conditions"].as_array().into_iter().flatten().map(text).collect()
}

async fn should_run_a_job_to_completion_when_tasks_succeed(scene: Scene) {
    scene.create(JOBS, job("all-succeed", &[], json!({}))).await;
    let done = ended(&scene, "all-succeed", "Complete").await;
    let status = &done["status"];
    assert_eq!((&status["succeeded"], &status["ready"], &status["terminating"]), (&json!(4), &json!(0), &json!(0)));
    assert_eq!(conditions(&done), ["SuccessCriteriaMet/CompletionsReached", "Complete/CompletionsReached"]);
    assert_eq!(status["uncountedTerminatedPods"], json!({}), "{status}");
    assert!(status["active"].is_null() && status["failed"].is_null(), "{status}");
    let pods = scene.items(&of("all-succeed")).await;
    assert_eq!(pods.iter().filter(|p| p["status"]["phase"] == "Succeeded").count(), 4);
    for pod in &pods {
        assert!(pod["metadata"]["finalizers"].is_null(), "{pod}");
        let uid = &done["metadata"]["uid"];
        assert_eq!(pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"], *uid);
        assert_eq!(pod["metadata"]["labels"]["controller-uid"], *uid);
        assert_eq!(pod["metadata"]["labels"]["job-name"], "all-succeed");
    }
}

async fn should_allow_to_use_the_pod_failure_policy_on_exit_code_to_fail_the_job_early(scene: Scene) {
    let policy = json!({"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]});
    scene.create(JOBS, job("fail-early", &["--exit", "1"], json!({"podFailurePolicy": policy}))).await;
    let failed = ended(&scene, "fail-early", "Failed").await;
    assert_eq!(conditions(&failed), ["FailureTarget/PodFailurePolicy", "Failed/PodFailurePolicy"]);
    let message = condition(&failed, "Failed").unwrap()["message"].as_str().unwrap();
    assert!(message.contains("failed with exit code 1 matching FailJob rule at index 0"), "{message}");
}

/// The guest fails once for each folder, and succeeds from then on.
fn fails_once(scene: &Scene) -> Value {
    let module = binary::wat(scene.stage.cluster.scratch(), "fail-once");
    let spec = json!({"containers": [{"name": "c", "image": format!("file://{}", module.display()), "imagePullPolicy": "IfNotPresent",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}]}], "volumes": [{"name": "data", "emptyDir": {}}]});
    json!({"template": {"spec": spec}})
}

async fn should_allow_to_use_the_pod_failure_policy_to_not_count_the_failure_towards_the_backoff_limit(scene: Scene) {
    let policy = json!({"rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}}]});
    let spec = json!({"backoffLimit": 0, "parallelism": 1, "completions": 1, "podFailurePolicy": policy});
    scene.create(JOBS, job("ignored", &["--exit", "1"], spec)).await;
    // The failure is ignored: another pod comes, and the Job goes on.
    let pods = scene.until_list(&of("ignored"), "a second pod", |pods| (pods.len() > 1).then(|| pods.to_vec())).await;
    assert!(pods.iter().any(|p| p["status"]["phase"] == "Failed"), "{pods:?}");
    let now = scene.get(&format!("{JOBS}/ignored")).await;
    assert!(!has_condition(&now, "Failed", "True") && now["status"]["failed"].is_null(), "{now}");
}

async fn should_allow_to_use_a_pod_failure_policy_to_ignore_failure_matching_on_disruption_target_condition(
    scene: Scene,
) {
    let policy = json!({"rules": [{"action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]});
    let spec = json!({"backoffLimit": 0, "parallelism": 1, "completions": 1, "podFailurePolicy": policy,
        "completionMode": "Indexed"});
    scene.create(JOBS, job("evicted", &["--sleep", "600000"], spec)).await;
    let pod = running(&scene, "evicted", 1).await.remove(0);
    let name = pod["metadata"]["name"].as_str().unwrap();
    scene.create(&format!("v1/pods/{name}/eviction"), json!({"metadata": {"name": name}})).await;
    let next = scene
        .until_list(&of("evicted"), "its successor runs", |pods| {
            pods.iter().find(|p| p["metadata"]["name"] != name && p["status"]["phase"] == "Running").cloned()
        })
        .await;
    assert_ne!(next["metadata"]["uid"], pod["metadata"]["uid"]);
    let now = scene.get(&format!("{JOBS}/evicted")).await;
    assert!(now["status"]["failed"].is_null() && condition(&now, "Failed").is_none(), "{now}");
}

async fn should_not_create_pods_when_created_in_suspend_state(scene: Scene) {
    scene.create(JOBS, job("suspend-true-to-false", &[], json!({"suspend": true}))).await;
    let held = ended(&scene, "suspend-true-to-false", "Suspended").await;
    assert_eq!(conditions(&held), ["Suspended/JobSuspended"]);
    assert!(held["status"]["startTime"].is_null(), "{held}");
    assert!(scene.items(&of("suspend-true-to-false")).await.is_empty());
    scene.update(&format!("{JOBS}/suspend-true-to-false"), |j| j["spec"]["suspend"] = json!(false)).await;
    let done = ended(&scene, "suspend-true-to-false", "Complete").await;
    let resumed = condition(&done, "Suspended").unwrap();
    assert_eq!((&resumed["status"], &resumed["reason"]), (&json!("False"), &json!("JobResumed")));
}

async fn should_delete_pods_when_suspended(scene: Scene) {
    scene.create(JOBS, job("suspend-false-to-true", &["--sleep", "600000"], json!({}))).await;
    running(&scene, "suspend-false-to-true", 2).await;
    scene.update(&format!("{JOBS}/suspend-false-to-true"), |j| j["spec"]["suspend"] = json!(true)).await;
    scene.until_count(&of("suspend-false-to-true"), 0).await;
    let held = ended(&scene, "suspend-false-to-true", "Suspended").await;
    assert_eq!(condition(&held, "Suspended").unwrap()["reason"], "JobSuspended");
}

async fn should_recreate_pods_only_after_they_have_failed(scene: Scene) {
    let spec = json!({"podReplacementPolicy": "Failed", "parallelism": 1, "completions": 1});
    scene.create(JOBS, job("replaced", &["--sleep", "600000"], spec)).await;
    let pod = running(&scene, "replaced", 1).await.remove(0);
    let path = format!("v1/pods/{}", pod["metadata"]["name"].as_str().unwrap());
    // A finalizer holds the old pod, so that the order can be seen.
    scene
        .merge(&path, json!({"metadata": {"finalizers": ["batch.kubernetes.io/job-tracking", "example.com/hold"]}}))
        .await;
    let mut watch = scene.watch(&of("replaced"), version(&scene.get(&of("replaced")).await)).await;
    scene.delete(&path, json!(null)).await;
    let mut has_failed = false;
    loop {
        let (kind, seen) = watch.next().await;
        if seen["metadata"]["uid"] == pod["metadata"]["uid"] {
            has_failed |= seen["status"]["phase"] == "Failed";
        } else if kind == "ADDED" {
            assert!(has_failed, "a successor of a pod that has not failed yet");
            break;
        }
    }
    scene.merge(&path, json!({"metadata": {"finalizers": null}})).await;
    let next = running(&scene, "replaced", 1).await;
    assert!(next.iter().any(|p| p["metadata"]["uid"] != pod["metadata"]["uid"]), "{next:?}");
    let now = scene
        .until(&format!("{JOBS}/replaced"), "one failure", |j| (j["status"]["failed"] == 1).then(|| j.clone()))
        .await;
    assert_eq!(now["status"]["terminating"], 0, "{now}");
}

async fn should_create_pods_for_an_indexed_job_with_completion_indexes_and_specified_hostname(scene: Scene) {
    scene.create(JOBS, job("indexed-job", &[], json!({"completionMode": "Indexed"}))).await;
    let done = ended(&scene, "indexed-job", "Complete").await;
    assert_eq!((&done["status"]["completedIndexes"], &done["status"]["succeeded"]), (&json!("0-3"), &json!(4)));
    let mut seen = Vec::new();
    for pod in scene.items(&of("indexed-job")).await {
        let index = pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"].as_str().unwrap();
        assert_eq!(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"], index);
        assert_eq!(pod["spec"]["hostname"], format!("indexed-job-{index}"));
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with(&format!("indexed-job-{index}-")), "{name}");
        let log = scene.text(&format!("v1/pods/{name}/log")).await;
        assert!(log.contains(&format!("env JOB_COMPLETION_INDEX={index}\n")), "{log}");
        seen.push(index.to_owned());
    }
    seen.sort();
    assert_eq!(seen, ["0", "1", "2", "3"]);
}

/// A job whose odd indexes fail with the code 1: the exit code is the index's last bit.
fn odd_indexes_fail(scene: &Scene, name: &str, spec: Value) -> Value {
    let module = binary::wat(scene.stage.cluster.scratch(), "exit-code");
    let container = json!({"name": "c", "image": format!("file://{}", module.display()), "imagePullPolicy": "IfNotPresent",
        "command": ["exit-code"], "args": ["$(JOB_COMPLETION_INDEX)"]});
    let base = json!({"completionMode": "Indexed", "parallelism": 2, "completions": 2, "backoffLimitPerIndex": 0,
        "template": {"spec": {"containers": [container]}}});
    job(name, &[], merged(base, spec))
}

async fn should_execute_all_indexes_despite_some_failing_when_using_backoff_limit_per_index(scene: Scene) {
    scene.create(JOBS, odd_indexes_fail(&scene, "with-backoff-limit-per-index", json!({"backoffLimit": null}))).await;
    let failed = ended(&scene, "with-backoff-limit-per-index", "Failed").await;
    assert_eq!(conditions(&failed), ["FailureTarget/FailedIndexes", "Failed/FailedIndexes"]);
    assert_eq!(condition(&failed, "Failed").unwrap()["message"], "Job has failed indexes");
    let status = &failed["status"];
    assert_eq!((&status["completedIndexes"], &status["failedIndexes"]), (&json!("0"), &json!("1")));
    assert_eq!((&status["failed"], &status["succeeded"]), (&json!(1), &json!(1)));
}

async fn should_terminate_job_execution_when_the_number_of_failed_indexes_exceeds_max_failed_indexes(scene: Scene) {
    let args = json!({"template": {"spec": {"containers": [{"name": "c", "image": REPORT, "args": ["--exit", "1"]}]}},
        "completions": 10, "parallelism": 1, "maxFailedIndexes": 1, "backoffLimit": null});
    scene.create(JOBS, odd_indexes_fail(&scene, "with-max-failed-indexes", args)).await;
    let failed = ended(&scene, "with-max-failed-indexes", "Failed").await;
    assert_eq!(condition(&failed, "Failed").unwrap()["reason"], "MaxFailedIndexesExceeded");
    assert_eq!(
        (&failed["status"]["failedIndexes"], &failed["status"]["failed"]),
        (&json!("0,1"), &json!(2)),
        "{failed}"
    );
}

async fn should_mark_indexes_as_failed_when_the_fail_index_action_is_matched(scene: Scene) {
    let policy = json!({"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}]});
    let spec = json!({"backoffLimitPerIndex": 1, "podFailurePolicy": policy, "backoffLimit": null});
    scene.create(JOBS, odd_indexes_fail(&scene, "matching-fail-index-action", spec)).await;
    let failed = ended(&scene, "matching-fail-index-action", "Failed").await;
    assert_eq!(condition(&failed, "Failed").unwrap()["reason"], "FailedIndexes");
    let status = &failed["status"];
    assert_eq!((&status["completedIndexes"], &status["failedIndexes"]), (&json!("0"), &json!("1")));
    assert_eq!(status["failed"], 1, "it was not tried again: {status}");
}

async fn with_success_policy_should_succeed_when_all_indexes_succeeded(scene: Scene) {
    let policy = json!({"rules": [{"succeededIndexes": "0,1"}]});
    let spec = json!({"completionMode": "Indexed", "parallelism": 2, "completions": 2, "successPolicy": policy});
    scene.create(JOBS, job("with-success-policy-all-index-succeeded", &[], spec)).await;
    let done = ended(&scene, "with-success-policy-all-index-succeeded", "Complete").await;
    assert_eq!(conditions(&done), ["SuccessCriteriaMet/SuccessPolicy", "Complete/SuccessPolicy"]);
    assert_eq!(condition(&done, "SuccessCriteriaMet").unwrap()["message"], "Matched rules at index 0");
    assert_eq!(done["status"]["completedIndexes"], "0,1");
}

/// Index 0 ends at once; the others never.
fn only_zero_ends(scene: &Scene, name: &str, policy: Value) -> Value {
    let module = binary::wat(scene.stage.cluster.scratch(), "wait-unless-zero");
    let container = json!({"name": "c", "image": format!("file://{}", module.display()), "imagePullPolicy": "IfNotPresent",
        "command": ["wait"], "args": ["$(JOB_COMPLETION_INDEX)"]});
    job(
        name,
        &[],
        json!({"completionMode": "Indexed", "parallelism": 2, "completions": 2, "successPolicy": policy,
        "template": {"spec": {"containers": [container]}}}),
    )
}

async fn succeeds_with_zero_alone(scene: &Scene, name: &str, policy: Value) {
    scene.create(JOBS, only_zero_ends(scene, name, policy)).await;
    let done = ended(scene, name, "Complete").await;
    assert_eq!(conditions(&done), ["SuccessCriteriaMet/SuccessPolicy", "Complete/SuccessPolicy"]);
    let status = &done["status"];
    assert_eq!((&status["completedIndexes"], &status["succeeded"]), (&json!("0"), &json!(1)), "{status}");
    assert_eq!((&status["terminating"], &status["active"]), (&json!(0), &json!(null)), "{status}");
}

async fn with_success_policy_succeeded_indexes_rule(scene: Scene) {
    let policy = json!({"rules": [{"succeededIndexes": "0"}]});
    succeeds_with_zero_alone(&scene, "with-success-policy-succeeded-indexes-rule", policy).await;
}

async fn with_success_policy_succeeded_count_rule(scene: Scene) {
    let policy = json!({"rules": [{"succeededCount": 1}]});
    succeeds_with_zero_alone(&scene, "with-success-policy-succeeded-count-rule", policy).await;
}

async fn should_allow_to_delegate_reconciliation_to_external_controller(scene: Scene) {
    scene.create(JOBS, job("managed-by", &[], json!({"managedBy": "kubernetes.io/custom-job-controller"}))).await;
    scene.create(JOBS, job("ours", &[], json!({"managedBy": "kubernetes.io/job-controller"}))).await;
    ended(&scene, "ours", "Complete").await;
    let now = scene.get(&format!("{JOBS}/managed-by")).await;
    assert_eq!(now["status"], json!({}), "{now}");
    assert!(scene.items(&of("managed-by")).await.is_empty());
    let fixed = scene
        .stage
        .patch(
            &scene.path(&format!("{JOBS}/managed-by")),
            Patch::Merge,
            json!({"spec": {"managedBy": "example.com/other"}}),
        )
        .await;
    fixed.refused(422, "spec.managedBy: Invalid value: \"example.com/other\": field is immutable");
}

async fn elastic_indexed_job_scales_up_and_down(scene: Scene) {
    let spec = json!({"completionMode": "Indexed", "parallelism": 3, "completions": 3});
    scene.create(JOBS, job("elastic", &["--sleep", "600000"], spec)).await;
    running(&scene, "elastic", 3).await;
    let path = format!("{JOBS}/elastic");
    let indexes = |pods: &[Value]| {
        let mut all: Vec<String> = pods
            .iter()
            .filter(|p| p["metadata"]["deletionTimestamp"].is_null())
            .map(|p| p["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"].as_str().unwrap().to_owned())
            .collect();
        all.sort();
        all
    };
    for (size, wanted) in [(4, vec!["0", "1", "2", "3"]), (2, vec!["0", "1"]), (0, vec![])] {
        scene.merge(&path, json!({"spec": {"parallelism": size, "completions": size}})).await;
        scene.until_list(&of("elastic"), &format!("{wanted:?}"), |pods| (indexes(pods) == wanted).then_some(())).await;
    }
    ended(&scene, "elastic", "Complete").await;
    // Parallelism and completions go together.
    let answer = scene.stage.patch(&scene.path(&path), Patch::Merge, json!({"spec": {"completions": 7}})).await;
    answer.refused(422, "spec.completions: Invalid value: 7: can only be modified in tandem with spec.parallelism");
}

async fn should_remove_pods_when_job_is_deleted(scene: Scene) {
    scene.create(JOBS, job("all-pods-removed", &["--sleep", "600000"], json!({}))).await;
    running(&scene, "all-pods-removed", 2).await;
    scene.delete(&format!("{JOBS}/all-pods-removed"), json!({"propagationPolicy": "Background"})).await;
    scene.until_count(&of("all-pods-removed"), 0).await;
}

async fn should_run_a_job_to_completion_when_tasks_sometimes_fail_and_are_locally_restarted(scene: Scene) {
    let mut object =
        job("fail-once-local", &[], merged(fails_once(&scene), json!({"parallelism": 2, "completions": 2})));
    object["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure");
    scene.create(JOBS, object).await;
    let done = ended(&scene, "fail-once-local", "Complete").await;
    assert_eq!((&done["status"]["succeeded"], &done["status"]["failed"]), (&json!(2), &json!(null)));
    for pod in scene.items(&of("fail-once-local")).await {
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 1, "{}", pod["status"]);
    }
}

async fn should_fail_when_exceeds_active_deadline(scene: Scene) {
    scene
        .create(JOBS, job("exceed-active-deadline", &["--sleep", "600000"], json!({"activeDeadlineSeconds": 1})))
        .await;
    let failed = ended(&scene, "exceed-active-deadline", "Failed").await;
    let reason = condition(&failed, "Failed").unwrap();
    assert_eq!(reason["reason"], "DeadlineExceeded");
    assert_eq!(reason["message"], "Job was active longer than specified deadline");
}

async fn should_delete_a_job(scene: Scene) {
    scene.create(JOBS, job("foo", &["--sleep", "600000"], json!({}))).await;
    let active = |job: &Value| (job["status"]["active"] == 2).then_some(());
    scene.until(&format!("{JOBS}/foo"), "2 active", active).await;
    scene.delete(&format!("{JOBS}/foo"), json!({"propagationPolicy": "Foreground"})).await;
    scene.gone(&format!("{JOBS}/foo")).await;
    assert!(scene.items(&of("foo")).await.is_empty());
}

async fn should_adopt_matching_orphans_and_release_non_matching_pods(scene: Scene) {
    let owner = scene.create(JOBS, job("adopt-release", &["--sleep", "600000"], json!({}))).await;
    let pods = running(&scene, "adopt-release", 2).await;
    let path = format!("v1/pods/{}", pods[0]["metadata"]["name"].as_str().unwrap());
    scene.update(&path, |pod| pod["metadata"]["ownerReferences"] = json!(null)).await;
    let uid = &owner["metadata"]["uid"];
    scene.until(&path, "is adopted again", |pod| (controller(pod)?["uid"] == *uid).then_some(())).await;
    scene.update(&path, |pod| pod["metadata"]["labels"] = json!(null)).await;
    let free = scene
        .until(&path, "is released", |pod| (pod.is_object() && controller(pod).is_none()).then(|| pod.clone()))
        .await;
    assert!(free["metadata"]["finalizers"].is_null(), "nobody counts it any more: {free}");
    running(&scene, "adopt-release", 2).await;
}

async fn should_fail_to_exceed_backoff_limit(scene: Scene) {
    let spec = json!({"backoffLimit": 1, "parallelism": 2, "completions": 4});
    scene.create(JOBS, job("backofflimit", &["--exit", "1"], spec)).await;
    let failed = ended(&scene, "backofflimit", "Failed").await;
    let reason = condition(&failed, "Failed").unwrap();
    assert_eq!(reason["reason"], "BackoffLimitExceeded");
    assert_eq!(reason["message"], "Job has reached the specified backoff limit");
    let pods = scene.items(&of("backofflimit")).await;
    assert!(pods.len() == 2 && pods.iter().all(|p| p["status"]["phase"] == "Failed"), "{}", json!(pods));
    assert_eq!(
        scene.event("backofflimit", "BackoffLimitExceeded").await,
        "Job has reached the specified backoff limit"
    );
}

async fn should_apply_changes_to_a_job_status(scene: Scene) {
    let created = scene.create(JOBS, job("status", &["--sleep", "600000"], json!({}))).await;
    running(&scene, "status", 2).await;
    let path = format!("{JOBS}/status/status");
    let now = "2026-01-02T03:04:05Z";
    let custom = json!({"type": "CustomConditionType", "status": "True", "lastTransitionTime": now});
    let patch = json!({"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"conditions": [custom]}});
    let patched = scene.merge(&path, patch).await;
    assert_eq!(patched["metadata"]["annotations"]["patchedstatus"], "true");
    assert_eq!(condition(&patched, "CustomConditionType").unwrap()["lastTransitionTime"], now);
    let later = "2026-01-02T03:04:06Z";
    let written = scene.update(&path, |j| j["status"]["conditions"][0]["lastTransitionTime"] = json!(later)).await;
    assert_eq!(condition(&written, "CustomConditionType").unwrap()["lastTransitionTime"], later);
    assert_eq!(scene.get(&path).await["metadata"]["uid"], created["metadata"]["uid"]);
}

async fn should_manage_the_lifecycle_of_a_job(scene: Scene) {
    let selected = "batch/v1/jobs?labelSelector=e2e-job-label%3Dlifecycle";
    let mut watch = scene.watch(selected, version(&scene.get(selected).await)).await;
    let mut object = job("lifecycle", &[], json!({"suspend": true}));
    object["metadata"]["labels"] = json!({"e2e-job-label": "lifecycle"});
    scene.create(JOBS, object).await;
    scene.strategic(&format!("{JOBS}/lifecycle"), json!({"metadata": {"labels": {"lifecycle": "patched"}}})).await;
    watch.until("MODIFIED", |j| j["metadata"]["labels"]["lifecycle"] == "patched").await;
    scene
        .update(&format!("{JOBS}/lifecycle"), |j| {
            j["spec"]["suspend"] = json!(false);
            j["metadata"]["annotations"]["updated"] = json!("true");
        })
        .await;
    watch.until("MODIFIED", |j| j["metadata"]["annotations"]["updated"] == "true").await;
    assert_eq!(scene.items("/apis/batch/v1/jobs?labelSelector=e2e-job-label%3Dlifecycle").await.len(), 1);
    ended(&scene, "lifecycle", "Complete").await;
    scene.delete(selected, json!({"propagationPolicy": "Background"})).await;
    watch.until("DELETED", |j| j["metadata"]["labels"]["e2e-job-label"] == "lifecycle").await;
    assert!(scene.items("/apis/batch/v1/jobs?labelSelector=e2e-job-label%3Dlifecycle").await.is_empty());
}

async fn should_update_the_status_ready_field(scene: Scene) {
    scene.create(JOBS, job("ready", &["--sleep", "600000"], json!({}))).await;
    let ready = |count: i64| move |job: &Value| (job["status"]["ready"] == count).then_some(());
    scene.until(&format!("{JOBS}/ready"), "2 ready", ready(2)).await;
    scene.merge(&format!("{JOBS}/ready"), json!({"spec": {"suspend": true}})).await;
    scene.until(&format!("{JOBS}/ready"), "none ready", ready(0)).await;
}

async fn job_should_be_deleted_once_it_finishes_after_ttl_seconds(scene: Scene) {
    let mut object = job("rand-non-local", &[], json!({"ttlSecondsAfterFinished": 1}));
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    scene.create(JOBS, object).await;
    ended(&scene, "rand-non-local", "Complete").await;
    let path = format!("{JOBS}/rand-non-local");
    let deleting = scene
        .until(&path, "is being deleted", |j| j["metadata"]["deletionTimestamp"].is_string().then(|| j.clone()))
        .await;
    assert!(has_condition(&deleting, "Complete", "True"), "{deleting}");
    scene.merge(&path, json!({"metadata": {"finalizers": null}})).await;
    scene.gone(&path).await;
}
