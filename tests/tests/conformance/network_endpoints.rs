//! [sig-network] Endpoints and EndpointSlices: test/e2e/network/{endpointslice,endpointslicemirroring,service}.go.

use super::network::{SERVICES, address, http_port, pairs, reachable, server, service, slices_of};
use super::scene::{Scene, controller, play, scenarios, version};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test]
async fn endpoints() {
    play(scenarios![
        should_have_endpoints_and_endpoint_slices_pointing_to_api_server,
        should_serve_a_basic_endpoint_from_pods,
        should_serve_multiport_endpoints_from_pods,
        should_test_the_lifecycle_of_an_endpoint,
        should_create_endpoints_for_unready_pods,
        should_create_and_delete_endpoints_and_endpoint_slices_for_a_service_with_a_selector,
        should_create_endpoints_and_endpoint_slices_for_pods_matching_a_service,
        should_mirror_a_custom_endpoints_resource_through_create_update_and_delete,
        should_mirror_a_custom_endpoint_with_multiple_subsets_and_same_ip_address,
        service_endpoints_latency_should_not_be_very_high,
        should_allow_pods_under_the_same_service_with_service_proxy_name_label_to_be_left_alone,
    ])
    .await;
}

/// The same of an Endpoints object.
fn subset_pairs(endpoints: &Value) -> BTreeSet<(String, i64)> {
    let mut all = BTreeSet::new();
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        for port in subset["ports"].as_array().into_iter().flatten() {
            for list in ["addresses", "notReadyAddresses"] {
                for address in subset[list].as_array().into_iter().flatten() {
                    all.insert((address["ip"].as_str().unwrap().to_owned(), port["port"].as_i64().unwrap()));
                }
            }
        }
    }
    all
}

/// Waits until slices and Endpoints both say `wanted`.
async fn validated(scene: &Scene, service: &str, wanted: &BTreeSet<(String, i64)>) {
    let what = format!("{wanted:?}");
    scene
        .until_list(&slices_of(service), &what, |slices| (!slices.is_empty() && pairs(slices) == *wanted).then_some(()))
        .await;
    scene
        .until(&format!("v1/endpoints/{service}"), &what, |e| {
            (e.is_object() && subset_pairs(e) == *wanted).then_some(())
        })
        .await;
}

async fn ip_of(scene: &Scene, pod: &str) -> String {
    scene.until(&format!("v1/pods/{pod}"), "has an address", |p| Some(p["status"]["podIP"].as_str()?.to_owned())).await
}

async fn should_have_endpoints_and_endpoint_slices_pointing_to_api_server(scene: Scene) {
    let endpoints = scene.get("/api/v1/namespaces/default/endpoints/kubernetes").await;
    let slices = scene
        .items("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dkubernetes")
        .await;
    assert!(!slices.is_empty());
    assert_eq!(pairs(&slices), subset_pairs(&endpoints));
}

