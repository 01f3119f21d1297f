use super::plan::{Plan, View, plan};
use super::sets::{self, template_hash};
use super::status;
use crate::k8s::api::apps::v1::{Deployment, ReplicaSet};
use crate::testing::Cluster;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

const T0: &str = "2026-01-01T00:00:00Z";

fn deployment(spec: &Value, more: &Value) -> Deployment {
    let mut value = json!({
        "metadata": {"name": "web", "namespace": "d", "uid": "dep", "generation": 1, "resourceVersion": "1"},
        "spec": {"replicas": 10, "selector": {"matchLabels": {"app": "web"}}, "progressDeadlineSeconds": 600,
            "template": template("v1"),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}});
    for (field, value2) in spec.as_object().unwrap() {
        value["spec"][field] = value2.clone();
    }
    for (field, value2) in more.as_object().unwrap() {
        value[field] = value2.clone();
    }
    serde_json::from_value(value).unwrap()
}

fn template(version: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": version}]}})
}

/// (name, template, spec.replicas, available, revision)
fn set(name: &str, version: &str, replicas: i32, available: i32, revision: i32, sized: (i32, i32)) -> Arc<ReplicaSet> {
    let mut template = template(version);
    template["metadata"]["labels"]["pod-template-hash"] = json!(name);
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "d", "uid": name, "resourceVersion": "1",
                "creationTimestamp": format!("2026-01-01T00:00:{revision:02}Z"),
                "annotations": {sets::REVISION: revision.to_string(), sets::DESIRED: sized.0.to_string(), sets::MAX: sized.1.to_string()}},
            "spec": {"replicas": replicas, "selector": {}, "template": template},
            "status": {"replicas": replicas, "readyReplicas": available, "availableReplicas": available}}))
        .unwrap(),
    )
}

fn run(deployment: &Deployment, replica_sets: &[Arc<ReplicaSet>]) -> Plan {
    let now: Timestamp = T0.parse().unwrap();
    plan(&View { deployment, replica_sets: replica_sets.to_vec(), running: HashSet::new(), now })
}

fn sizes(plan: &Plan) -> Vec<(&str, i32)> {
    let mut sizes: Vec<_> = plan.sets.iter().map(|s| (s.name(), s.replicas())).collect();
    sizes.sort_unstable();
    sizes
}

#[test]
fn a_new_deployment_gets_one_full_replica_set() {
    let deployment = deployment(&json!({"replicas": 3}), &json!({}));
    let plan = run(&deployment, &[]);
    assert_eq!(plan.sets.len(), 1);
    let set = &plan.sets[0];
    let hash = template_hash(&deployment.spec.as_ref().unwrap().template, None);
    assert_eq!((set.name(), set.replicas()), (format!("web-{hash}").as_str(), 3));
    assert_eq!(plan.revision.as_deref(), Some("1"));
    let notes: Vec<_> = plan.notes().iter().map(|n| n.message.clone()).collect();
    assert_eq!(notes, [format!("Scaled up replica set web-{hash} from 0 to 3")]);
    let progressing = status::get(&plan.status, status::PROGRESSING).unwrap();
    assert_eq!(progressing.reason.as_deref(), Some("NewReplicaSetCreated"));
    assert_eq!(set.now.spec.as_ref().unwrap().selector.match_labels.as_ref().unwrap()["pod-template-hash"], hash);
}

/// The status of a set may still count pods that the set was told to delete a moment ago.
#[test]
fn pods_about_to_go_are_neither_room_nor_available() {
    let spec = json!({"replicas": 5, "template": template("v2"),
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}});
    let deployment = deployment(&spec, &json!({}));
    let lagging = |name: &str, version: &str, replicas: i32, counted: i32, revision: i32| {
        let mut set = set(name, version, replicas, counted, revision, (5, 6)).as_ref().clone();
        set.status.as_mut().unwrap().replicas = counted;
        Arc::new(set)
    };
    // Five old pods, four wanted; two new ones wanted, one there: five will be available, one may go.
    let plan = run(&deployment, &[lagging("old", "v1", 4, 5, 1), lagging("new", "v2", 2, 1, 2)]);
    assert_eq!(sizes(&plan), [("new", 2), ("old", 3)]);
    // No pod more until the old one is really gone.
    let plan = run(&deployment, &[lagging("old", "v1", 4, 5, 1), lagging("new", "v2", 1, 0, 2)]);
    assert_eq!(sizes(&plan), [("new", 1), ("old", 4)]);
    let plan = run(&deployment, &[lagging("old", "v1", 4, 4, 1), lagging("new", "v2", 1, 0, 2)]);
    assert_eq!(sizes(&plan), [("new", 2), ("old", 4)]);
}

