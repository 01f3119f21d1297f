//! [sig-api-machinery] Namespaces and ordered deletion (test/e2e/apimachinery/namespace.go), and [sig-instrumentation] Events
//! (test/e2e/instrumentation/{core_events,events}.go).

use super::stage::{Patch, Scenario, Scene, play, scenarios};
use serde_json::{Value, json};
use tests::cluster::Options;

#[tokio::test]
async fn namespaces_and_events() {
    let all: &[Scenario] = scenarios![
        should_ensure_that_all_pods_are_removed_when_a_namespace_is_deleted,
        should_ensure_that_all_services_are_removed_when_a_namespace_is_deleted,
        should_delete_fast_enough,
        should_patch_a_namespace,
        should_apply_changes_to_a_namespace_status,
        should_apply_an_update_to_a_namespace,
        should_apply_a_finalizer_to_a_namespace,
        namespace_deletion_should_delete_pod_first,
        should_say_what_remains_in_a_namespace,
        should_manage_the_lifecycle_of_an_event,
        should_delete_a_collection_of_events,
        should_ensure_that_an_event_can_be_fetched_patched_deleted_and_listed,
        events_api_should_delete_a_collection_of_events,
    ];
    play(Options::default(), all).await;
}

/// A namespace beside the scenario's own.
async fn other(scene: &Scene) -> Scene {
    let namespace = format!("{}-x", scene.namespace);
    let other = Scene { namespace: namespace.clone(), ..scene.clone() };
    other.post("/api/v1/namespaces", json!({"metadata": {"name": namespace}})).await.ok();
    other.wait("serviceaccounts/default", "is there", |account| account.is_some()).await;
    other
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "skiff.local/none:1"}]}})
}

fn path(scene: &Scene) -> String {
    format!("/api/v1/namespaces/{}", scene.namespace)
}

async fn should_ensure_that_all_pods_are_removed_when_a_namespace_is_deleted(scene: Scene) {
    let other = other(&scene).await;
    other.post("pods", pod("test-pod")).await.ok();
    other.wait("pods/test-pod", "is on a node", |pod| pod.is_some_and(|pod| pod["spec"]["nodeName"].is_string())).await;
    other.delete(&path(&other), Value::Null).await.ok();
    other.gone(&path(&other)).await;
    other.post("/api/v1/namespaces", json!({"metadata": {"name": other.namespace}})).await.ok();
    other.get("pods/test-pod").await.refused(404, "pods \"test-pod\" not found");
}

async fn should_ensure_that_all_services_are_removed_when_a_namespace_is_deleted(scene: Scene) {
    let other = other(&scene).await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "test-service"},
        "spec": {"selector": {"foo": "bar", "baz": "blah"}, "ports": [{"port": 80, "targetPort": 80}]}});
    other.post("services", service).await.ok();
    other.delete(&path(&other), Value::Null).await.ok();
    other.gone(&path(&other)).await;
    other.post("/api/v1/namespaces", json!({"metadata": {"name": other.namespace}})).await.ok();
    other.get("services/test-service").await.refused(404, "services \"test-service\" not found");
}

async fn should_delete_fast_enough(scene: Scene) {
    // Kubernetes gives itself 150 seconds for 100.
    let label = json!({"of": scene.namespace});
    for n in 0..30 {
        let name = format!("nslifetest-{n}");
        scene.post("/api/v1/namespaces", json!({"metadata": {"name": name, "labels": label}})).await.ok();
    }
    for n in 0..30 {
        scene.delete(&format!("/api/v1/namespaces/nslifetest-{n}"), Value::Null).await.ok();
    }
    let ours = format!("/api/v1/namespaces?labelSelector=of%3D{}", scene.namespace);
    scene.wait_items(&ours, "none is left", <[Value]>::is_empty).await;
}

async fn should_patch_a_namespace(scene: Scene) {
    scene
        .patch(&path(&scene), Patch::Strategic, json!({"metadata": {"labels": {"testLabel": "testValue"}}}))
        .await
        .ok();
    let labels = scene.get(&path(&scene)).await.ok()["metadata"]["labels"].clone();
    assert_eq!(labels, json!({"testLabel": "testValue", "kubernetes.io/metadata.name": scene.namespace}));
}

async fn should_apply_changes_to_a_namespace_status(scene: Scene) {
    let status = format!("{}/status", path(&scene));
    assert_eq!(scene.get(&status).await.ok()["status"]["phase"], "Active");
    let patch = json!({"metadata": {"annotations": {"e2e-patched-ns-status": scene.namespace}},
        "status": {"conditions": [{"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched by an e2e test"}]}});
    let patched = scene.patch(&status, Patch::Merge, patch).await.ok();
    assert_eq!(patched["metadata"]["annotations"]["e2e-patched-ns-status"], *scene.namespace);
    assert_eq!(patched["status"]["conditions"][0]["type"], "StatusPatch");
    let mut current = scene.get(&path(&scene)).await.ok();
    let updated =
        json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Updated by an e2e test"});
    current["status"]["conditions"].as_array_mut().unwrap().push(updated);
    let updated = scene.put(&status, &current).await.ok();
    let kinds: Vec<&Value> = updated["status"]["conditions"].as_array().unwrap().iter().map(|c| &c["type"]).collect();
    assert_eq!(kinds, ["StatusPatch", "StatusUpdate"]);
}

