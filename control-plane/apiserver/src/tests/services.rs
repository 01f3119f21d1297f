//! Services' addresses, and what a cluster begins with.

use super::*;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}})
}

#[tokio::test]
async fn services_get_addresses_that_nobody_else_has() {
    let cluster = Cluster::with(|config| config.service_cidr = "10.0.0.0/26".parse().unwrap()).await;
    let create = (0..61).map(|n| {
        let cluster = &cluster;
        async move {
            cluster.post(SERVICES, service(&format!("s{n}"))).await["spec"]["clusterIP"].as_str().unwrap().to_owned()
        }
    });
    let mut ips = futures::future::join_all(create).await;
    ips.sort();
    ips.dedup();
    assert_eq!(ips.len(), 61);
    assert!(!ips.contains(&"10.0.0.1".to_owned()));
    let full = cluster.fails("POST", SERVICES, service("one-more")).await;
    assert_eq!(full["code"], 500);
    cluster.ok("DELETE", &format!("{SERVICES}/s7"), Value::Null).await;
    cluster.post(SERVICES, service("one-more")).await;
}

#[tokio::test]
async fn a_failed_create_and_a_dry_run_take_nothing() {
    let cluster = Cluster::new().await;
    let with_ip = |name: &str| {
        let mut s = service(name);
        s["spec"]["clusterIP"] = "127.96.0.50".into();
        s
    };
    cluster.post(&format!("{SERVICES}?dryRun=All"), with_ip("a")).await;
    cluster.post(SERVICES, service("taken")).await;
    cluster.fails("POST", SERVICES, with_ip("taken")).await;
    cluster.post(SERVICES, with_ip("a")).await;
    insta::assert_json_snapshot!("service_ip_taken", cluster.fails("POST", SERVICES, with_ip("b")).await);
}

#[tokio::test]
async fn a_restart_knows_what_is_taken() {
    let cluster = Cluster::new().await;
    let ip = cluster.post(SERVICES, service("a")).await["spec"]["clusterIP"].clone();
    let store = cluster.core.store.clone();
    let again = Cluster::with(|config| config.store = store).await;
    let mut same = service("b");
    same["spec"]["clusterIP"] = ip;
    assert_eq!(again.fails("POST", SERVICES, same).await["code"], 422);
}

#[tokio::test]
async fn an_update_may_leave_the_address_out() {
    let cluster = Cluster::new().await;
    let made = cluster.post(SERVICES, service("a")).await;
    let mut change = service("a");
    change["spec"]["ports"][0]["port"] = 81.into();
    let changed = cluster.ok("PUT", &format!("{SERVICES}/a"), change).await;
    assert_eq!(changed["spec"]["clusterIP"], made["spec"]["clusterIP"]);
}

