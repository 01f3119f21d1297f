//! kube-rs and its runtime, as an operator uses them, over TCP and TLS.

use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use k8s_openapi::api::events::v1::Event as ClusterEvent;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, EvictParams, ListParams, LogParams, PartialObjectMeta, Patch,
    PatchParams, PostParams, PropagationPolicy,
};
use kube::core::GroupVersionKind;
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::finalizer::{Event as Step, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher::{self, Event as Seen};
use kube::runtime::{WatchStreamExt as _, reflector, wait};
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::json;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tests::rest::{self, LIMIT};
use tests::{Cluster, eventually};

const WEB: &str = "skiff.dev/examples/hello-http:v1";
const REPORT: &str = "skiff.dev/examples/cli-report:v1";
const FINALIZER: &str = "boats.example.com/harbour";

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"))
}

fn typed<T: DeserializeOwned>(object: serde_json::Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn conf(name: &str, value: &str) -> ConfigMap {
    typed(json!({"metadata": {"name": name, "labels": {"seen": "yes"}}, "data": {"a": value}}))
}

#[tokio::test]
async fn watchers_and_reflectors_follow_changes() {
    let cluster = Cluster::up().await;
    let client = cluster.client().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    maps.create(&PostParams::default(), &conf("before", "1")).await.unwrap();
    for list in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut events = pin!(watcher::watcher(maps.clone(), list.labels("seen=yes")));
        let mut next = async || within("an event", events.try_next()).await.unwrap().expect("a watcher never ends");
        assert!(matches!(next().await, Seen::Init));
        assert!(matches!(next().await, Seen::InitApply(map) if map.name_any() == "before"));
        assert!(matches!(next().await, Seen::InitDone));
        maps.create(&PostParams::default(), &conf("later", "1")).await.unwrap();
        assert!(matches!(next().await, Seen::Apply(map) if map.name_any() == "later"));
        maps.delete("later", &DeleteParams::default()).await.unwrap();
        assert!(matches!(next().await, Seen::Delete(map) if map.name_any() == "later"));
    }

    let (reader, writer) = reflector::store();
    let stream = reflector(writer, watcher::watcher(maps.clone(), watcher::Config::default().labels("seen=yes")));
    let follow = tokio::spawn(stream.default_backoff().touched_objects().for_each(async |_| {}));
    within("the store is ready", reader.wait_until_ready()).await.unwrap();
    assert_eq!(reader.len(), 1);
    maps.patch("before", &PatchParams::default(), &Patch::Merge(json!({"data": {"a": "2"}}))).await.unwrap();
    let key = reflector::ObjectRef::<ConfigMap>::new("before").within("default");
    eventually("the store has the change", LIMIT, || async {
        let map = reader.get(&key).ok_or("absent")?;
        if map.data.as_ref().is_some_and(|d| d["a"] == "2") { Ok(()) } else { Err("old") }
    })
    .await;
    let metadata: Api<PartialObjectMeta<ConfigMap>> = Api::default_namespaced(client);
    let mut metadata = pin!(watcher::watcher(metadata, watcher::Config::default()));
    let known = within("metadata", metadata.try_next()).await.unwrap();
    assert!(matches!(known, Some(Seen::Init)));
    follow.abort();
}

#[tokio::test]
async fn conditions_are_waited_for() {
    let cluster = Cluster::up().await;
    let client = cluster.client().await;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod: Pod = typed(rest::pod("web", WEB, json!({}), json!({})));
    pods.create(&PostParams::default(), &pod).await.unwrap();
    within("running", await_condition(pods.clone(), "web", conditions::is_pod_running())).await.unwrap();
    let uid = pods.get("web").await.unwrap().uid().unwrap();
    pods.evict("web", &EvictParams::default()).await.unwrap();
    within("deleted", await_condition(pods.clone(), "web", conditions::is_deleted(&uid))).await.unwrap();

    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{
        "name": "main", "image": REPORT, "imagePullPolicy": "IfNotPresent", "args": ["once"]}]}});
    let jobs: Api<Job> = Api::default_namespaced(client.clone());
    let job = typed(json!({"metadata": {"name": "once"}, "spec": {"template": template}}));
    jobs.create(&PostParams::default(), &job).await.unwrap();
    within("complete", await_condition(jobs.clone(), "once", conditions::is_job_completed())).await.unwrap();

    let deployments: Api<Deployment> = Api::default_namespaced(client);
    let labels = json!({"app": "web"});
    let deployment = typed(json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{
            "name": "main", "image": WEB, "imagePullPolicy": "IfNotPresent"}]}}}}));
    deployments.create(&PostParams::default(), &deployment).await.unwrap();
    let done = await_condition(deployments.clone(), "web", conditions::is_deployment_completed());
    within("deployed", done).await.unwrap();
    deployments
        .patch_scale("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 1}})))
        .await
        .unwrap();
    let mut params = DeleteParams::foreground();
    params.propagation_policy = Some(PropagationPolicy::Foreground);
    within("finalized", wait::delete::delete_and_finalize(deployments, "web", &params)).await.unwrap();
}

