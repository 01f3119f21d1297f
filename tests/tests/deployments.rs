//! Deployments: what holds at every moment of a rollout, not only at its end.

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tests::rest::{self, Rest};
use tests::{Cluster, eventually, web};

const HTTP: &str = "skiff.dev/examples/hello-http:v1";

fn deployment(name: &str, replicas: u32) -> Value {
    let container = json!({
        "name": "main", "image": HTTP, "imagePullPolicy": "IfNotPresent", "ports": [{"containerPort": 8080}],
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    })
}

/// A patch of the pods' template.
fn version(value: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"version": value}}}}})
}

async fn rolled_out(rest: &Rest, name: &str, replicas: u64) -> Value {
    rest.until(&format!("deployments/{name}"), "rolled out", |d| {
        let status = &d["status"];
        let done = status["observedGeneration"] == d["metadata"]["generation"]
            && [&status["updatedReplicas"], &status["availableReplicas"], &status["replicas"]]
                .iter()
                .all(|n| n.as_u64() == Some(replicas));
        done.then(|| d.clone())
    })
    .await
}

async fn sets(rest: &Rest) -> Vec<Value> {
    rest.items("replicasets").await
}

/// Follows every change of the pods, in order, and returns (fewest ready, most at all) until `stop` resolves.
async fn extremes(pods: Api<Pod>, stop: impl Future<Output = ()>) -> (usize, usize) {
    let list = pods.list(&ListParams::default()).await.unwrap();
    let mut state: BTreeMap<String, bool> = BTreeMap::new();
    for pod in &list.items {
        state.insert(pod.metadata.name.clone().unwrap(), ready(pod));
    }
    let since = list.metadata.resource_version.unwrap();
    let mut events = pods.watch(&WatchParams::default(), &since).await.unwrap().boxed();
    let (mut fewest, mut most) = (usize::MAX, 0);
    tokio::pin!(stop);
    loop {
        fewest = fewest.min(state.values().filter(|r| **r).count());
        most = most.max(state.len());
        let event = tokio::select! {
            event = events.try_next() => event.unwrap().expect("the watch goes on"),
            () = &mut stop => return (fewest, most),
        };
        match event {
            // A pod that is going counts neither as available nor against maxSurge.
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) if pod.metadata.deletion_timestamp.is_none() => {
                state.insert(pod.metadata.name.clone().unwrap(), ready(&pod));
            }
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) | WatchEvent::Deleted(pod) => {
                state.remove(&pod.metadata.name.unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

#[tokio::test]
async fn a_rolling_update_never_goes_below_what_is_promised() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create(deployment("web", 5)).await;
    rolled_out(&rest, "web", 5).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let pods = Api::default_namespaced(rest.client.clone());
    let watching = tokio::spawn(extremes(pods, async {
        let _ = stopped.await;
    }));
    rest.patch("deployments/web", version("two")).await;
    let done = rolled_out(&rest, "web", 5).await;
    stop.send(()).unwrap();
    let (fewest, most) = watching.await.unwrap();
    assert!(fewest >= 4, "{fewest} ready at one time");
    assert!(most <= 6, "{most} pods at one time");
    assert_eq!(rest::condition(&done, "Progressing").unwrap()["reason"], "NewReplicaSetAvailable", "{done}");
    assert!(rest::has_condition(&done, "Available", "True"), "{done}");
}

/// With no pod unavailable, nobody who asks the Service notices a rollout.
#[tokio::test]
async fn a_rollout_loses_no_request() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let mut object = deployment("web", 3);
    object["spec"]["strategy"]["rollingUpdate"] = json!({"maxUnavailable": 0, "maxSurge": 2});
    rest.create(object).await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    let address = format!("{}:80", rest.create(service).await["spec"]["clusterIP"].as_str().unwrap());
    rolled_out(&rest, "web", 3).await;
    eventually("the Service answers", rest::LIMIT, || async {
        web::get(&address, "/").await.map_err(|e| format!("{e:#}"))
    })
    .await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let asking = tokio::spawn(async move {
        let mut answers = 0_u32;
        while stopped.try_recv().is_err() {
            let (status, body) = web::get(&address, "/").await.unwrap_or_else(|e| panic!("after {answers}: {e:#}"));
            assert_eq!(status, 200, "after {answers}: {body}");
            answers += 1;
        }
        answers
    });
    for version_name in ["two", "three", "four"] {
        rest.patch("deployments/web", version(version_name)).await;
        rolled_out(&rest, "web", 3).await;
        rest.until("pods", "the old ones are gone", |l| (l["items"].as_array()?.len() == 3).then_some(())).await;
    }
    stop.send(()).unwrap();
    assert!(asking.await.unwrap() > 5);
}

#[tokio::test]
async fn history_keeps_the_way_back() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let mut first = deployment("web", 2);
    rest::merge(&mut first["spec"]["template"]["metadata"], json!({"annotations": {"version": "one"}}));
    rest.create(first).await;
    rolled_out(&rest, "web", 2).await;
    let original = sets(&rest).await[0]["metadata"]["name"].clone();
    rest.patch("deployments/web", version("two")).await;
    rolled_out(&rest, "web", 2).await;
    assert_eq!(sets(&rest).await.len(), 2);
    // What `kubectl rollout undo` does: the old template again.
    rest.patch("deployments/web", version("one")).await;
    let back = rolled_out(&rest, "web", 2).await;
    let all = sets(&rest).await;
    assert_eq!(all.len(), 2, "the old ReplicaSet serves again: {all:?}");
    let active = all.iter().find(|s| s["spec"]["replicas"] == 2).unwrap();
    assert_eq!(active["metadata"]["name"], original);
    let revision = |o: &Value| o["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone();
    assert_eq!((revision(active), revision(&back)), (json!("3"), json!("3")));
    // The limit cleans up what nobody can go back to.
    rest.patch("deployments/web", json!({"spec": {"revisionHistoryLimit": 0}})).await;
    rest.until("replicasets", "one is left", |l| (l["items"].as_array()?.len() == 1).then_some(())).await;
}

#[tokio::test]
async fn a_paused_deployment_scales_but_does_not_roll() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create(deployment("web", 1)).await;
    rolled_out(&rest, "web", 1).await;
    rest.patch("deployments/web", json!({"spec": {"paused": true}})).await;
    rest.patch("deployments/web", version("two")).await;
    rest.patch("deployments/web/scale", json!({"spec": {"replicas": 3}})).await;
    let paused = rest
        .until("deployments/web", "3 available, paused", |d| {
            let observed = d["status"]["observedGeneration"] == d["metadata"]["generation"];
            (observed && d["status"]["availableReplicas"] == 3).then(|| d.clone())
        })
        .await;
    assert_eq!(rest::condition(&paused, "Progressing").unwrap()["reason"], "DeploymentPaused", "{paused}");
    assert_eq!(sets(&rest).await.len(), 1, "no second ReplicaSet while it is paused");
    rest.patch("deployments/web", json!({"spec": {"paused": false}})).await;
    rolled_out(&rest, "web", 3).await;
    assert_eq!(sets(&rest).await.len(), 2);
}