#[test]
fn rolling_update_keeps_within_surge_and_availability() {
    // (new, old) as (replicas, available) → sizes after one step; 10 replicas, surge 3, unavailable 2.
    for (new, old, expected) in [
        ((0, 0), (10, 10), (3, 10)),
        ((3, 0), (10, 10), (3, 8)),
        ((3, 0), (8, 8), (5, 8)),
        ((5, 3), (8, 8), (5, 5)),
        ((10, 10), (2, 2), (10, 0)),
        // Broken old pods go first, as many as may.
        ((3, 0), (10, 4), (3, 8)),
    ] {
        let deployment = deployment(&json!({"template": template("v2")}), &json!({}));
        let sets = [set("old", "v1", old.0, old.1, 1, (10, 13)), set("new", "v2", new.0, new.1, 2, (10, 13))];
        let plan = run(&deployment, &sets);
        assert_eq!(sizes(&plan), [("new", expected.0), ("old", expected.1)], "{new:?} {old:?}");
    }
}

#[test]
fn scaling_during_a_rollout_is_proportional() {
    let deployment = deployment(&json!({"replicas": 20, "template": template("v2")}), &json!({}));
    let sets = [set("old", "v1", 8, 8, 1, (10, 13)), set("new", "v2", 5, 3, 2, (10, 13))];
    let plan = run(&deployment, &sets);
    let total: i32 = plan.sets.iter().map(super::Set::replicas).sum();
    assert_eq!(total, 25, "20 + 25 %");
    assert_eq!(sizes(&plan), [("new", 10), ("old", 15)]);
    assert!(plan.sets.iter().all(|s| s.desired() == Some(20)));
}

#[test]
fn rounding_of_fenceposts() {
    for (surge, unavailable, replicas, expected) in [
        (json!("25%"), json!("25%"), 10, (3, 2)),
        (json!(1), json!(0), 10, (1, 0)),
        (json!("0%"), json!("0%"), 10, (0, 1)),
        (json!("1%"), json!("1%"), 3, (1, 0)),
        (json!(0), json!(50), 3, (0, 3)),
    ] {
        let strategy =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        let deployment = deployment(&json!({"replicas": replicas, "strategy": strategy}), &json!({}));
        assert_eq!(
            (sets::most(&deployment) - sets::replicas(&deployment), sets::max_unavailable(&deployment)),
            expected
        );
    }
}

#[test]
fn recreate_waits_for_the_old_pods() {
    let spec = json!({"replicas": 2, "template": template("v2"), "strategy": {"type": "Recreate"}});
    let deployment = deployment(&spec, &json!({}));
    let plan_1 = run(&deployment, &[set("old", "v1", 2, 2, 1, (2, 2))]);
    assert_eq!(sizes(&plan_1), [("old", 0)]);
    let stopped = set("old", "v1", 0, 0, 1, (2, 2));
    let now = T0.parse().unwrap();
    let running = HashSet::from(["old".to_owned()]);
    let waits = plan(&View { deployment: &deployment, replica_sets: vec![Arc::clone(&stopped)], running, now });
    assert_eq!(waits.sets.len(), 1, "the old pods still run");
    let plan_3 = run(&deployment, &[stopped]);
    assert_eq!(plan_3.sets.iter().map(super::Set::replicas).sum::<i32>(), 2);
}

#[test]
fn progress_conditions_speak_kubernetes() {
    let available = json!({"status": {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1, "readyReplicas": 1,
        "observedGeneration": 1, "conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated",
        "lastUpdateTime": "2025-12-31T23:00:00Z", "lastTransitionTime": "2025-12-31T23:00:00Z"}]}});
    let deployment = deployment(&json!({"replicas": 2}), &available);
    let progressing = |plan: &Plan| {
        let c = status::get(&plan.status, status::PROGRESSING).unwrap().clone();
        (c.status, c.reason.unwrap(), c.message.unwrap())
    };
    let done = run(&deployment, &[set("web-1", "v1", 2, 2, 1, (2, 3))]);
    let text = "ReplicaSet \"web-1\" has successfully progressed.";
    assert_eq!(progressing(&done), ("True".into(), "NewReplicaSetAvailable".into(), text.into()));
    let verdict = status::get(&done.status, status::AVAILABLE).unwrap();
    assert_eq!(verdict.message.as_deref(), Some("Deployment has minimum availability."));
    let stuck = run(&deployment, &[set("web-1", "v1", 2, 1, 1, (2, 3))]);
    let text = "ReplicaSet \"web-1\" has timed out progressing.";
    assert_eq!(progressing(&stuck), ("False".into(), "ProgressDeadlineExceeded".into(), text.into()));
}

