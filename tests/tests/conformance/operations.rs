//! "should support … API operations" of many kinds: discovery, create, get, list, watch, patch, update, status, delete,
//! deletecollection (test/e2e/{network,node,storage,apps,autoscaling,scheduling}).

use super::scene::{Scene, play, scenarios, version};
use serde_json::{Value, json};

#[tokio::test]
async fn api_operations() {
    play(scenarios![
        ingress_api_operations,
        ingress_class_api_operations,
        endpoint_slice_api_operations,
        network_policy_api_operations,
        ip_address_api_operations,
        service_cidr_api_operations,
        runtime_class_api_operations,
        lease_api_operations,
        csi_node_api_operations,
        csi_driver_api_operations,
        csi_storage_capacity_api_operations,
        storage_class_api_operations,
        volume_attributes_class_api_operations,
        volume_attachment_api_operations,
        cron_job_api_operations,
        horizontal_pod_autoscaler_api_operations,
        controller_revision_api_operations,
        stateful_set_api_operations,
        daemon_set_api_operations,
        pod_template_api_operations,
        limit_range_api_operations,
        resource_quota_api_operations,
        priority_class_api_operations,
        replication_controller_api_operations,
    ])
    .await;
}

/// A kind and how an object of it is made.
struct Kind<'a> {
    group_version: &'a str,
    plural: &'a str,
    namespaced: bool,
    /// What a patch of the status subresource writes, where there is one.
    status: Option<Value>,
    body: Body<'a>,
}

type Body<'a> = &'a (dyn Fn(usize) -> Value + Sync);

fn namespaced<'a>(group_version: &'a str, plural: &'a str, body: Body<'a>) -> Kind<'a> {
    Kind { group_version, plural, namespaced: true, status: None, body }
}

fn cluster_wide<'a>(group_version: &'a str, plural: &'a str, body: Body<'a>) -> Kind<'a> {
    Kind { group_version, plural, namespaced: false, status: None, body }
}

impl Kind<'_> {
    fn with_status(self, status: Value) -> Self {
        Self { status: Some(status), ..self }
    }

    /// The collection, of the scenario's namespace or of the cluster.
    fn collection(&self, scene: &Scene) -> String {
        if self.namespaced { scene.path(&format!("{}/{}", self.group_version, self.plural)) } else { self.everywhere() }
    }

    fn everywhere(&self) -> String {
        let root = if self.group_version.contains('/') { "apis" } else { "api" };
        format!("/{root}/{}/{}", self.group_version, self.plural)
    }
}

async fn discovered(scene: &Scene, kind: &Kind<'_>) {
    let found = |list: &Value, field: &str, key: &str, wanted: &str| {
        list[field].as_array().is_some_and(|all| all.iter().any(|one| one[key] == wanted))
    };
    let root = match kind.group_version.split_once('/') {
        None => "/api/v1".to_owned(),
        Some((group, _)) => {
            assert!(found(&scene.get("/apis").await, "groups", "name", group), "{group}");
            let own = scene.get(&format!("/apis/{group}")).await;
            assert!(found(&own, "versions", "groupVersion", kind.group_version), "{own}");
            format!("/apis/{}", kind.group_version)
        }
    };
    let resources = scene.get(&root).await;
    assert!(found(&resources, "resources", "name", kind.plural), "{resources}");
    if kind.status.is_some() {
        assert!(found(&resources, "resources", "name", &format!("{}/status", kind.plural)), "{resources}");
    }
}