#[tokio::test]
async fn a_rollout_that_cannot_go_on_says_so_and_keeps_the_old_pods() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create(deployment("web", 2)).await;
    rolled_out(&rest, "web", 2).await;
    let broken = json!({"spec": {"progressDeadlineSeconds": 1,
        "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
        "template": {"spec": {"containers": [{"name": "main", "image": "no.such/image:v1", "imagePullPolicy": "Never"}]}}}});
    rest.patch("deployments/web", broken).await;
    let stuck = rest
        .until("deployments/web", "ProgressDeadlineExceeded", |d| {
            (rest::condition(d, "Progressing")?["reason"] == "ProgressDeadlineExceeded").then(|| d.clone())
        })
        .await;
    assert!(rest::has_condition(&stuck, "Progressing", "False"), "{stuck}");
    assert_eq!(stuck["status"]["availableReplicas"], 2, "{stuck}");
}

#[tokio::test]
async fn recreate_never_runs_two_versions() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let mut object = deployment("web", 2);
    object["spec"]["strategy"] = json!({"type": "Recreate"});
    rest.create(object).await;
    rolled_out(&rest, "web", 2).await;
    let old: Vec<Value> = rest.items("pods").await.iter().map(|p| p["metadata"]["uid"].clone()).collect();
    rest.patch("deployments/web", version("two")).await;
    rest.until("pods", "the new ones", |list| {
        let pods = list["items"].as_array()?;
        let is_old = |p: &&Value| old.contains(&p["metadata"]["uid"]);
        let (olds, news) = (pods.iter().filter(is_old).count(), pods.len() - pods.iter().filter(is_old).count());
        assert!(olds == 0 || news == 0, "{olds} old beside {news} new");
        (news == 2).then_some(())
    })
    .await;
    rolled_out(&rest, "web", 2).await;
}