#[test]
fn rolling_back_takes_the_next_revision_and_history_is_limited() {
    let deployment = deployment(
        &json!({"replicas": 1, "revisionHistoryLimit": 1}),
        &json!({"status": {"replicas": 1,
        "updatedReplicas": 1, "availableReplicas": 1, "observedGeneration": 1}}),
    );
    let sets = [set("a", "v1", 1, 1, 1, (1, 2)), set("b", "v2", 0, 0, 2, (1, 2)), set("c", "v3", 0, 0, 3, (1, 2))];
    let plan = run(&deployment, &sets);
    let current = plan.sets.iter().find(|s| s.name() == "a").unwrap();
    assert_eq!(current.revision(), 4);
    assert_eq!(current.annotation(sets::REVISION_HISTORY), Some("1"));
    assert_eq!(plan.revision.as_deref(), Some("4"));
    let deleted: Vec<_> = plan.delete.iter().map(|s| s.metadata.name.clone().unwrap()).collect();
    assert_eq!(deleted, ["b"]);
}

#[test]
fn the_largest_sizes_there_are_overflow_nothing() {
    let most = i32::MAX;
    let large = deployment(&json!({"replicas": most}), &json!({}));
    assert_eq!(run(&large, &[]).sets[0].replicas(), most);
    let sets = [set("a", "v0", most, most, 1, (most, most)), set("b", "v1", most, most, 2, (most, most))];
    let plan = run(&large, &sets);
    assert_eq!(plan.status.replicas, Some(most));
    run(&deployment(&json!({"replicas": 1, "paused": true}), &json!({})), &sets);
}

#[test]
fn a_paused_deployment_only_scales() {
    let deployment = deployment(&json!({"paused": true, "replicas": 4, "template": template("v2")}), &json!({}));
    let plan = run(&deployment, &[set("old", "v1", 2, 2, 1, (2, 3))]);
    assert_eq!(sizes(&plan), [("old", 4)]);
    let paused = status::get(&plan.status, status::PROGRESSING).unwrap();
    assert_eq!(paused.reason.as_deref(), Some("DeploymentPaused"));
}

#[tokio::test(start_paused = true)]
async fn end_to_end_rollout_creates_no_pod_twice() {
    let cluster = Cluster::start(&["deployment-controller", "replicaset-controller"]);
    let fake = &cluster.fake;
    let object = deployment(&json!({"replicas": 5}), &json!({}));
    let mut object = serde_json::to_value(object).unwrap();
    object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    fake.create(object);
    fake.until(5, "5 pods", |f| f.list("pods").len() == 5).await;
    fake.run_pods(T0);
    let complete = |f: &crate::testing::Fake, revision: &str| {
        let d = f.get("deployments", "d/web").unwrap();
        d["status"]["availableReplicas"] == 5
            && d["status"]["updatedReplicas"] == 5
            && d["status"]["replicas"] == 5
            && d["metadata"]["annotations"][sets::REVISION] == revision
    };
    fake.until(5, "available", |f| complete(f, "1")).await;
    assert_eq!(fake.requests("POST pods"), 5);
    fake.merge("deployments", "d/web", &json!({"metadata": {"generation": 2}, "spec": {"template": template("v2")}}));
    for _ in 0..40 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        fake.run_pods(T0);
        for pod in fake.list("pods").iter().filter(|p| !p["metadata"]["deletionTimestamp"].is_null()) {
            let key = format!("d/{}", pod["metadata"]["name"].as_str().unwrap());
            fake.delete("pods", &key, &json!({"gracePeriodSeconds": 0}));
        }
    }
    fake.until(5, "rolled over", |f| complete(f, "2") && f.list("pods").len() == 5).await;
    assert_eq!(fake.requests("POST pods"), 10, "five of each template");
    let reasons: HashSet<_> = fake.list("events").iter().map(|e| e["reason"].as_str().unwrap().to_owned()).collect();
    assert!(reasons.contains("ScalingReplicaSet") && reasons.contains("SuccessfulCreate"), "{reasons:?}");
    cluster.stop().await;
}