#[tokio::test]
async fn logs_are_read_and_streamed() {
    let cluster = Cluster::up().await;
    let client = cluster.client().await;
    let pods: Api<Pod> = Api::default_namespaced(client);
    let pod = typed(rest::pod("report", REPORT, json!({"args": ["first", "second"]}), json!({})));
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let ended = |pod: Option<&Pod>| {
        pod.and_then(|p| p.status.as_ref()?.phase.as_deref()).is_some_and(|phase| phase == "Succeeded")
    };
    within("ended", await_condition(pods.clone(), "report", ended)).await.unwrap();
    let follow = LogParams { follow: true, ..LogParams::default() };
    let lines: Vec<String> =
        within("the log", pods.log_stream("report", &follow).await.unwrap().lines().try_collect()).await.unwrap();
    assert!(lines.iter().any(|line| line == "arg 2: second"), "{lines:?}");
    let last = LogParams { tail_lines: Some(1), timestamps: true, ..LogParams::default() };
    assert_eq!(pods.logs("report", &last).await.unwrap().lines().count(), 1);
}

#[tokio::test]
async fn server_side_apply_owns_and_lets_go() {
    let cluster = Cluster::up().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client().await);
    let body = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a": value, "b": "1"}});
    let first = maps.patch("conf", &PatchParams::apply("first"), &Patch::Apply(body("1"))).await.unwrap();
    assert_eq!(first.managed_fields()[0].operation.as_deref(), Some("Apply"));
    let refused = maps.patch("conf", &PatchParams::apply("second"), &Patch::Apply(body("2"))).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert!(status.is_conflict(), "{status:?}");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"first\": .data.a");
    let forced = maps.patch("conf", &PatchParams::apply("second").force(), &Patch::Apply(body("2"))).await.unwrap();
    assert_eq!(forced.data.unwrap()["a"], "2");
    let less = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a": "2"}});
    let shared = maps.patch("conf", &PatchParams::apply("second"), &Patch::Apply(less)).await.unwrap();
    assert_eq!(shared.data.unwrap()["b"], "1", "the first still owns it");
    let mut entry = maps.entry("other").await.unwrap().or_insert(|| conf("other", "1"));
    entry.commit(&PostParams::default()).await.unwrap();
    entry.get_mut().data.as_mut().unwrap().insert("a".into(), "2".into());
    entry.commit(&PostParams::default()).await.unwrap();
    assert_eq!(maps.get("other").await.unwrap().data.unwrap()["a"], "2");
}

#[tokio::test]
async fn discovery_finds_every_kind_and_lists_it() {
    let cluster = Cluster::up().await;
    let client = cluster.client().await;
    let found = Discovery::new(client.clone()).run_aggregated().await.unwrap();
    let plain = Discovery::new(client.clone()).run().await.unwrap();
    let count = |discovery: &Discovery| discovery.groups().map(|g| g.recommended_resources().len()).sum::<usize>();
    assert_eq!(count(&found), count(&plain));
    let mut listed = 0;
    for (resource, capabilities) in found.groups().flat_map(kube::discovery::ApiGroup::recommended_resources) {
        if !capabilities.supports_operation(verbs::LIST) {
            continue;
        }
        let api: Api<DynamicObject> = match capabilities.scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespaced => Api::default_namespaced_with(client.clone(), &resource),
        };
        let list = api.list(&ListParams::default().limit(5)).await;
        list.unwrap_or_else(|error| panic!("list {}: {error}", resource.plural));
        api.list_metadata(&ListParams::default()).await.unwrap();
        listed += 1;
    }
    assert!(listed > 40, "{listed}");
    let nodes: Api<Node> = Api::all(client);
    assert_eq!(nodes.list(&ListParams::default()).await.unwrap().items.len(), 1);
}

fn boats() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Boat"), "boats")
}