async fn operations(scene: &Scene, kind: Kind<'_>) {
    discovered(scene, &kind).await;
    let collection = kind.collection(scene);
    let special = format!("labelSelector=special-label%3D{}", scene.namespace);
    let selected = format!("{collection}?{special}");
    let mut names = Vec::new();
    for at in 0..3 {
        let mut object = (kind.body)(at);
        object["metadata"]["labels"]["special-label"] = json!(scene.namespace);
        if object["metadata"]["name"].is_null() {
            object["metadata"]["generateName"] = json!("e2e-example-");
        }
        let created = scene.create(&collection, object).await;
        assert!(created["metadata"]["uid"].is_string() && version(&created).is_string(), "{created}");
        names.push(created["metadata"]["name"].as_str().unwrap().to_owned());
    }
    let path = format!("{collection}/{}", names[2]);
    let got = scene.get(&path).await;
    let list = scene.get(&selected).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    let mut watch = scene.watch(&selected, version(&list)).await;
    let everywhere = format!("{}?{special}", kind.everywhere());
    assert_eq!(scene.items(&everywhere).await.len(), 3);
    scene.watch(&everywhere, version(&list)).await;

    let patched = scene.merge(&path, json!({"metadata": {"annotations": {"patched": "true"}}})).await;
    assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
    assert_eq!(patched["metadata"]["uid"], got["metadata"]["uid"]);
    let newer = |new: &Value, old: &Value| {
        let number = |o: &Value| version(o).as_str().unwrap().parse::<u64>().unwrap();
        number(new) > number(old)
    };
    assert!(newer(&patched, &got));
    let updated = scene.update(&path, |o| o["metadata"]["annotations"]["updated"] = json!("true")).await;
    assert_eq!(updated["metadata"]["annotations"]["updated"], "true");
    watch.until("MODIFIED", |o| o["metadata"]["annotations"]["patched"] == "true").await;
    watch.until("MODIFIED", |o| o["metadata"]["annotations"]["updated"] == "true").await;

    if let Some(status) = &kind.status {
        let status_path = format!("{path}/status");
        let patched = scene
            .merge(&status_path, json!({"metadata": {"annotations": {"patchedstatus": "true"}}, "status": status}))
            .await;
        for (field, value) in status.as_object().unwrap() {
            assert_eq!(patched["status"][field], *value, "{patched}");
        }
        let updated =
            scene.update(&status_path, |o| o["metadata"]["annotations"]["updatedstatus"] = json!("true")).await;
        assert_eq!(updated["metadata"]["uid"], got["metadata"]["uid"]);
        assert_eq!(scene.get(&status_path).await["kind"], got["kind"]);
    }

    scene.delete(&path, json!(null)).await;
    watch.until("DELETED", |o| o["metadata"]["name"] == names[2].as_str()).await;
    let status = scene.stage.get(&path).await.refused(404, "not found");
    assert_eq!(status["reason"], "NotFound");
    assert_eq!(scene.items(&selected).await.len(), 2);
    scene.delete(&selected, json!(null)).await;
    scene.until_count(&selected, 0).await;
}