async fn should_apply_an_update_to_a_namespace(scene: Scene) {
    let mut namespace = scene.get(&path(&scene)).await.ok();
    let label = scene.namespace.clone();
    namespace["metadata"]["labels"][&label] = "updated".into();
    assert_eq!(scene.put(&path(&scene), &namespace).await.ok()["metadata"]["labels"][&label], "updated");
}

async fn should_apply_a_finalizer_to_a_namespace(scene: Scene) {
    let finalize = format!("{}/finalize", path(&scene));
    let mut namespace = scene.get(&path(&scene)).await.ok();
    namespace["spec"]["finalizers"].as_array_mut().unwrap().push("e2e.example.com/fakeFinalizer".into());
    let added = scene.put(&finalize, &namespace).await.ok();
    assert_eq!(added["spec"]["finalizers"], json!(["kubernetes", "e2e.example.com/fakeFinalizer"]));
    let mut namespace = scene.get(&path(&scene)).await.ok();
    namespace["spec"]["finalizers"] = json!(["kubernetes"]);
    assert_eq!(scene.put(&finalize, &namespace).await.ok()["spec"]["finalizers"], json!(["kubernetes"]));
    // A plain update cannot: finalizers have a path of their own.
    namespace = scene.get(&path(&scene)).await.ok();
    namespace["spec"]["finalizers"] = json!([]);
    assert_eq!(scene.put(&path(&scene), &namespace).await.ok()["spec"]["finalizers"], json!(["kubernetes"]));
}

async fn namespace_deletion_should_delete_pod_first(scene: Scene) {
    let other = other(&scene).await;
    let mut held = pod("testing-pod");
    held["metadata"]["finalizers"] = json!(["e2e.example.com/finalizer"]);
    held["spec"]["nodeSelector"] = json!({"no": "such-node"});
    other.post("pods", held).await.ok();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "testing-configmap"}});
    other.post("configmaps", map).await.ok();
    other.delete(&path(&other), Value::Null).await.ok();
    let marked = |o: Option<&Value>| o.is_some_and(|o| o["metadata"]["deletionTimestamp"].is_string());
    other.wait("pods/testing-pod", "is being deleted", marked).await;
    let remaining = |namespace: Option<&Value>| {
        condition(namespace, "NamespaceContentRemaining").is_some_and(|c| c["status"] == "True")
    };
    other.wait(&path(&other), "says what remains", remaining).await;
    // As long as there are pods, what they may use stays.
    let map = other.get("configmaps/testing-configmap").await.ok();
    assert!(map["metadata"]["deletionTimestamp"].is_null(), "{map}");
    other.patch("pods/testing-pod", Patch::Merge, json!({"metadata": {"finalizers": null}})).await.ok();
    other.gone(&path(&other)).await;
}

fn condition<'a>(object: Option<&'a Value>, kind: &str) -> Option<&'a Value> {
    object?["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == kind)
}

async fn should_say_what_remains_in_a_namespace(scene: Scene) {
    let other = other(&scene).await;
    let mut held = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held"}});
    held["metadata"]["finalizers"] = json!(["e2e.example.com/finalizer"]);
    other.post("configmaps", held).await.ok();
    let deleted = other.delete(&path(&other), Value::Null).await.ok();
    assert_eq!((&deleted["kind"], &deleted["status"]["phase"]), (&json!("Namespace"), &json!("Terminating")));
    let said = |namespace: Option<&Value>| {
        condition(namespace, "NamespaceFinalizersRemaining").is_some_and(|c| c["status"] == "True")
    };
    let namespace = other.wait(&path(&other), "names the finalizers", said).await;
    let message =
        |kind| condition(Some(&namespace), kind).map(|c| (c["reason"].clone(), c["message"].clone())).unwrap();
    assert_eq!(
        message("NamespaceFinalizersRemaining"),
        (
            json!("SomeFinalizersRemain"),
            json!(
                "Some content in the namespace has finalizers remaining: e2e.example.com/finalizer in 1 resource instances"
            )
        )
    );
    assert_eq!(
        message("NamespaceContentRemaining"),
        (json!("SomeResourcesRemain"), json!("Some resources are remaining: configmaps. has 1 resource instances"))
    );
    for (kind, reason) in [
        ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions"),
        ("NamespaceDeletionContentFailure", "ContentDeleted"),
    ] {
        assert_eq!(message(kind).0, reason);
    }
    let more = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}});
    let refused = other.post("configmaps", more).await;
    let status = refused.refused(403, "because it is being terminated");
    assert_eq!(status["details"]["causes"][0]["reason"], "NamespaceTerminating");
    other.patch("configmaps/held", Patch::Merge, json!({"metadata": {"finalizers": null}})).await.ok();
    other.gone(&path(&other)).await;
}

