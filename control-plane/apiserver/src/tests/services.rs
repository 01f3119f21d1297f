//! Services' addresses, and what a cluster begins with.

use super::*;
use crate::admission::cluster_ip::Purpose;

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
    let parent = json!({"resource": "services", "namespace": "default", "name": "a"});
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
    let assignment = core.services.assign(core, &before, &mut late, None, Purpose::Write).unwrap();
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
    assert_eq!(crate::admission::repair::repair(&cluster.core).await.unwrap(), 3);
    assert_eq!(crate::admission::repair::repair(&cluster.core).await.unwrap(), 0);
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

const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";

/// A range that only goes when its finalizer does, as the controller makes it.
async fn range(cluster: &Cluster, name: &str, cidrs: Value) {
    let metadata = json!({"name": name, "finalizers": ["networking.k8s.io/service-cidr-finalizer"]});
    cluster.post(CIDRS, json!({"metadata": metadata, "spec": {"cidrs": cidrs}})).await;
}

async fn create(cluster: &Cluster, name: &str, ip: Option<&str>) -> String {
    let mut wanted = service(name);
    if let Some(ip) = ip {
        wanted["spec"]["clusterIP"] = ip.into();
    }
    cluster.post(SERVICES, wanted).await["spec"]["clusterIP"].as_str().unwrap().to_owned()
}

async fn refused(cluster: &Cluster, ip: Option<&str>) -> String {
    let mut wanted = service("refused");
    if let Some(ip) = ip {
        wanted["spec"]["clusterIP"] = ip.into();
    }
    cluster.fails("POST", SERVICES, wanted).await["message"].as_str().unwrap().to_owned()
}

const FULL: &str = "Internal error occurred: failed to allocate a serviceIP: range is full";

