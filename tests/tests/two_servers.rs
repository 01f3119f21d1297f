//! Two `skiff server`s on one etcd: one cluster, whichever of them is asked, and whichever of them dies.

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;
use tests::cluster::{Options, own_ranges};
use tests::etcd::Etcd;
use tests::rest::{self, LIMIT, Rest};
use tests::{Cluster, eventually, raw, skiff};
use tokio::process::{Child, Command};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const HTTP: &str = "skiff.dev/examples/hello-http:v1";

async fn server(etcd: &Etcd, ranges: &(String, String)) -> Cluster {
    let args = vec![format!("--store={}", etcd.url())];
    let options = Options { command: "server", ephemeral: false, args, ranges: Some(ranges.clone()) };
    Cluster::start(options).await.expect("skiff server starts on etcd")
}

async fn pair(etcd: &Etcd) -> [Cluster; 2] {
    let ranges = own_ranges();
    let (first, second) = tokio::join!(server(etcd, &ranges), server(etcd, &ranges));
    [first, second]
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"app": "x"}}, "data": {"n": "0"}})).unwrap()
}

async fn next(events: &mut (impl futures::Stream<Item = kube::Result<WatchEvent<ConfigMap>>> + Unpin)) -> String {
    let event = tokio::time::timeout(LIMIT, events.try_next()).await.expect("in time").unwrap().expect("no end");
    match event {
        WatchEvent::Added(object) => object.metadata.name.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_written_on_one_is_read_on_the_other_at_once() {
    let etcd = Etcd::start().await;
    let [one, two] = pair(&etcd).await;
    let clients = [one.client().await, two.client().await];
    let maps = clients.clone().map(Api::<ConfigMap>::default_namespaced);
    let params = WatchParams::default().labels("app=x");
    let mut events = maps[1].watch(&params, "0").await.unwrap().boxed();
    for n in 0..20 {
        let (here, there) = (&maps[n % 2], &maps[(n + 1) % 2]);
        let name = format!("map-{n}");
        let made = here.create(&PostParams::default(), &map(&name)).await.unwrap();
        let read = there.get(&name).await.expect("written before, so there");
        assert_eq!(read.metadata.resource_version, made.metadata.resource_version);
        let listed = there.list(&kube::api::ListParams::default().labels("app=x")).await.unwrap();
        assert_eq!(listed.items.len(), n + 1);
        assert_eq!(next(&mut events).await, name);
        let taken = there.create(&PostParams::default(), &map(&name)).await.unwrap_err();
        assert!(matches!(&taken, kube::Error::Api(status) if status.reason == "AlreadyExists"), "{taken}");
    }
    // One revision, read with precision, is the same everywhere.
    let version = maps[0].get("map-3").await.unwrap().metadata.resource_version.unwrap();
    let path = format!("configmaps?resourceVersion={version}&resourceVersionMatch=Exact&labelSelector=app%3Dx");
    let rests = clients.map(|client| Rest { client });
    assert_eq!((rests[0].items(&path).await.len(), rests[1].items(&path).await.len()), (4, 4));
}

#[tokio::test]
async fn of_conflicting_writes_one_wins_wherever_they_are_made() {
    let etcd = Etcd::start().await;
    let [one, two] = pair(&etcd).await;
    let maps = [one.client().await, two.client().await].map(Api::<ConfigMap>::default_namespaced);
    let mut current = maps[0].create(&PostParams::default(), &map("contended")).await.unwrap();
    for round in 0..20 {
        let write = |api: &Api<ConfigMap>, by: &str| {
            let (api, mut object) = (api.clone(), current.clone());
            object.data = Some([("n".to_owned(), format!("{round} by {by}"))].into());
            async move { api.replace("contended", &PostParams::default(), &object).await }
        };
        let (first, second) = tokio::join!(write(&maps[0], "one"), write(&maps[1], "two"));
        let (won, lost) = match (first, second) {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
            other => panic!("{other:?}"),
        };
        assert!(matches!(&lost, kube::Error::Api(status) if status.code == 409), "{lost}");
        for api in &maps {
            assert_eq!(api.get("contended").await.unwrap().data, won.data);
        }
        current = won;
    }
    // Increments that are tried again lose none.
    let add = |api: Api<ConfigMap>| async move {
        for _ in 0..20 {
            loop {
                let mut object = api.get("counter").await.unwrap();
                let n: u32 = object.data.as_ref().unwrap()["n"].parse().unwrap();
                object.data = Some([("n".to_owned(), (n + 1).to_string())].into());
                match api.replace("counter", &PostParams::default(), &object).await {
                    Ok(_) => break,
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    maps[0].create(&PostParams::default(), &map("counter")).await.unwrap();
    tokio::join!(add(maps[0].clone()), add(maps[1].clone()));
    assert_eq!(maps[1].get("counter").await.unwrap().data.unwrap()["n"], "40");
}

#[tokio::test]
async fn services_never_share_an_address_or_a_node_port() {
    let etcd = Etcd::start().await;
    let [one, two] = pair(&etcd).await;
    let rests = [Rest::of(&one).await, Rest::of(&two).await];
    let create = (0..60).map(|n| {
        let rest = &rests[n % 2];
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s{n}")},
            "spec": {"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80}]}});
        async move { rest.create(service).await }
    });
    let made = futures::future::join_all(create).await;
    let distinct =
        |path: &str| made.iter().map(|s| s.pointer(path).unwrap().to_string()).collect::<BTreeSet<_>>().len();
    assert_eq!((distinct("/spec/clusterIP"), distinct("/spec/ports/0/nodePort")), (60, 60));
    let addresses = rests[1].items("/apis/networking.k8s.io/v1/ipaddresses").await;
    assert_eq!(addresses.len(), 61);
    // A named address goes to one, and the other is told so.
    let named = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"clusterIP": made[7]["spec"]["clusterIP"], "ports": [{"port": 80}]}})
    };
    rests[0].delete("services/s7", Value::Null).await;
    let (first, second) = (named("first"), named("second"));
    let both = tokio::join!(rests[0].try_create(&first), rests[1].try_create(&second));
    let lost = match both {
        (Ok(_), Err(lost)) | (Err(lost), Ok(_)) => lost,
        other => panic!("{other:?}"),
    };
    let lost = lost.to_string();
    assert!(lost.contains("failed to allocate IP") && lost.contains("provided IP is already allocated"), "{lost}");
}

#[tokio::test]
async fn both_give_out_a_range_that_is_added_and_neither_gives_of_one_that_goes() {
    const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";
    let etcd = Etcd::start().await;
    let (pods, services) = own_ranges();
    let [a, b, c] = services.split('.').take(3).collect::<Vec<_>>()[..] else { panic!("{services}") };
    let more = format!("{a}.{b}.{}", c.parse::<u8>().unwrap() + 2);
    // Five addresses and, later, fourteen.
    let ranges = (pods, format!("{a}.{b}.{c}.0/29"));
    let (one, two) = tokio::join!(server(&etcd, &ranges), server(&etcd, &ranges));
    let rests = [Rest::of(&one).await, Rest::of(&two).await];
    let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more"},
        "spec": {"cidrs": [format!("{more}.0/28")]}});
    rests[0].create(object).await;
    rests[1]
        .until(&format!("{CIDRS}/more"), "ready", |cidr| rest::has_condition(cidr, "Ready", "True").then_some(()))
        .await;
    let service = |name: String| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    let create = (0..19).map(|n| rests[n % 2].create(service(format!("s{n}"))));
    let made = futures::future::join_all(create).await;
    let ip = |service: &Value| service["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let (theirs, ours): (Vec<&Value>, Vec<_>) = made.iter().partition(|s| ip(s).starts_with(&format!("{more}.")));
    assert_eq!(made.iter().map(ip).collect::<BTreeSet<_>>().len(), 19);
    assert_eq!((ours.len(), theirs.len()), (5, 14));
    let full = async |rest: &Rest| {
        let refused = rest.try_create(&service("one-more".into())).await.expect_err("all are taken").to_string();
        assert!(refused.contains("failed to allocate a serviceIP: range is full"), "{refused}");
    };
    for rest in &rests {
        full(rest).await;
        assert_eq!(rest.items("/apis/networking.k8s.io/v1/ipaddresses").await.len(), 20);
    }

    // On its way out it gives nothing, whichever server is asked, and goes with the last address.
    rests[1].delete(&format!("{CIDRS}/more"), Value::Null).await;
    let path = |service: &Value| format!("services/{}", service["metadata"]["name"].as_str().unwrap());
    for (rest, gone) in rests.iter().zip(&theirs) {
        rest.delete(&path(gone), Value::Null).await;
        full(rest).await;
    }
    rests[0].delete(&path(ours[0]), Value::Null).await;
    assert_eq!(ip(&rests[1].create(service("again".into())).await), ip(ours[0]));
    for (n, gone) in theirs.iter().enumerate().skip(2) {
        assert!(rests[n % 2].find(&format!("{CIDRS}/more")).await.is_some());
        rests[n % 2].delete(&path(gone), Value::Null).await;
    }
    for rest in &rests {
        rest.gone(&format!("{CIDRS}/more")).await;
        full(rest).await;
    }
}

/// A node process of its own, joined by the kubeconfig of `server`.
fn node(server: &Cluster) -> Child {
    Command::new(skiff())
        .args(["node", "--quiet", "--node-name=worker"])
        .arg(format!("--kubeconfig={}", server.kubeconfig().display()))
        .arg(format!("--data-dir={}", server.scratch().join("worker").display()))
        .args(server.range_arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(server.scratch().join("worker.stderr")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn deployment() -> Value {
    let container = json!({"name": "main", "image": HTTP, "ports": [{"containerPort": 8080}]});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}}})
}

/// Scales through one server, which must see it through: its loops, its node, its logs.
async fn scale(rest: &Rest, replicas: u64) {
    eventually("the Deployment can be scaled", LIMIT, || async {
        let patch = json!({"spec": {"replicas": replicas}});
        rest.try_patch("deployments/web", &patch).await.map_err(|error| error.to_string())
    })
    .await;
    rest.until("deployments/web", "available", |web| (web["status"]["readyReplicas"] == replicas).then_some(())).await;
}

async fn logs(rest: &Rest) {
    let pods = rest.items("pods").await;
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    eventually("the log can be read", LIMIT, || async {
        rest.text(&format!("pods/{name}/log")).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

async fn servers(rest: &Rest) -> usize {
    let path = "endpointslices?labelSelector=kubernetes.io/service-name%3Dkubernetes";
    let slices = rest.items(path).await;
    slices.iter().map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len)).sum()
}

async fn holders(rest: &Rest) -> Vec<String> {
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let mut holders = Vec::new();
    for lease in ["kube-scheduler", "kube-controller-manager"] {
        let lease = rest.find(&format!("{path}/{lease}")).await.unwrap_or_default();
        holders.push(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned());
    }
    holders
}

#[tokio::test]
async fn either_server_may_die() {
    let etcd = Etcd::start().await;
    let [mut one, mut two] = pair(&etcd).await;
    let (first, second) = (Rest::of(&one).await, Rest::of(&two).await);
    assert_eq!((servers(&first).await, servers(&second).await), (2, 2));
    let _node = node(&one);
    first.until("nodes/worker", "Ready", |n| rest::has_condition(n, "Ready", "True").then_some(())).await;
    first.create(deployment()).await;
    scale(&second, 2).await;
    // The node's tunnel ends at one of them only.
    logs(&first).await;
    logs(&second).await;

    let before = holders(&second).await;
    let port = one.config().await.cluster_url.port_u16().unwrap();
    one.kill().await;
    scale(&second, 3).await;
    logs(&second).await;
    eventually("the dead server is off the list", LIMIT, || async {
        match servers(&second).await {
            1 => Ok(()),
            n => Err(n),
        }
    })
    .await;
    one.with_arguments(&[format!("--store={}", etcd.url()), format!("--https-port={port}")]);
    one.restart().await.unwrap();
    let first = Rest::of(&one).await;
    assert_eq!(servers(&first).await, 2);
    eventually("somebody leads", LIMIT, || async {
        let now = holders(&first).await;
        if now.iter().all(|holder| !holder.is_empty()) { Ok(()) } else { Err(format!("{before:?}, now {now:?}")) }
    })
    .await;
    two.kill().await;
    scale(&first, 4).await;
    logs(&first).await;
}

#[tokio::test]
async fn a_watch_goes_on_at_the_other_server() {
    let etcd = Etcd::start().await;
    let [mut one, two] = pair(&etcd).await;
    let maps = [one.client().await, two.client().await].map(Api::<ConfigMap>::default_namespaced);
    let params = WatchParams::default().labels("app=x");
    let mut events = maps[0].watch(&params, "0").await.unwrap().boxed();
    let made = maps[0].create(&PostParams::default(), &map("seen")).await.unwrap();
    assert_eq!(next(&mut events).await, "seen");
    let version = made.metadata.resource_version.unwrap();
    one.kill().await;
    maps[1].create(&PostParams::default(), &map("missed")).await.unwrap();
    let mut events = maps[1].watch(&params, &version).await.unwrap().boxed();
    assert_eq!(next(&mut events).await, "missed");
    maps[1].create(&PostParams::default(), &map("after")).await.unwrap();
    assert_eq!(next(&mut events).await, "after");
    // A version that nobody has reached is told, as Kubernetes does, once there was time to reach it.
    let answer = raw::get(&two, &format!("{MAPS}?resourceVersion=999999999")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["reason"]), (504, &json!("Timeout")));
    let message = answer.json()["message"].to_string();
    assert!(message.starts_with("\"Timeout: Too large resource version: 999999999, current: "), "{message}");
}

#[tokio::test]
async fn etcd_may_be_away_for_a_while() {
    let mut etcd = Etcd::start().await;
    let [one, two] = pair(&etcd).await;
    let (first, second) = (Rest::of(&one).await, Rest::of(&two).await);
    let maps = Api::<ConfigMap>::default_namespaced(two.client().await);
    let params = WatchParams::default().labels("app=x");
    let mut events = maps.watch(&params, "0").await.unwrap().boxed();
    let object = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "x"}}});
    first.create(object("before")).await;
    assert_eq!(next(&mut events).await, "before");
    etcd.kill().await;
    // Clients of kube-rs would try again by themselves.
    let answer = raw::post(&one, MAPS, object("refused").to_string()).await;
    let message = answer.json()["message"].to_string();
    assert!(matches!(answer.status.as_u16(), 503 | 504) && message.contains("etcd"), "{} {message}", answer.status);
    let answer = raw::get(&one, &format!("{MAPS}/before")).await;
    assert_eq!(answer.status, 503, "a read that must see everything cannot be answered: {:?}", answer.body);
    let readiness = raw::get(&one, "/readyz").await;
    assert!(
        readiness.status == 500 && readiness.body.windows(14).any(|w| w == b"[-]etcd failed"),
        "{:?}",
        readiness.body
    );
    assert_eq!(&raw::get(&one, "/livez").await.body[..], b"ok");
    // What is in memory can be read by who asks for no more.
    let stale = first.items("configmaps?resourceVersion=0&labelSelector=app%3Dx").await;
    assert_eq!(stale.len(), 1);
    etcd.restart().await;
    eventually("writing resumes", LIMIT, || async {
        second.try_create(&object("after")).await.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(next(&mut events).await, "after", "the same watch goes on, and the refused one never was");
    assert_eq!(&raw::get(&one, "/readyz/etcd").await.body[..], b"ok");
    assert!(first.find("configmaps/refused").await.is_none());
}

#[tokio::test]
async fn a_start_without_etcd_says_what_it_waits_for() {
    let mut etcd = Etcd::start().await;
    etcd.kill().await;
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(skiff())
        .args(["server", "--https-port=0", &format!("--store={}", etcd.url())])
        .arg(format!("--data-dir={}", folder.path().display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.starts_with("waiting up to 30 s for etcd: ") && line.contains(&etcd.url()), "{line}");
    etcd.restart().await;
    loop {
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.unwrap().unwrap().unwrap();
        if line.contains("ready in") {
            break;
        }
    }
    child.kill().await.unwrap();
}