async fn ingress_api_operations(scene: Scene) {
    let backend = json!({"service": {"name": "default-backend", "port": {"number": 80}}});
    let body = |_| {
        json!({"spec": {"defaultBackend": backend, "rules": [{"host": "foo.bar.com", "http": {"paths": [
        {"path": "/", "pathType": "ImplementationSpecific", "backend": backend}]}}]}})
    };
    let status = json!({"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}});
    operations(&scene, namespaced("networking.k8s.io/v1", "ingresses", &body).with_status(status)).await;
}

async fn ingress_class_api_operations(scene: Scene) {
    let body = |_| json!({"spec": {"controller": "example.com/controller"}});
    operations(&scene, cluster_wide("networking.k8s.io/v1", "ingressclasses", &body)).await;
}

async fn endpoint_slice_api_operations(scene: Scene) {
    let body = |_| {
        json!({"addressType": "IPv4", "endpoints": [
        {"addresses": ["1.2.3.4", "5.6.7.8"]}, {"addresses": ["2.2.3.4", "6.6.7.8"]}]})
    };
    operations(&scene, namespaced("discovery.k8s.io/v1", "endpointslices", &body)).await;
}

async fn network_policy_api_operations(scene: Scene) {
    let body = |_| {
        json!({"spec": {"podSelector": {"matchLabels": {"pod-name": "test"}},
        "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"ns-name": "x"}}}]}]}})
    };
    operations(&scene, namespaced("networking.k8s.io/v1", "networkpolicies", &body)).await;
}

async fn ip_address_api_operations(scene: Scene) {
    let names = ["255.255.255.255", "fe80::42:1dff:fe84:f9e2", "203.0.113.7"];
    let body = |at: usize| {
        json!({"metadata": {"name": names[at]}, "spec": {"parentRef": {
        "group": "mygroup", "resource": "myresources", "namespace": "foo", "name": "bar"}}})
    };
    operations(&scene, cluster_wide("networking.k8s.io/v1", "ipaddresses", &body)).await;
}

async fn service_cidr_api_operations(scene: Scene) {
    let default = scene.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await;
    let ready = super::scene::condition(&default, "Ready").unwrap_or_else(|| panic!("no condition: {default}"));
    assert_eq!((&ready["status"], &ready["message"]), (&json!("True"), &json!("Kubernetes Service CIDR is ready")));
    let status = scene.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes/status").await;
    assert_eq!((&status["kind"], &status["metadata"]["uid"]), (&json!("ServiceCIDR"), &default["metadata"]["uid"]));
    assert!(!scene.items("/apis/networking.k8s.io/v1/servicecidrs").await.is_empty());
    let body = |at: usize| json!({"spec": {"cidrs": [format!("203.0.{at}.0/24")]}});
    let conditions = json!({"conditions": [{"type": "Example", "status": "True", "reason": "Why", "message": "",
        "lastTransitionTime": "2026-01-02T03:04:05Z"}]});
    operations(&scene, cluster_wide("networking.k8s.io/v1", "servicecidrs", &body).with_status(conditions)).await;
}

async fn runtime_class_api_operations(scene: Scene) {
    let body = |_| json!({"handler": "handler"});
    operations(&scene, cluster_wide("node.k8s.io/v1", "runtimeclasses", &body)).await;
}

async fn lease_api_operations(scene: Scene) {
    let body = |_| {
        json!({"spec": {"holderIdentity": "holder", "leaseDurationSeconds": 30, "leaseTransitions": 0,
        "acquireTime": "2026-01-02T03:04:05.000000Z", "renewTime": "2026-01-02T03:04:05.000000Z"}})
    };
    operations(&scene, namespaced("coordination.k8s.io/v1", "leases", &body)).await;
}

async fn csi_node_api_operations(scene: Scene) {
    let name = |at: usize| scene.unique(&format!("e2e-csinode-{at}"));
    let body = |at: usize| json!({"metadata": {"name": name(at)}, "spec": {"drivers": [{"name": "e2e.driver", "nodeID": "node"}]}});
    operations(&scene, cluster_wide("storage.k8s.io/v1", "csinodes", &body)).await;
}

async fn csi_driver_api_operations(scene: Scene) {
    let body = |_| json!({"spec": {"volumeLifecycleModes": ["Persistent"], "storageCapacity": true}});
    operations(&scene, cluster_wide("storage.k8s.io/v1", "csidrivers", &body)).await;
}

async fn csi_storage_capacity_api_operations(scene: Scene) {
    let body = |_| json!({"storageClassName": "fast", "capacity": "1Gi"});
    operations(&scene, namespaced("storage.k8s.io/v1", "csistoragecapacities", &body)).await;
}

async fn storage_class_api_operations(scene: Scene) {
    let body = |_| json!({"provisioner": "e2e-fake-provisioner"});
    operations(&scene, cluster_wide("storage.k8s.io/v1", "storageclasses", &body)).await;
}

async fn volume_attributes_class_api_operations(scene: Scene) {
    let body = |_| json!({"driverName": "e2e-fake-driver", "parameters": {"iops": "1000"}});
    operations(&scene, cluster_wide("storage.k8s.io/v1", "volumeattributesclasses", &body)).await;
}

async fn volume_attachment_api_operations(scene: Scene) {
    let body = |_| {
        json!({"spec": {"attacher": "e2e-test.storage.k8s.io", "nodeName": "node-1",
        "source": {"persistentVolumeName": "pv"}}})
    };
    let status = json!({"attached": true});
    operations(&scene, cluster_wide("storage.k8s.io/v1", "volumeattachments", &body).with_status(status)).await;
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "none", "imagePullPolicy": "Never"}]}})
}

async fn cron_job_api_operations(scene: Scene) {
    let body = |_| {
        let mut template = template();
        template["spec"]["restartPolicy"] = json!("OnFailure");
        json!({"spec": {"schedule": "* */1 * * ?", "suspend": true, "concurrencyPolicy": "Allow",
            "jobTemplate": {"spec": {"template": template}}}})
    };
    let status = json!({"lastScheduleTime": "2026-01-02T03:04:05Z"});
    operations(&scene, namespaced("batch/v1", "cronjobs", &body).with_status(status)).await;
}