fn definition() -> CustomResourceDefinition {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["sails"], "properties": {"sails": {"type": "integer", "minimum": 0}}},
        "status": {"type": "object", "properties": {"afloat": {"type": "boolean"}}}}});
    typed(json!({"metadata": {"name": "boats.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                      "schema": {"openAPIV3Schema": schema}}]}}))
}

#[derive(Debug)]
struct Failed(String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        Self(error.to_string())
    }
}

/// Each boat gets a ConfigMap that it owns, a status and an event; a boat that goes leaves a ConfigMap behind.
async fn sail(boat: Arc<DynamicObject>, client: Arc<Client>) -> Result<Action, Failed> {
    let boats: Api<DynamicObject> = Api::default_namespaced_with(client.as_ref().clone(), &boats());
    let step = finalizer(&boats, FINALIZER, boat, |step| async {
        let maps: Api<ConfigMap> = Api::default_namespaced(client.as_ref().clone());
        let force = PatchParams::apply("harbour").force();
        match step {
            Step::Apply(boat) => {
                let name = boat.name_any();
                let owner = boat.controller_owner_ref(&self::boats()).unwrap();
                let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"sails": boat.data["spec"]["sails"].to_string()},
                    "metadata": {"name": name, "ownerReferences": [owner]}});
                maps.patch(&name, &force, &Patch::Apply(map)).await?;
                let status = json!({"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": name}, "status": {"afloat": true}});
                boats.patch_status(&name, &force, &Patch::Apply(status)).await?;
                let event = Event {
                    type_: EventType::Normal,
                    reason: "Launched".into(),
                    note: Some(format!("{name} is afloat")),
                    action: "Launching".into(),
                    secondary: None,
                };
                let reporter = Reporter { controller: "harbour".into(), instance: None };
                let recorder = Recorder::new(client.as_ref().clone(), reporter);
                recorder.publish(&event, &boat.object_ref(&self::boats())).await?;
            }
            Step::Cleanup(boat) => {
                let name = format!("{}-was-here", boat.name_any());
                maps.patch(&name, &force, &Patch::Apply(conf(&name, "1"))).await?;
            }
        }
        Ok::<_, Failed>(Action::await_change())
    });
    step.await.map_err(|error| Failed(error.to_string()))
}

#[tokio::test]
async fn an_operator_reconciles_its_custom_resources() {
    let cluster = Cluster::up().await;
    let client = cluster.client().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &definition()).await.unwrap();
    let established = conditions::is_crd_established();
    within("established", await_condition(definitions.clone(), "boats.example.com", established)).await.unwrap();

    let api: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &boats());
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let operator = Controller::new_with(api.clone(), watcher::Config::default(), boats())
        .owns(maps.clone(), watcher::Config::default())
        .run(sail, |_, _, _| Action::requeue(Duration::from_millis(100)), Arc::new(client.clone()))
        .for_each(async |_| {});
    let operator = tokio::spawn(operator);

    let boat = DynamicObject::new("sloop", &boats()).data(json!({"spec": {"sails": 2}}));
    api.create(&PostParams::default(), &boat).await.unwrap();
    let afloat = |boat: Option<&DynamicObject>| boat.is_some_and(|b| b.data["status"]["afloat"] == true);
    let boat = within("afloat", await_condition(api.clone(), "sloop", afloat)).await.unwrap().unwrap();
    assert_eq!(boat.finalizers(), [FINALIZER]);
    assert_eq!(maps.get("sloop").await.unwrap().data.unwrap()["sails"], "2");
    // What belongs to the boat comes back.
    let uid = maps.get("sloop").await.unwrap().uid().unwrap();
    maps.delete("sloop", &DeleteParams::default()).await.unwrap();
    let again = |map: Option<&ConfigMap>| map.is_some_and(|m| m.uid().is_some_and(|new| new != uid));
    within("made again", await_condition(maps.clone(), "sloop", again)).await.unwrap();
    let events: Api<ClusterEvent> = Api::default_namespaced(client);
    eventually("an event", LIMIT, || async {
        let list = events.list(&ListParams::default().fields("reason=Launched")).await.unwrap();
        let event = list.items.into_iter().next().ok_or("none")?;
        if event.note.as_deref() == Some("sloop is afloat") { Ok(()) } else { Err("another note") }
    })
    .await;

    let uid = boat.uid().unwrap();
    api.delete("sloop", &DeleteParams::default()).await.unwrap();
    within("gone", await_condition(api.clone(), "sloop", conditions::is_deleted(&uid))).await.unwrap();
    assert!(maps.get("sloop-was-here").await.is_ok());
    let uid = maps.get_opt("sloop").await.unwrap().and_then(|map| map.uid()).unwrap_or_default();
    within("collected", await_condition(maps, "sloop", conditions::is_deleted(&uid))).await.unwrap();
    operator.abort();
    let uid = definitions.get("boats.example.com").await.unwrap().uid().unwrap();
    definitions.delete("boats.example.com", &DeleteParams::default()).await.unwrap();
    within("the kind is gone", await_condition(definitions, "boats.example.com", conditions::is_deleted(&uid)))
        .await
        .unwrap();
}
