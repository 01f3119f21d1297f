//! Ranges of Services' addresses that users add: Kubernetes' "ServiceCIDR and IPAddress API" scenario and its
//! `test/integration/servicecidr`, with traffic.

use serde_json::{Value, json};
use tests::cluster::{Options, own_ranges};
use tests::command::on;
use tests::rest::{self, LIMIT, Rest};
use tests::{Cluster, eventually, web};

const HTTP: &str = "skiff.dev/examples/hello-http:v1";
const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

/// A cluster with five addresses for Services, and a /23 beside them that nobody uses.
async fn narrow(ephemeral: bool) -> (Cluster, String) {
    let (pods, services) = own_ranges();
    let [a, b, c] = services.split('.').take(3).collect::<Vec<_>>()[..] else { panic!("{services}") };
    let free = format!("{a}.{b}.{}", c.parse::<u8>().unwrap() + 2);
    let ranges = Some((pods, format!("{a}.{b}.{c}.0/29")));
    (Cluster::start(Options { ephemeral, ranges, ..Options::default() }).await.expect("skiff up starts"), free)
}

fn cidr(name: &str, range: &str) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": name},
        "spec": {"cidrs": [range]}})
}

async fn add_range(rest: &Rest, name: &str, range: &str) {
    rest.create(cidr(name, range)).await;
    let ready = rest.until(&format!("{CIDRS}/{name}"), "ready", |cidr| rest::condition(cidr, "Ready").cloned()).await;
    assert_eq!((&ready["status"], &ready["message"]), (&json!("True"), &json!("Kubernetes Service CIDR is ready")));
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}})
}

fn cluster_ip(service: &Value) -> String {
    service["spec"]["clusterIP"].as_str().unwrap().to_owned()
}

async fn is_full(rest: &Rest) {
    let refused = rest.try_create(&service("one-more")).await.expect_err("no address is left").to_string();
    assert!(refused.contains("failed to allocate a serviceIP: range is full"), "{refused}");
}

async fn answers(ip: &str) {
    let address = format!("{ip}:80");
    eventually(&format!("{address} answers"), LIMIT, || async {
        match web::get(&address, "/").await {
            Ok((status, _)) if status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn services_move_on_to_a_range_that_is_added_and_hold_it() {
    let (mut cluster, free) = narrow(false).await;
    let rest = Rest::of(&cluster).await;
    let default = rest.get(&format!("{CIDRS}/kubernetes")).await;
    assert_eq!(default["metadata"]["finalizers"], json!(["networking.k8s.io/service-cidr-finalizer"]));
    for n in 0..5 {
        rest.create(service(&format!("s{n}"))).await;
    }
    is_full(&rest).await;
    add_range(&rest, "more", &format!("{free}.0/24")).await;
    rest.create(rest::pod("web", HTTP, json!({}), json!({"restartPolicy": "Always"}))).await;
    let ip = cluster_ip(&rest.create(service("web")).await);
    assert!(ip.starts_with(&format!("{free}.")), "{ip}");
    answers(&ip).await;
    let record = rest.get(&format!("{ADDRESSES}/{ip}")).await;
    assert_eq!(record["spec"]["parentRef"]["name"], "web");
    assert_eq!(record["metadata"]["labels"]["ipaddress.kubernetes.io/managed-by"], "ipallocator.k8s.io");

    // A start finds both again, ranges and addresses.
    assert!(cluster.interrupt().await.success());
    cluster.restart().await.unwrap();
    let rest = Rest::of(&cluster).await;
    answers(&ip).await;
    let mut same = service("same");
    same["spec"]["clusterIP"] = json!(ip);
    let refused = rest.try_create(&same).await.expect_err("taken").to_string();
    assert!(refused.contains("provided IP is already allocated"), "{refused}");

    // What a wider one covers may go; the wider one may not, and gives nothing more.
    add_range(&rest, "wide", &format!("{free}.0/23")).await;
    let before = rest.get(CIDRS).await["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    rest.delete(&format!("{CIDRS}/more"), json!(null)).await;
    rest.gone(&format!("{CIDRS}/more")).await;
    rest.delete(&format!("{CIDRS}/wide"), json!(null)).await;
    let wide = format!("{CIDRS}/wide");
    let ready = rest
        .until(&wide, "not ready", |cidr| {
            rest::condition(cidr, "Ready").filter(|ready| ready["status"] == "False").cloned()
        })
        .await;
    assert_eq!(ready["reason"], "Terminating");
    let message =
        "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
    assert_eq!(ready["message"], message);
    is_full(&rest).await;
    answers(&ip).await;
    rest.delete("services/web", json!(null)).await;
    rest.gone(&wide).await;

    // It is its user's, so it goes back with the rest.
    on(&cluster, &["history", "restore", "servicecidr", "wide", "--to", &before]).await.ok();
    rest.until(&wide, "ready", |cidr| rest::has_condition(cidr, "Ready", "True").then_some(())).await;
    rest.create(service("web")).await;
}

#[tokio::test]
async fn what_a_range_cannot_be_used_for_is_told() {
    let (cluster, _) = narrow(true).await;
    let rest = Rest::of(&cluster).await;
    // For documentation (RFC 5737), as in Kubernetes' own scenario: no host has it.
    add_range(&rest, "foreign", "203.0.113.0/24").await;
    rest.create(rest::pod("web", HTTP, json!({}), json!({}))).await;
    let mut foreign = service("web");
    foreign["spec"]["clusterIP"] = json!("203.0.113.10");
    rest.create(foreign).await;
    let told = rest.event("web", "FailedToListen").await;
    let expected = "Pods reach the Service, processes of this host do not: the address is not this host's.";
    assert!(told.starts_with("cannot listen on 203.0.113.10:80: ") && told.contains(expected), "{told}");

    // Where the pods are.
    let [pods, _] = cluster.range_arguments();
    let pods = pods.split_once('=').unwrap().1.to_owned();
    add_range(&rest, "pods", &pods).await;
    let told = rest.event("pods", "OverlapsClusterCIDR").await;
    assert!(told.contains(&format!("overlaps --cluster-cidr {pods}")), "{told}");

    // Where another cluster's Services are.
    let (other, _) = narrow(true).await;
    let [_, theirs] = other.range_arguments();
    add_range(&rest, "theirs", theirs.split_once('=').unwrap().1).await;
    let told = rest.event("theirs", "AddressRangeInUse").await;
    assert!(told.starts_with("another process on this host uses the address range "), "{told}");
}

#[tokio::test]
async fn a_second_cluster_on_the_same_ranges_is_told_of_both_flags() {
    let ranges = own_ranges();
    let options = Options { ranges: Some(ranges), ..Options::default() };
    let _first = Cluster::start(options.clone()).await.expect("skiff up starts");
    let refused = format!("{:#}", Cluster::start(options).await.err().expect("the ranges are taken"));
    assert!(refused.contains("with both --cluster-cidr and --service-cluster-ip-range"), "{refused}");
}