#[tokio::test]
async fn addresses_come_from_every_range_that_is_ready() {
    let cluster = Cluster::with(|config| config.service_cidr = "10.0.0.0/29".parse().unwrap()).await;
    for n in 0..5 {
        create(&cluster, &format!("s{n}"), None).await;
    }
    assert_eq!(refused(&cluster, None).await, FULL);
    let mismatch = |ip: &str| {
        format!(
            r#"Service "refused" is invalid: spec.clusterIPs: Invalid value: ["{ip}"]: failed to allocate IP {ip}: the provided network does not match the current range"#
        )
    };
    assert_eq!(refused(&cluster, Some("10.1.0.1")).await, mismatch("10.1.0.1"));
    // A second one, of both families: the second family is not one that this server gives addresses of.
    range(&cluster, "more", json!(["10.1.0.0/30", "fd00::/64"])).await;
    assert_eq!(create(&cluster, "a", Some("10.1.0.1")).await, "10.1.0.1");
    assert_eq!(create(&cluster, "b", None).await, "10.1.0.2");
    assert_eq!(refused(&cluster, None).await, FULL);
    for outside in ["10.1.0.0", "10.1.0.3", "10.0.0.7"] {
        assert_eq!(refused(&cluster, Some(outside)).await, mismatch(outside), "the network's own, and broadcast");
    }
    let record = cluster.get(&format!("{ADDRESSES}/10.1.0.2")).await;
    assert_eq!(record["spec"]["parentRef"]["name"], "b");
    // What is wider gives what is free in it, but never the API server's own address.
    range(&cluster, "wide", json!(["10.0.0.0/24"])).await;
    cluster.ok("DELETE", &format!("{SERVICES}/kubernetes"), Value::Null).await;
    let taken = refused(&cluster, Some("10.0.0.1")).await;
    assert!(taken.ends_with("failed to allocate IP 10.0.0.1: provided IP is already allocated"), "{taken}");
    assert!(create(&cluster, "c", None).await.starts_with("10.0.0."));
    // One that is not ready, and one that goes, give nothing.
    cluster.ok("DELETE", &format!("{CIDRS}/wide"), Value::Null).await;
    assert_eq!(refused(&cluster, None).await, FULL);
    assert_eq!(refused(&cluster, Some("10.0.0.99")).await, mismatch("10.0.0.99"));
    range(&cluster, "other", json!(["10.2.0.0/24"])).await;
    let not_ready = json!([{"type": "Ready", "status": "False", "reason": "", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    cluster.ok("PATCH", &format!("{CIDRS}/other/status"), json!({"status": {"conditions": not_ready}})).await;
    assert_eq!(refused(&cluster, None).await, FULL);
    // What has an address keeps it.
    cluster.ok("PATCH", &format!("{SERVICES}/c"), json!({"metadata": {"labels": {"x": "y"}}})).await;
}

#[tokio::test]
async fn the_default_range_is_the_first_to_give() {
    let cluster = Cluster::with(|config| config.service_cidr = "10.5.0.0/24".parse().unwrap()).await;
    range(&cluster, "a", json!(["10.1.0.0/24"])).await;
    for n in 0..20 {
        assert!(create(&cluster, &format!("s{n}"), None).await.starts_with("10.5.0."));
    }
}

#[tokio::test]
async fn a_range_that_is_deleted_meanwhile_gives_no_address() {
    let cluster = Cluster::with(|config| config.service_cidr = "10.0.0.0/28".parse().unwrap()).await;
    range(&cluster, "more", json!(["10.1.0.0/24"])).await;
    let core = &cluster.core;
    let before = core.store.snapshot();
    let spec = json!({"clusterIP": "10.1.0.9", "ports": [{"port": 80}]});
    let mut late = json!({"metadata": {"name": "late", "namespace": "default"}, "spec": spec});
    let assignment = core.services.assign(core, &before, &mut late, None, Purpose::Write).unwrap();
    cluster.ok("DELETE", &format!("{CIDRS}/more"), Value::Null).await;
    let txn = assignment.join(store::Txn::create("core/services/default/late", store::Value::new("{}")));
    let conflict = core.commit("test", txn).await.unwrap().expect_err("the range goes");
    assert_eq!(&*conflict.key, b"networking.k8s.io/servicecidrs/more");
}

#[tokio::test]
async fn a_start_with_another_range_leaves_everything_where_it_is_and_says_so() {
    let cluster = Cluster::with(|config| config.service_cidr = "10.0.0.0/28".parse().unwrap()).await;
    let ip = create(&cluster, "a", None).await;
    let store = cluster.core.store.clone();
    let again = Cluster::with(|config| {
        config.store = store;
        config.service_cidr = "10.7.0.0/24".parse().unwrap();
    })
    .await;
    let own = again.get(&format!("{SERVICES}/kubernetes")).await;
    assert_eq!(own["spec"]["clusterIP"], "10.0.0.1");
    assert_eq!(again.get(&format!("{CIDRS}/kubernetes")).await["spec"]["cidrs"], json!(["10.0.0.0/28"]));
    assert!(create(&again, "b", None).await.starts_with("10.0.0."));
    assert_eq!(again.get(&format!("{ADDRESSES}/{ip}")).await["spec"]["parentRef"]["name"], "a");
    let events = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.kind=ServiceCIDR";
    let told = again.get(events).await["items"].clone();
    assert_eq!(told.as_array().unwrap().len(), 1);
    assert_eq!(told[0]["reason"], "KubernetesDefaultServiceCIDRInconsistent");
    let message =
        "The default ServiceCIDR [10.0.0.0/28] does not match the controller flag configurations [10.7.0.0/24]";
    assert_eq!(told[0]["message"], message);
    let revision = again.core.store.revision();
    crate::bootstrap::run(&again.core).await.unwrap();
    assert_eq!(again.core.store.revision(), revision, "nothing more to do or to tell");
    // The way to the new range: https://kubernetes.io/docs/tasks/network/reconfigure-default-service-ip-ranges
    again.ok("PATCH", &format!("{CIDRS}/kubernetes"), json!({"metadata": {"finalizers": null}})).await;
    for gone in [format!("{CIDRS}/kubernetes"), format!("{SERVICES}/kubernetes")] {
        again.ok("DELETE", &gone, Value::Null).await;
    }
    crate::bootstrap::repair(&again.core).await.unwrap();
    assert_eq!(again.get(&format!("{CIDRS}/kubernetes")).await["spec"]["cidrs"], json!(["10.7.0.0/24"]));
    assert_eq!(again.get(&format!("{SERVICES}/kubernetes")).await["spec"]["clusterIP"], "10.7.0.1");
    // The Services of the old one are told, once.
    for _ in 0..2 {
        assert_eq!(crate::admission::repair::repair(&again.core).await.unwrap(), 0);
    }
    let events = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=a";
    let told = again.get(events).await["items"].clone();
    assert_eq!(told.as_array().unwrap().len(), 1);
    assert_eq!(told[0]["reason"], "ClusterIPOutOfRange");
    let message = format!("Cluster IP [IPv4]: {ip} is not within any configured Service CIDR; please recreate service");
    assert_eq!(told[0]["message"], message);
}

#[tokio::test]
async fn two_families_are_more_than_this_cluster_has() {
    let cluster = Cluster::new().await;
    range(&cluster, "six", json!(["fd00::/64"])).await;
    let ask = |spec: Value| {
        let cluster = &cluster;
        async move {
            let mut wanted = service("refused");
            for (field, value) in spec.as_object().unwrap() {
                wanted["spec"][field] = value.clone();
            }
            cluster.fails("POST", SERVICES, wanted).await["message"].as_str().unwrap().to_owned()
        }
    };
    let prefix = r#"Service "refused" is invalid: "#;
    for (spec, message) in [
        (
            json!({"ipFamilies": ["IPv6"]}),
            r#"spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster"#,
        ),
        (
            json!({"clusterIP": "fd00::7"}),
            r#"spec.clusterIPs[0]: Invalid value: ["fd00::7"]: IPv6 is not configured on this cluster"#,
        ),
        (
            json!({"clusterIP": "10.0.0"}),
            r#"spec.clusterIPs[0]: Invalid value: "10.0.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#,
        ),
    ] {
        assert_eq!(ask(spec).await, format!("{prefix}{message}"));
    }
    let bare = json!({"metadata": {"name": "bare"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}});
    let bare = cluster.post(SERVICES, bare).await;
    assert_eq!(bare["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]), "as on every cluster");
    assert_eq!(bare["spec"]["ipFamilyPolicy"], "RequireDualStack");
}

#[tokio::test]
async fn what_a_service_says_of_its_addresses_agrees_or_is_refused() {
    let cluster = Cluster::new().await;
    let with = |name: &str, more: Value| {
        let mut service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
        service["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        service
    };
    for (more, why) in [
        (
            json!({"clusterIP": "127.96.0.77", "clusterIPs": ["127.96.0.78"]}),
            "spec.clusterIPs: Invalid value: [\"127.96.0.78\"]: first value must match `clusterIP`",
        ),
        (
            json!({"clusterIPs": ["127.96.0.78"]}),
            "spec.clusterIPs: Invalid value: [\"127.96.0.78\"]: must be empty when `clusterIP` is not specified",
        ),
        (
            json!({"type": "ExternalName", "externalName": "a.b", "clusterIP": "127.96.0.9"}),
            "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
        ),
        (
            json!({"ports": [{"port": 80, "nodePort": 30000}]}),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
    ] {
        let refused = cluster.fails("POST", SERVICES, with("a", more)).await;
        assert_eq!(refused["message"], format!("Service \"a\" is invalid: {why}"));
    }
    let made = cluster.post(SERVICES, with("a", json!({}))).await;
    let path = format!("{SERVICES}/a");
    let refused = cluster.fails("PATCH", &path, json!({"spec": {"clusterIPs": ["127.96.3.3"]}})).await;
    assert_eq!(
        refused["message"],
        "Service \"a\" is invalid: spec.clusterIPs: Invalid value: [\"127.96.3.3\"]: first value must match `clusterIP`"
    );
    let refused = cluster.fails("PATCH", &path, json!({"spec": {"clusterIP": "127.96.3.3"}})).await;
    assert_eq!(
        refused["message"],
        "Service \"a\" is invalid: spec.clusterIPs[0]: Invalid value: [\"127.96.3.3\"]: may not change once set"
    );
    let cleared = cluster.ok("PATCH", &path, json!({"spec": {"clusterIP": null, "clusterIPs": null}})).await;
    assert_eq!(cleared["spec"], made["spec"]);
}

#[tokio::test]
async fn ports_of_one_number_share_their_node_port_and_balancers_get_one_for_health_checks() {
    let cluster = Cluster::new().await;
    let dns =
        json!([{"name": "tcp", "port": 53}, {"name": "udp", "port": 53, "protocol": "UDP"}, {"name": "x", "port": 54}]);
    let made =
        cluster.post(SERVICES, json!({"metadata": {"name": "dns"}, "spec": {"type": "NodePort", "ports": dns}})).await;
    let port = |service: &Value, at: usize| service["spec"]["ports"][at]["nodePort"].as_u64().unwrap();
    assert_eq!(port(&made, 0), port(&made, 1));
    assert_ne!(port(&made, 0), port(&made, 2));
    let renamed = json!({"spec": {"ports": [{"name": "x", "port": 99}, {"name": "new", "port": 54}]}});
    let changed = cluster.ok("PATCH", &format!("{SERVICES}/dns"), renamed).await;
    assert_eq!(port(&changed, 0), port(&made, 2));
    assert!(![port(&made, 0), port(&made, 2)].contains(&port(&changed, 1)));

    let local = |name: &str, check: Option<u64>| {
        let mut spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
        if let Some(check) = check {
            spec["healthCheckNodePort"] = check.into();
        }
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let made = cluster.post(SERVICES, local("lb", None)).await;
    let check = made["spec"]["healthCheckNodePort"].as_u64().unwrap();
    assert!((30_000..=32_767).contains(&check) && check != port(&made, 0));
    let taken = cluster.fails("POST", SERVICES, local("other", Some(check))).await;
    let why = format!("failed to allocate requested HealthCheck NodePort {check}: provided port is already allocated");
    assert_eq!((&taken["code"], taken["message"].as_str().unwrap().ends_with(&why)), (&json!(500), true), "{taken}");
    let path = format!("{SERVICES}/lb");
    let kept = cluster.ok("PATCH", &path, json!({"spec": {"healthCheckNodePort": null}})).await;
    assert_eq!(kept["spec"]["healthCheckNodePort"], check);
    let cluster_wide = cluster.ok("PATCH", &path, json!({"spec": {"externalTrafficPolicy": "Cluster"}})).await;
    assert_eq!(cluster_wide["spec"]["healthCheckNodePort"], Value::Null);
    cluster.post(SERVICES, local("other", Some(check))).await;
}
