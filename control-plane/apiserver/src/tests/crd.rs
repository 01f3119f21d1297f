//! Custom resources through the same pipeline as built-in kinds.

use super::Cluster;
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const TABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["cron"], "properties": {
            "cron": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
            "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
            "color": {"type": "string", "enum": ["red", "blue"]},
            "selector": {"type": "string"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "port": {"x-kubernetes-int-or-string": true},
            "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}},
        }},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "phase": {"type": "string"}}},
    }})
}

fn version(name: &str, storage: bool) -> Value {
    json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema()},
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".spec.selector"}},
        "selectableFields": [{"jsonPath": ".spec.color"}],
        "additionalPrinterColumns": [
            {"name": "Spec", "type": "string", "jsonPath": ".spec.cron"},
            {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]})
}

fn crd(versions: &[Value]) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {"group": "stable.example.com", "scope": "Namespaced", "versions": versions,
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]}}})
}

fn tab(name: &str, color: &str) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name},
        "spec": {"cron": "* * * * */5", "color": color}})
}

/// Waits until the CRD is as `wanted` says.
pub(super) async fn until(cluster: &Cluster, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut events = cluster.watch(&format!("{CRDS}?watch=1&fieldSelector=metadata.name={name}")).await;
    loop {
        let event = events.next().await.expect("one more event");
        if wanted(&event["object"]) {
            return event["object"].clone();
        }
    }
}

pub(super) fn condition(crd: &Value, kind: &str) -> String {
    let list = crd["status"]["conditions"].as_array().into_iter().flatten();
    let found = list.filter(|c| c["type"] == kind).map(|c| format!("{}/{}", c["status"], c["reason"]));
    found.collect::<String>().replace('"', "")
}

