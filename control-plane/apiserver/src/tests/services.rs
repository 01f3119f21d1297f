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

#[tokio::test]
async fn a_create_that_is_given_up_leaves_books_and_store_in_agreement() {
    let cluster = Cluster::new().await;
    let mut wanted = service("a");
    wanted["spec"]["clusterIP"] = "127.96.0.60".into();
    let mut watch =
        cluster.watch(&format!("{SERVICES}?watch=1&resourceVersion=1&fieldSelector=metadata.name%3Da")).await;
    {
        let create = cluster.post(SERVICES, wanted.clone());
        futures::pin_mut!(create);
        assert!(futures::poll!(create).is_pending(), "the commit is under way");
    }
    assert_eq!(watch.short().await, ("ADDED".into(), "a".into()));
    cluster.ok("DELETE", &format!("{SERVICES}/a"), Value::Null).await;
    cluster.post(SERVICES, wanted).await;
}

#[tokio::test]
async fn a_delete_that_is_given_up_gives_the_address_back() {
    let cluster = Cluster::new().await;
    let mut wanted = service("a");
    wanted["spec"]["clusterIP"] = "127.96.0.61".into();
    cluster.post(SERVICES, wanted.clone()).await;
    let mut watch = cluster.watch(&format!("{SERVICES}?watch=1&fieldSelector=metadata.name%3Da")).await;
    assert_eq!(watch.short().await, ("ADDED".into(), "a".into()));
    {
        let path = format!("{SERVICES}/a");
        let delete = cluster.ok("DELETE", &path, Value::Null);
        futures::pin_mut!(delete);
        assert!(futures::poll!(delete).is_pending(), "the commit is under way");
    }
    assert_eq!(watch.short().await, ("DELETED".into(), "a".into()));
    while cluster.core.services.has("127.96.0.61") {
        tokio::task::yield_now().await;
    }
    cluster.post(SERVICES, wanted).await;
}