async fn should_serve_a_basic_endpoint_from_pods(scene: Scene) {
    let selector = json!({"testid": "endpoint"});
    scene
        .create(
            SERVICES,
            service("endpoint-test2", json!({"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]})),
        )
        .await;
    validated(&scene, "endpoint-test2", &BTreeSet::new()).await;
    let ports = json!([{"containerPort": 8080}]);
    scene.create("v1/pods", server("pod1", selector.clone(), ports.clone())).await;
    let one = (ip_of(&scene, "pod1").await, 8080);
    validated(&scene, "endpoint-test2", &BTreeSet::from([one.clone()])).await;
    scene.create("v1/pods", server("pod2", selector, ports)).await;
    let two = (ip_of(&scene, "pod2").await, 8080);
    validated(&scene, "endpoint-test2", &BTreeSet::from([one.clone(), two.clone()])).await;
    scene.delete("v1/pods/pod1", json!(null)).await;
    validated(&scene, "endpoint-test2", &BTreeSet::from([two])).await;
    scene.delete("v1/pods/pod2", json!(null)).await;
    validated(&scene, "endpoint-test2", &BTreeSet::new()).await;
}

async fn should_serve_multiport_endpoints_from_pods(scene: Scene) {
    let selector = json!({"testid": "multi"});
    let ports = json!([{"name": "portname1", "port": 80, "targetPort": "svc1"}, {"name": "portname2", "port": 81, "targetPort": "svc2"}]);
    scene.create(SERVICES, service("multi-endpoint-test", json!({"selector": selector, "ports": ports}))).await;
    validated(&scene, "multi-endpoint-test", &BTreeSet::new()).await;
    scene.create("v1/pods", server("pod1", selector.clone(), json!([{"name": "svc1", "containerPort": 100}]))).await;
    let one = (ip_of(&scene, "pod1").await, 100);
    validated(&scene, "multi-endpoint-test", &BTreeSet::from([one.clone()])).await;
    scene.create("v1/pods", server("pod2", selector, json!([{"name": "svc2", "containerPort": 101}]))).await;
    let two = (ip_of(&scene, "pod2").await, 101);
    validated(&scene, "multi-endpoint-test", &BTreeSet::from([one, two.clone()])).await;
    scene.delete("v1/pods/pod1", json!(null)).await;
    validated(&scene, "multi-endpoint-test", &BTreeSet::from([two])).await;
}

async fn should_test_the_lifecycle_of_an_endpoint(scene: Scene) {
    let selected = "v1/endpoints?labelSelector=test-endpoint-static%3Dtrue";
    let mut watch = scene.watch(selected, version(&scene.get(selected).await)).await;
    let object = json!({"metadata": {"name": "testservice", "labels": {"test-endpoint-static": "true"}},
        "subsets": [{"addresses": [{"ip": "10.0.0.24"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}]});
    scene.create("v1/endpoints", object).await;
    watch.until("ADDED", |_| true).await;
    let found = scene.items("/api/v1/endpoints?labelSelector=test-endpoint-static%3Dtrue").await;
    assert_eq!(found.len(), 1);
    let path = "v1/endpoints/testservice";
    scene.update(path, |e| e["metadata"]["labels"]["test-service"] = json!("updated")).await;
    watch.until("MODIFIED", |e| e["metadata"]["labels"]["test-service"] == "updated").await;
    let patch = json!({"metadata": {"labels": {"test-service": "patched"}},
        "subsets": [{"addresses": [{"ip": "10.0.0.25"}], "ports": [{"name": "http-test", "port": 8080}]}]});
    scene.strategic(path, patch).await;
    watch.until("MODIFIED", |e| e["metadata"]["labels"]["test-service"] == "patched").await;
    let subset = &scene.get(path).await["subsets"][0];
    assert_eq!(subset["ports"][0], json!({"name": "http-test", "port": 8080, "protocol": "TCP"}));
    assert_eq!(subset["addresses"][0]["ip"], "10.0.0.25");
    scene.delete(selected, json!(null)).await;
    watch.until("DELETED", |_| true).await;
}

async fn should_create_endpoints_for_unready_pods(scene: Scene) {
    let selector = json!({"name": "slow-terminating-unready-pod"});
    let spec = json!({"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": 8080}], "publishNotReadyAddresses": true});
    let made = scene.create(SERVICES, service("tolerate-unready", spec)).await;
    let mut pod = server("unready", selector, json!([{"containerPort": 8080}]));
    pod["spec"]["readinessGates"] = json!([{"conditionType": "example.com/never"}]);
    scene.create("v1/pods", pod).await;
    let ip = ip_of(&scene, "unready").await;
    let ready = |e: &Value| (e["subsets"][0]["addresses"][0]["ip"] == ip.as_str()).then_some(());
    scene.until("v1/endpoints/tolerate-unready", "lists it as ready", ready).await;
    reachable(&address(&made)).await;
    scene.update("v1/services/tolerate-unready", |s| s["spec"]["publishNotReadyAddresses"] = json!(false)).await;
    let unready = |e: &Value| (e["subsets"][0]["notReadyAddresses"][0]["ip"] == ip.as_str()).then_some(());
    scene.until("v1/endpoints/tolerate-unready", "lists it as not ready", unready).await;
}

async fn should_create_and_delete_endpoints_and_endpoint_slices_for_a_service_with_a_selector(scene: Scene) {
    let spec = json!({"selector": {"does-not-match-anything": "still-created"}, "ports": [{"name": "example", "port": 80, "protocol": "TCP"}]});
    scene.create(SERVICES, service("example-empty-selector", spec)).await;
    scene.until("v1/endpoints/example-empty-selector", "is there", |e| e.is_object().then_some(())).await;
    let slices = scene
        .until_list(&slices_of("example-empty-selector"), "a slice", |s| (!s.is_empty()).then(|| s.to_vec()))
        .await;
    let managed = &slices[0]["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"];
    assert_eq!(*managed, "endpointslice-controller.k8s.io");
    assert!(slices[0]["endpoints"].as_array().is_none_or(Vec::is_empty), "{slices:?}");
    assert_eq!(controller(&slices[0]).unwrap()["kind"], "Service");
    scene.delete("v1/services/example-empty-selector", json!(null)).await;
    scene.gone("v1/endpoints/example-empty-selector").await;
    scene.until_count(&slices_of("example-empty-selector"), 0).await;
}

async fn should_create_endpoints_and_endpoint_slices_for_pods_matching_a_service(scene: Scene) {
    let pod = |name: &str, ports: Value| server(name, json!({name: "on", "shared12": "on"}), ports);
    scene.create("v1/pods", pod("pod1", json!([{"name": "example-name", "containerPort": 3000}]))).await;
    scene
        .create(
            "v1/pods",
            pod(
                "pod2",
                json!([{"name": "example-name", "containerPort": 3001}, {"name": "other-port", "containerPort": 3002}]),
            ),
        )
        .await;
    let make = |name: &str, label: &str, target: Value| {
        service(
            name,
            json!({"selector": {label: "on"}, "publishNotReadyAddresses": true,
            "ports": [{"name": "example", "port": 80, "targetPort": target, "protocol": "TCP"}]}),
        )
    };
    scene.create(SERVICES, make("example-int-port", "pod1", json!(3000))).await;
    scene.create(SERVICES, make("example-named-port", "shared12", json!("example-name"))).await;
    scene.create(SERVICES, make("example-no-match", "pod3", json!(8080))).await;
    let (one, two) = (ip_of(&scene, "pod1").await, ip_of(&scene, "pod2").await);
    validated(&scene, "example-int-port", &BTreeSet::from([(one.clone(), 3000)])).await;
    let both = BTreeSet::from([(one, 3000), (two, 3001)]);
    validated(&scene, "example-named-port", &both).await;
    // Pods that name different ports for it are in different slices.
    let slices = scene.items(&slices_of("example-named-port")).await;
    assert_eq!(slices.len(), 2, "{slices:?}");
    for slice in &slices {
        let endpoint = &slice["endpoints"][0];
        assert_eq!(endpoint["targetRef"]["kind"], "Pod");
        assert_eq!(endpoint["nodeName"], "node-1");
    }
    validated(&scene, "example-no-match", &BTreeSet::new()).await;
    // They come back after they were deleted.
    scene.delete(&slices_of("example-named-port"), json!(null)).await;
    validated(&scene, "example-named-port", &both).await;
}

async fn should_mirror_a_custom_endpoints_resource_through_create_update_and_delete(scene: Scene) {
    let name = "example-custom-endpoints";
    scene.create(SERVICES, service(name, json!({"ports": [{"name": "example", "port": 80, "protocol": "TCP"}]}))).await;
    let endpoints = |ip: &str| json!({"metadata": {"name": name}, "subsets": [{"ports": [{"port": 80}], "addresses": [{"ip": ip}]}]});
    scene.create("v1/endpoints", endpoints("10.1.2.3")).await;
    let mirrored = async |ip: &str| {
        let wanted = BTreeSet::from([(ip.to_owned(), 80)]);
        scene
            .until_list(&slices_of(name), ip, |slices| {
                let managed = |s: &Value| {
                    s["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
                        == "endpointslicemirroring-controller.k8s.io"
                };
                (slices.len() == 1 && managed(&slices[0]) && pairs(slices) == wanted).then_some(())
            })
            .await;
    };
    mirrored("10.1.2.3").await;
    scene.replace(&format!("v1/endpoints/{name}"), endpoints("10.2.3.4")).await;
    mirrored("10.2.3.4").await;
    scene.delete(&format!("v1/endpoints/{name}"), json!(null)).await;
    scene.until_count(&slices_of(name), 0).await;
}

async fn should_mirror_a_custom_endpoint_with_multiple_subsets_and_same_ip_address(scene: Scene) {
    let name = "example-custom-endpoints";
    let ports = json!([{"name": "port80", "port": 80}, {"name": "port81", "port": 81}]);
    let made = scene.create(SERVICES, service(name, json!({"ports": ports}))).await;
    scene.create("v1/pods", server("server", json!({"a": "b"}), json!([{"containerPort": 8080}]))).await;
    scene.ready("server").await;
    let ip = ip_of(&scene, "server").await;
    let subset = |port: &str| json!({"ports": [{"name": port, "port": 8080}], "addresses": [{"ip": ip}]});
    scene
        .create("v1/endpoints", json!({"metadata": {"name": name}, "subsets": [subset("port80"), subset("port81")]}))
        .await;
    let cluster_ip = made["spec"]["clusterIP"].as_str().unwrap();
    reachable(&format!("{cluster_ip}:80")).await;
    reachable(&format!("{cluster_ip}:81")).await;
    scene.delete(&format!("v1/endpoints/{name}"), json!(null)).await;
    scene.until_count(&slices_of(name), 0).await;
}

async fn service_endpoints_latency_should_not_be_very_high(scene: Scene) {
    scene.create("v1/pods", server("pause", json!({"name": "svc-latency-rc"}), json!([{"containerPort": 8080}]))).await;
    scene.ready("pause").await;
    let mut latencies = Vec::new();
    for at in 0..20 {
        let begun = std::time::Instant::now();
        let name = format!("latency-svc-{at}");
        let spec = json!({"selector": {"name": "svc-latency-rc"}, "ports": [{"port": 80, "protocol": "TCP"}]});
        scene.create(SERVICES, service(&name, spec)).await;
        let listed = |e: &Value| e["subsets"][0]["addresses"].is_array().then_some(());
        scene.until(&format!("v1/endpoints/{name}"), "has addresses", listed).await;
        latencies.push(begun.elapsed());
    }
    // What Kubernetes asks: half of them within 20 seconds, and nine tenths within 30.
    latencies.sort_unstable();
    assert!(latencies[10].as_secs() < 20 && latencies[18].as_secs() < 30, "{latencies:?}");
}

async fn should_allow_pods_under_the_same_service_with_service_proxy_name_label_to_be_left_alone(scene: Scene) {
    let mut object = service("disabled", json!({"selector": {"name": "proxied"}, "ports": http_port()}));
    object["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": "foo-bar"});
    scene.create(SERVICES, object).await;
    scene.create("v1/pods", server("proxied", json!({"name": "proxied"}), json!([{"containerPort": 8080}]))).await;
    let ip = ip_of(&scene, "proxied").await;
    // Its slices are made and carry the label, which tells proxies to leave them alone.
    scene
        .until_list(&slices_of("disabled"), "its endpoint", |slices| {
            let label = |s: &Value| s["metadata"]["labels"]["service.kubernetes.io/service-proxy-name"] == "foo-bar";
            (pairs(slices).contains(&(ip.clone(), 8080)) && slices.iter().all(label)).then_some(())
        })
        .await;
}