async fn with_crd(versions: &[Value]) -> Cluster {
    let cluster = Cluster::new().await;
    cluster.post(CRDS, crd(versions)).await;
    until(&cluster, "crontabs.stable.example.com", |c| condition(c, "Established").starts_with("True")).await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_crd_is_established_and_its_kind_is_discovered() {
    let cluster = with_crd(&[version("v1", true)]).await;
    let crd = cluster.get(&format!("{CRDS}/crontabs.stable.example.com")).await;
    assert_eq!(condition(&crd, "NamesAccepted"), "True/NoConflicts");
    assert_eq!(condition(&crd, "Established"), "True/InitialNamesAccepted");
    assert_eq!(crd["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(crd["status"]["acceptedNames"]["listKind"], "CronTabList");
    assert_eq!(crd["spec"]["names"]["singular"], "crontab");
    assert_eq!(crd["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(crd["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    insta::assert_json_snapshot!(cluster.get("/apis/stable.example.com/v1").await);
    let groups = cluster.get("/apis").await;
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap()).collect();
    assert_eq!(names.last(), Some(&"stable.example.com"));
    let openapi = cluster.get("/openapi/v3/apis/stable.example.com/v1").await;
    insta::assert_json_snapshot!(openapi["components"]["schemas"]["com.example.stable.v1.CronTab"]);
    assert!(openapi["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}/scale"].is_object());
    let item = &openapi["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"];
    assert!(item["patch"]["requestBody"]["content"].get("application/strategic-merge-patch+json").is_none());
    let v2 = cluster.get("/openapi/v2").await;
    assert_eq!(v2["definitions"]["com.example.stable.v1.CronTab"]["properties"]["spec"]["type"], "object");
}

#[tokio::test(start_paused = true)]
async fn objects_are_defaulted_pruned_and_checked() {
    let cluster = with_crd(&[version("v1", true)]).await;
    let mut object = tab("a", "red");
    object["spec"]["typo"] = 1.into();
    object["spec"]["free"] = json!({"any": {"thing": [1]}});
    object["status"] = json!({"phase": "mine"});
    let made = cluster.post(TABS, object.clone()).await;
    assert_eq!(
        made["spec"],
        json!({"cron": "* * * * */5", "color": "red", "replicas": 1, "free": {"any": {"thing": [1]}}})
    );
    assert_eq!(made.get("status"), None);
    assert_eq!(made["metadata"]["generation"], 1);
    let status = cluster.fails("POST", &format!("{TABS}?fieldValidation=Strict"), object).await;
    assert_eq!(
        status["message"],
        "CronTab in version \"v1\" cannot be handled as a CronTab: strict decoding error: unknown field \"spec.typo\""
    );
    let bad = json!({"metadata": {"name": "b"}, "spec": {"cron": "x", "replicas": 11, "color": "green", "port": true,
        "keyed": [{"id": "1"}, {"id": "1"}]}});
    let status = cluster.fails("POST", TABS, bad).await;
    assert_eq!(status["reason"], "Invalid");
    insta::assert_json_snapshot!(status["details"]["causes"]);
    let status = cluster.fails("POST", TABS, json!({"metadata": {"name": "b"}, "spec": {}})).await;
    assert_eq!(status["message"], "CronTab.stable.example.com \"b\" is invalid: spec.cron: Required value");
}

#[tokio::test(start_paused = true)]
async fn spec_and_status_are_apart_and_the_scale_is_a_scale() {
    let cluster = with_crd(&[version("v1", true)]).await;
    cluster.post(TABS, tab("a", "red")).await;
    let one = format!("{TABS}/a");
    let changed = json!({"spec": {"replicas": 3, "selector": "a=b"}, "status": {"phase": "no"}});
    let patched = cluster.ok("PATCH", &one, changed).await;
    assert_eq!((&patched["metadata"]["generation"], patched.get("status")), (&json!(2), None));
    let status = json!({"spec": {"replicas": 9}, "metadata": {"labels": {"x": "y"}}, "status": {"replicas": 2}});
    let patched = cluster.ok("PATCH", &format!("{one}/status"), status).await;
    assert_eq!((&patched["spec"]["replicas"], &patched["status"]["replicas"]), (&json!(3), &json!(2)));
    assert_eq!((&patched["metadata"]["generation"], patched["metadata"].get("labels")), (&json!(2), None));
    let scale = cluster.get(&format!("{one}/scale")).await;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b"}));
    let scaled = cluster.ok("PATCH", &format!("{one}/scale"), json!({"spec": {"replicas": 5}})).await;
    assert_eq!(scaled["spec"]["replicas"], 5);
    let object = cluster.get(&one).await;
    assert_eq!((&object["spec"]["replicas"], &object["metadata"]["generation"]), (&json!(5), &json!(3)));
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    let answer = cluster.send("PATCH", &one, &strategic, "{}").await;
    assert_eq!(answer.code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test(start_paused = true)]
async fn lists_select_print_and_watch() {
    let cluster = with_crd(&[version("v1", true)]).await;
    let mut watch = cluster.watch(&format!("{TABS}?watch=1&fieldSelector=spec.color=blue")).await;
    for (name, color) in [("a", "red"), ("b", "blue"), ("c", "blue")] {
        cluster.post(TABS, tab(name, color)).await;
    }
    assert_eq!(watch.short().await, ("ADDED".into(), "b".into()));
    let list = cluster.get(&format!("{TABS}?fieldSelector=spec.color%3Dblue")).await;
    assert_eq!(list["kind"], "CronTabList");
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!((&items[0]["kind"], &items[0]["apiVersion"]), (&json!("CronTab"), &json!("stable.example.com/v1")));
    let status = cluster.fails("GET", &format!("{TABS}?fieldSelector=spec.cron%3Dx"), Value::Null).await;
    assert_eq!(status["message"], "field label not supported: spec.cron");
    let table =
        cluster.send("GET", TABS, &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")], "").await.json();
    assert_eq!(table["rows"][1]["cells"], json!(["b", "* * * * */5", 1, "0s"]));
    assert_eq!(table["columnDefinitions"][2]["priority"], 1);
    let accept = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let partial = cluster.send("GET", TABS, &accept, "").await.json();
    assert_eq!(partial["items"][0].get("spec"), None);
    assert_eq!(
        cluster.ok("DELETE", &format!("{TABS}?fieldSelector=spec.color%3Dblue"), Value::Null).await["kind"],
        "CronTabList"
    );
    assert_eq!(cluster.get(TABS).await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_served_version_shows_the_same_objects() {
    let mut old = version("v1beta1", true);
    old["deprecated"] = true.into();
    let cluster = with_crd(&[version("v1", false), old]).await;
    let betas = TABS.replace("/v1/", "/v1beta1/");
    let mut watch = cluster.watch(&format!("{betas}?watch=1")).await;
    cluster.post(TABS, tab("a", "red")).await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["object"]["apiVersion"], "stable.example.com/v1beta1");
    assert_eq!(cluster.get(&format!("{TABS}/a")).await["apiVersion"], "stable.example.com/v1");
    assert_eq!(cluster.get(&betas).await["items"][0]["apiVersion"], "stable.example.com/v1beta1");
    let answer = cluster.send("GET", &format!("{betas}/a"), &[], "").await;
    assert_eq!(
        answer.headers["warning"],
        "299 - \"stable.example.com/v1beta1 CronTab is deprecated; use stable.example.com/v1 CronTab\""
    );
    let group = cluster.get("/apis/stable.example.com").await;
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let list = cluster.get(&format!("{TABS}?fieldSelector=spec.color%3Dred")).await;
    assert_eq!(list["items"][0]["apiVersion"], "stable.example.com/v1");
    let patched = cluster.ok("PATCH", &format!("{TABS}/a"), json!({"spec": {"color": "blue"}})).await;
    assert_eq!(patched["apiVersion"], "stable.example.com/v1");
    cluster.ok("DELETE", &format!("{betas}/a"), Value::Null).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_schema_prunes_and_defaults_what_is_stored() {
    let cluster = with_crd(&[version("v1", true)]).await;
    cluster.post(TABS, tab("a", "red")).await;
    let mut watch = cluster.watch(&format!("{TABS}?watch=1")).await;
    assert_eq!(watch.short().await.0, "ADDED");
    let mut next = version("v1", true);
    let properties = &mut next["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    properties["size"] = json!({"type": "string", "default": "big"});
    properties.as_object_mut().unwrap().remove("color");
    next["selectableFields"] = json!([{"jsonPath": ".spec.size"}]);
    let crd = cluster.get(&format!("{CRDS}/crontabs.stable.example.com")).await;
    let changed =
        json!({"metadata": {"resourceVersion": crd["metadata"]["resourceVersion"]}, "spec": {"versions": [next]}});
    cluster.ok("PATCH", &format!("{CRDS}/crontabs.stable.example.com"), changed).await;
    // A watch on the kind as it was ends; clients list again.
    while watch.next().await.is_some() {}
    let read = cluster.get(&format!("{TABS}/a")).await;
    assert_eq!(read["spec"], json!({"cron": "* * * * */5", "replicas": 1, "size": "big"}));
    let list = cluster.get(&format!("{TABS}?fieldSelector=spec.size%3Dbig")).await;
    assert_eq!(list["items"][0]["spec"]["size"], "big");
    let patched = cluster.ok("PATCH", &format!("{TABS}/a"), json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(patched["spec"]["size"], "big");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_crd_takes_its_objects_along() {
    let cluster = with_crd(&[version("v1", true)]).await;
    let mut held = tab("held", "red");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.post(TABS, held).await;
    cluster.post(TABS, tab("free", "red")).await;
    let mut watch = cluster.watch(&format!("{TABS}?watch=1")).await;
    let pending = cluster.ok("DELETE", &format!("{CRDS}/crontabs.stable.example.com"), Value::Null).await;
    assert!(pending["metadata"]["deletionTimestamp"].is_string());
    let name = "crontabs.stable.example.com";
    until(&cluster, name, |c| condition(c, "Terminating") == "True/InstanceDeletionInProgress").await;
    let status = cluster.fails("POST", TABS, tab("late", "red")).await;
    assert_eq!(status["reason"], "MethodNotAllowed");
    gone(&cluster, &format!("{TABS}/free")).await;
    cluster.ok("PATCH", &format!("{TABS}/held"), json!({"metadata": {"finalizers": null}})).await;
    while watch.next().await.is_some() {}
    gone(&cluster, &format!("{CRDS}/{name}")).await;
    for path in [TABS, "/apis/stable.example.com"] {
        let nothing = cluster.send("GET", path, &[], "").await;
        assert_eq!((nothing.code, &*nothing.bytes), (StatusCode::NOT_FOUND, &b"404 page not found\n"[..]));
    }
}

/// Waits until nothing is there.
async fn gone(cluster: &Cluster, path: &str) {
    loop {
        let answer = cluster.send("GET", path, &[], "").await;
        if answer.code == StatusCode::NOT_FOUND {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_others_have_are_not_accepted_until_they_are_free() {
    let cluster = with_crd(&[version("v1", true)]).await;
    let mut second = crd(&[version("v1", true)]);
    second["metadata"]["name"] = "tabs.stable.example.com".into();
    second["spec"]["names"] = json!({"plural": "tabs", "kind": "CronTab", "shortNames": ["ct"]});
    cluster.post(CRDS, second).await;
    let name = "tabs.stable.example.com";
    let crd = until(&cluster, name, |c| !condition(c, "NamesAccepted").is_empty()).await;
    assert_eq!(condition(&crd, "NamesAccepted"), "False/ListKindConflict");
    assert_eq!(condition(&crd, "Established"), "False/NotAccepted");
    cluster.ok("DELETE", &format!("{CRDS}/crontabs.stable.example.com"), Value::Null).await;
    let crd = until(&cluster, name, |c| condition(c, "Established").starts_with("True")).await;
    assert_eq!(crd["status"]["acceptedNames"]["kind"], "CronTab");
}

#[tokio::test(start_paused = true)]
async fn crds_that_are_stored_are_served_from_the_start() {
    let cluster = with_crd(&[version("v1", true)]).await;
    cluster.post(TABS, tab("a", "red")).await;
    let store = cluster.core.store.clone();
    let again = Cluster::with(|config| config.store = store).await;
    assert_eq!(again.get(&format!("{TABS}/a")).await["spec"]["color"], "red");
    // Both follow the same store.
    cluster.ok("DELETE", &format!("{CRDS}/crontabs.stable.example.com"), Value::Null).await;
    gone(&again, &format!("{TABS}/a")).await;
    gone(&again, TABS).await;
}

#[tokio::test(start_paused = true)]
async fn bad_crds_are_refused_in_kubernetes_words() {
    let cluster = Cluster::new().await;
    let causes = |status: &Value| -> Vec<String> {
        let list = status["details"]["causes"].as_array().unwrap().iter();
        list.map(|c| format!("{}: {}", c["field"].as_str().unwrap(), c["message"].as_str().unwrap())).collect()
    };
    let mut wrong = crd(&[version("v1", true)]);
    wrong["metadata"]["name"] = "x".into();
    let spec = &mut wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["properties"]["bad"] = json!({"properties": {}});
    spec["properties"]["regex"] = json!({"type": "string", "pattern": "("});
    spec["properties"]["rule"] = json!({"type": "string", "x-kubernetes-list-type": "set"});
    let status = cluster.fails("POST", CRDS, wrong).await;
    insta::assert_json_snapshot!(causes(&status));
    let status = cluster.fails("POST", CRDS, crd(&[version("v1", true), version("v2", true)])).await;
    assert!(causes(&status).iter().any(|c| c.ends_with("must have exactly one version marked as storage version")));
}

#[tokio::test(start_paused = true)]
async fn an_update_is_judged_by_what_it_changes() {
    let cluster = with_crd(&[version("v1", true)]).await;
    cluster.post(TABS, tab("a", "red")).await;
    let mut strict = version("v1", true);
    strict["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["color"]["enum"] = json!(["blue"]);
    let one = format!("{CRDS}/crontabs.stable.example.com");
    cluster.ok("PATCH", &one, json!({"spec": {"versions": [strict]}})).await;
    let generation = |c: &Value| c["metadata"]["generation"] == 2;
    until(&cluster, "crontabs.stable.example.com", generation).await;
    served(&cluster, "blue").await;
    cluster.ok("PATCH", &format!("{TABS}/a"), json!({"spec": {"replicas": 2}})).await;
    let status = cluster.fails("PATCH", &format!("{TABS}/a"), json!({"spec": {"color": "green"}})).await;
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("spec.color: Unsupported value: \"green\": supported values: \"blue\"")
    );
}

/// Waits until the schema that allows only `color` is the one in force.
async fn served(cluster: &Cluster, color: &str) {
    loop {
        let openapi = cluster.get("/openapi/v3/apis/stable.example.com/v1").await;
        let tab = &openapi["components"]["schemas"]["com.example.stable.v1.CronTab"];
        if tab["properties"]["spec"]["properties"]["color"]["enum"] == json!([color]) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn cluster_scoped_kinds_without_columns_print_their_age() {
    let cluster = Cluster::new().await;
    let schema = json!({"type": "object", "properties": {"inner": {"type": "object", "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true}}, "x-kubernetes-preserve-unknown-fields": true});
    let crd = json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Cluster",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    cluster.post(CRDS, crd).await;
    // Served when the answer is there: no condition to wait for.
    let things = "/apis/example.com/v1alpha1/things";
    let object = json!({"metadata": {"name": "a"}, "any": [1], "status": {"kept": true},
        "inner": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "typo": 1}, "spec": {"x": 1}}});
    let made = cluster.post(things, object).await;
    assert_eq!((&made["any"], &made["status"]["kept"]), (&json!([1]), &json!(true)));
    assert_eq!(made["inner"]["metadata"], json!({"name": "p"}));
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = cluster.send("GET", things, &accept, "").await.json();
    assert_eq!(table["rows"][0]["cells"], json!(["a", "0s"]));
    // Without the subresource the status is a field like others, and counts.
    let patched = cluster.ok("PATCH", &format!("{things}/a"), json!({"status": {"kept": false}})).await;
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(cluster.fails("GET", &format!("{things}/a/status"), Value::Null).await["code"], 404);
    let bad = json!({"metadata": {"name": "b"}, "inner": {"metadata": {}}});
    let status = cluster.fails("POST", things, bad).await;
    assert!(status["message"].as_str().unwrap().contains("inner.apiVersion: Required value"), "{status}");
    let status = cluster.fails("POST", things, json!({"metadata": {"name": "c", "labels": 1}})).await;
    assert_eq!(status["code"], 400);
}