fn core_event(scene: &Scene, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "labels": {"testevent-set": "true"}},
        "message": "This is a test event", "reason": "Test", "type": "Normal", "count": 1,
        "involvedObject": {"namespace": scene.namespace}})
}

async fn should_manage_the_lifecycle_of_an_event(scene: Scene) {
    // Its label is its own: the scenario of the other group has an event of this name, too.
    let mut event = core_event(&scene, "event-test");
    event["metadata"]["labels"] = json!({"testevent-constant": "true"});
    scene.post("events", event).await.ok();
    let everywhere = "/api/v1/events?labelSelector=testevent-constant%3Dtrue&fieldSelector=metadata.name%3Devent-test";
    assert_eq!(scene.items(everywhere).await.len(), 1);
    let patched =
        scene.patch("events/event-test", Patch::Strategic, json!({"message": "This is a test event - patched"})).await;
    assert_eq!(patched.ok()["message"], "This is a test event - patched");
    let mut event = scene.get("events/event-test").await.ok();
    event["series"] = json!({"count": 100, "lastObservedTime": "2026-01-01T00:00:00.000505Z"});
    scene.put("events/event-test", &event).await.ok();
    let stored = scene.get("events/event-test").await.ok();
    assert_eq!(stored["series"], json!({"count": 100, "lastObservedTime": "2026-01-01T00:00:00.000505Z"}));
    scene.delete("events/event-test", Value::Null).await.ok();
    scene.wait_items(everywhere, "none is left", <[Value]>::is_empty).await;
}

async fn should_delete_a_collection_of_events(scene: Scene) {
    for name in ["test-event-1", "test-event-2", "test-event-3"] {
        scene.post("events", core_event(&scene, name)).await.ok();
    }
    let ours = "events?labelSelector=testevent-set%3Dtrue";
    assert_eq!(scene.items(ours).await.len(), 3);
    scene.delete(ours, Value::Null).await.ok();
    assert!(scene.items(ours).await.is_empty());
}

const EVENTS: &str = "/apis/events.k8s.io/v1";

fn new_event(scene: &Scene, name: &str) -> Value {
    json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name, "labels": {"testevent-set": "true"}},
        "regarding": {"namespace": scene.namespace}, "eventTime": "2017-09-19T13:49:16.000000Z", "note": "This is event",
        "action": "Do", "reason": "Test", "type": "Normal",
        "reportingController": "test-controller", "reportingInstance": "test-node"})
}

async fn should_ensure_that_an_event_can_be_fetched_patched_deleted_and_listed(scene: Scene) {
    let events = format!("{EVENTS}/namespaces/{}/events", scene.namespace);
    let it = format!("{events}/event-test");
    scene.post(&events, new_event(&scene, "event-test")).await.ok();
    assert_eq!(
        scene
            .items(&format!(
                "{EVENTS}/events?fieldSelector=reportingController%3Dtest-controller,metadata.namespace%3D{}",
                scene.namespace
            ))
            .await
            .len(),
        1
    );
    assert_eq!(scene.items(&format!("{events}?fieldSelector=reportingController%3Dtest-controller")).await.len(), 1);
    let patch = json!({"series": {"count": 2, "lastObservedTime": "2017-09-19T13:49:16.000000Z"}});
    scene.patch(&it, Patch::Strategic, patch.clone()).await.ok();
    let mut event = scene.get(&it).await.ok();
    assert_eq!(event["series"], patch["series"]);
    event["series"] = json!({"count": 100, "lastObservedTime": "2017-09-19T13:49:16.000000Z"});
    scene.put(&it, &event).await.ok();
    assert_eq!(scene.get(&it).await.ok()["series"]["count"], 100);
    // The same object in the core group.
    let core = scene.get("events/event-test").await.ok();
    assert_eq!((&core["message"], &core["reportingComponent"]), (&json!("This is event"), &json!("test-controller")));
    scene.delete(&it, Value::Null).await.ok();
    assert!(scene.items(&events).await.is_empty());
}

async fn events_api_should_delete_a_collection_of_events(scene: Scene) {
    let events = format!("{EVENTS}/namespaces/{}/events", scene.namespace);
    for name in ["test-event-1", "test-event-2", "test-event-3"] {
        scene.post(&events, new_event(&scene, name)).await.ok();
    }
    let page = scene.get(&format!("{events}?limit=2")).await.ok();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["metadata"]["remainingItemCount"]), (2, &json!(1)));
    scene.delete(&format!("{events}?labelSelector=testevent-set%3Dtrue"), Value::Null).await.ok();
    assert!(scene.items(&events).await.is_empty());
}