async fn horizontal_pod_autoscaler_api_operations(scene: Scene) {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let newest = |_| json!({"spec": {"scaleTargetRef": target, "maxReplicas": 3}});
    let status = json!({"currentReplicas": 2, "desiredReplicas": 2});
    for group_version in ["autoscaling/v2", "autoscaling/v1"] {
        operations(&scene, namespaced(group_version, "horizontalpodautoscalers", &newest).with_status(status.clone()))
            .await;
    }
    // As Kubernetes writes a new one: these fields are always there.
    let made = scene
        .create(
            "autoscaling/v2/horizontalpodautoscalers",
            json!({"metadata": {"name": "new"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}),
        )
        .await;
    assert_eq!(made["status"], json!({"currentMetrics": null, "desiredReplicas": 0}));
    let older = scene.get("autoscaling/v1/horizontalpodautoscalers/new").await;
    assert_eq!(older["status"], json!({"currentReplicas": 0, "desiredReplicas": 0}), "{older}");
}

async fn controller_revision_api_operations(scene: Scene) {
    let body = |at: usize| json!({"data": {"spec": {"replicas": 1}}, "revision": at + 1});
    operations(&scene, namespaced("apps/v1", "controllerrevisions", &body)).await;
    let first = scene
        .create("apps/v1/controllerrevisions", json!({"metadata": {"name": "rev"}, "data": {"a": 1}, "revision": 1}))
        .await;
    let mut changed = first.clone();
    changed["data"] = json!({"a": 2});
    let path = scene.path("apps/v1/controllerrevisions/rev");
    scene.stage.put(&path, &changed).await.refused(422, "data: Invalid value");
    changed["data"] = first["data"].clone();
    changed["revision"] = json!(3);
    assert_eq!(scene.replace(&path, changed).await["revision"], 3);
}

async fn stateful_set_api_operations(scene: Scene) {
    let body = |_| json!({"spec": {"replicas": 1, "serviceName": "s", "selector": {"matchLabels": {"app": "x"}}, "template": template()}});
    let status = json!({"replicas": 1, "readyReplicas": 1});
    operations(&scene, namespaced("apps/v1", "statefulsets", &body).with_status(status)).await;
    let made = scene.create("apps/v1/statefulsets", json!({"metadata": {"name": "ss"}, "spec": body(0)["spec"]})).await;
    assert_eq!(made["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 0);
    let mut scale = scene.get("apps/v1/statefulsets/ss/scale").await;
    scale["spec"]["replicas"] = json!(2);
    scale["metadata"]["resourceVersion"] = json!("");
    assert_eq!(scene.replace("apps/v1/statefulsets/ss/scale", scale).await["spec"]["replicas"], 2);
    scene.strategic("apps/v1/statefulsets/ss/scale", json!({"spec": {"replicas": 4}})).await;
    assert_eq!(scene.get("apps/v1/statefulsets/ss").await["spec"]["replicas"], 4);
    let conditions = json!({"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}});
    let patched = scene.merge("apps/v1/statefulsets/ss/status", conditions).await;
    assert_eq!(patched["status"]["conditions"][0]["type"], "StatusPatched");
}

async fn daemon_set_api_operations(scene: Scene) {
    let body = |_| json!({"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template()}});
    let status = json!({"numberReady": 1, "desiredNumberScheduled": 1});
    operations(&scene, namespaced("apps/v1", "daemonsets", &body).with_status(status)).await;
}

async fn pod_template_api_operations(scene: Scene) {
    let body = |_| json!({"template": template()});
    operations(&scene, namespaced("v1", "podtemplates", &body)).await;
}

async fn limit_range_api_operations(scene: Scene) {
    let body = |_| json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "500m"}}]}});
    operations(&scene, namespaced("v1", "limitranges", &body)).await;
}

async fn resource_quota_api_operations(scene: Scene) {
    let body = |_| json!({"spec": {"hard": {"cpu": "1", "memory": "500Mi"}}});
    operations(&scene, namespaced("v1", "resourcequotas", &body)).await;
}

async fn priority_class_api_operations(scene: Scene) {
    let body = |at: usize| json!({"value": at, "globalDefault": false, "description": "x"});
    operations(&scene, cluster_wide("scheduling.k8s.io/v1", "priorityclasses", &body)).await;
}

async fn replication_controller_api_operations(scene: Scene) {
    let body = |_| json!({"spec": {"replicas": 0, "selector": {"app": "x"}, "template": template()}});
    operations(
        &scene,
        namespaced("v1", "replicationcontrollers", &body)
            .with_status(json!({"conditions": [{"type": "Any", "status": "True", "lastTransitionTime": null}]})),
    )
    .await;
}