#[tokio::test]
async fn a_cluster_begins_with_its_namespaces_and_its_own_service() {
    let cluster = Cluster::new().await;
    assert_eq!(cluster.core.store.revision(), 1, "one transaction");
    let namespaces = cluster.get("/api/v1/namespaces").await;
    let names: Vec<&str> =
        namespaces["items"].as_array().unwrap().iter().map(|n| n["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
    assert_eq!(namespaces["items"][0]["status"]["phase"], "Active");
    let service = cluster.get(&format!("{SERVICES}/kubernetes")).await;
    assert_eq!(service["spec"]["clusterIP"], "127.96.0.1");
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 6443);
    let slice = cluster.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await;
    assert_eq!(slice["ports"][0]["port"], 6443);
    cluster.get("/api/v1/namespaces/default/endpoints/kubernetes").await;
    crate::bootstrap::run(&cluster.core).await.unwrap();
    assert_eq!(cluster.core.store.revision(), 1, "nothing is missing at a second start");
}

const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

#[tokio::test]
async fn an_address_is_an_object_that_comes_and_goes_with_its_service() {
    let cluster = Cluster::new().await;
    let ip = cluster.post(SERVICES, service("a")).await["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let record = cluster.get(&format!("{ADDRESSES}/{ip}")).await;
    let parent = json!({"group": "", "resource": "services", "namespace": "default", "name": "a"});
    assert_eq!(record["spec"]["parentRef"], parent);
    let labels = json!({"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"});
    assert_eq!(record["metadata"]["labels"], labels);
    let own = cluster.get(&format!("{ADDRESSES}/127.96.0.1")).await;
    assert_eq!(own["spec"]["parentRef"]["name"], "kubernetes");
    let made = cluster.get(&format!("{SERVICES}/a")).await;
    assert_eq!(made["metadata"]["resourceVersion"], record["metadata"]["resourceVersion"], "one transaction");
    cluster.ok("DELETE", &format!("{SERVICES}/a"), Value::Null).await;
    assert_eq!(cluster.fails("GET", &format!("{ADDRESSES}/{ip}"), Value::Null).await["code"], 404);
    let cidr = cluster.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await;
    assert_eq!(cidr["spec"]["cidrs"], json!(["127.96.0.0/12"]));
    assert_eq!(cidr["status"]["conditions"][0]["status"], "True");
}

#[tokio::test]
async fn a_service_that_becomes_external_gives_its_address_and_ports_back() {
    let cluster = Cluster::new().await;
    let mut wanted = service("a");
    wanted["spec"]["type"] = "NodePort".into();
    wanted["spec"]["ports"][0]["nodePort"] = 30_100.into();
    let made = cluster.post(SERVICES, wanted.clone()).await;
    let ip = made["spec"]["clusterIP"].as_str().unwrap();
    wanted["metadata"]["name"] = "b".into();
    let refused = cluster.fails("POST", SERVICES, wanted.clone()).await;
    let message =
        r#"Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 30100: provided port is already allocated"#;
    assert_eq!(refused["message"], message);
    let change = json!({"spec": {"type": "ExternalName", "externalName": "example.com", "clusterIP": null, "clusterIPs": null, "ports": null,
        "externalTrafficPolicy": null, "internalTrafficPolicy": null}});
    cluster.ok("PATCH", &format!("{SERVICES}/a"), change).await;
    assert_eq!(cluster.fails("GET", &format!("{ADDRESSES}/{ip}"), Value::Null).await["code"], 404);
    wanted["spec"]["clusterIP"] = ip.into();
    cluster.post(SERVICES, wanted).await;
}

#[tokio::test]
async fn servers_on_one_store_never_give_out_the_same_address() {
    let range = |config: &mut Config| config.service_cidr = "10.0.0.0/26".parse().unwrap();
    let first = Cluster::with(range).await;
    let store = first.core.store.clone();
    let second = Cluster::with(|config| {
        range(config);
        config.store = store;
    })
    .await;
    let create = (0..60).map(|n| {
        let cluster = if n % 2 == 0 { &first } else { &second };
        let mut wanted = service(&format!("s{n}"));
        wanted["spec"]["type"] = "NodePort".into();
        async move { cluster.post(SERVICES, wanted).await }
    });
    let made = futures::future::join_all(create).await;
    let distinct = |path: &str| {
        let all = made.iter().map(|s| s.pointer(path).unwrap().to_string());
        all.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!((distinct("/spec/clusterIP"), distinct("/spec/ports/0/nodePort")), (60, 60));
    assert_eq!(first.get(ADDRESSES).await["items"].as_array().unwrap().len(), 61);
}

#[tokio::test]
async fn a_service_written_on_a_stale_look_chooses_another_address() {
    let cluster = Cluster::with(|config| {
        config.service_cidr = "10.0.0.0/28".parse().unwrap();
        config.random = Arc::new(|| 0);
    })
    .await;
    let core = &cluster.core;
    let before = core.store.snapshot();
    let mut late = json!({"metadata": {"name": "late", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}});
    let assignment = core.services.assign(core, &before, &mut late, None).unwrap();
    let first = cluster.post(SERVICES, service("first")).await["spec"]["clusterIP"].clone();
    assert_eq!(first, late["spec"]["clusterIP"], "both looked at the same state");
    let txn = assignment.join(store::Txn::create("core/services/default/late", store::Value::new("{}")));
    let conflict = core.commit("test", txn).await.unwrap().expect_err("the address is taken");
    assert_eq!(&*conflict.key, format!("networking.k8s.io/ipaddresses/{}", first.as_str().unwrap()).as_bytes());
}

#[tokio::test]
async fn records_are_repaired_from_the_services() {
    let cluster = Cluster::new().await;
    let mut wanted = service("a");
    wanted["spec"]["type"] = "NodePort".into();
    let made = cluster.post(SERVICES, wanted).await;
    let (ip, port) = (made["spec"]["clusterIP"].as_str().unwrap(), &made["spec"]["ports"][0]["nodePort"]);
    let gone = cluster.post(SERVICES, service("gone")).await;
    let txn = store::Txn::new()
        .delete(format!("networking.k8s.io/ipaddresses/{ip}"))
        .delete(format!("~nodeports/{port}"))
        .delete("core/services/default/gone");
    cluster.core.commit("test", txn).await.unwrap().ok().expect("no conditions");
    assert_eq!(crate::admission::reservations::repair(&cluster.core).await.unwrap(), 3);
    assert_eq!(crate::admission::reservations::repair(&cluster.core).await.unwrap(), 0);
    assert_eq!(cluster.get(&format!("{ADDRESSES}/{ip}")).await["spec"]["parentRef"]["name"], "a");
    let orphan = format!("{ADDRESSES}/{}", gone["spec"]["clusterIP"].as_str().unwrap());
    assert_eq!(cluster.fails("GET", &orphan, Value::Null).await["code"], 404);
    let mut same = service("b");
    same["spec"]["clusterIP"] = ip.into();
    assert_eq!(cluster.fails("POST", SERVICES, same).await["code"], 422);
}

#[tokio::test]
async fn the_servers_own_service_comes_back() {
    let cluster = Cluster::new().await;
    let services = "/api/v1/namespaces/default/services/kubernetes";
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    let (service, slice) = (cluster.get(services).await, cluster.get(slices).await);
    crate::bootstrap::repair(&cluster.core).await.unwrap();
    assert_eq!(cluster.get(slices).await, slice, "nothing to do, nothing done");
    cluster.ok("DELETE", services, Value::Null).await;
    cluster.ok("PATCH", slices, json!({"endpoints": [], "ports": [{"name": "https", "port": 1}]})).await;
    cluster.ok("DELETE", "/api/v1/namespaces/kube-node-lease", Value::Null).await;
    crate::bootstrap::repair(&cluster.core).await.unwrap();
    assert_eq!(cluster.get(services).await["spec"], service["spec"]);
    let repaired = cluster.get(slices).await;
    assert_eq!((&repaired["endpoints"], &repaired["ports"]), (&slice["endpoints"], &slice["ports"]));
}
