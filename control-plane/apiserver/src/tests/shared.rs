//! Several servers on one store, in one process: what etcd makes possible, without etcd.

use super::server::get;
use super::*;
use crate::ApiServer;
use crate::config::Sharing;
use crate::pki::PkiSource;
use axum::routing;
use store::Store;

const SLICES: &str =
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dkubernetes";

async fn start(store: &Store) -> ApiServer {
    let mut config = Config::new(store.clone());
    config.sharing = Sharing::Shared;
    ApiServer::start(config).await.unwrap()
}

async fn document(server: &ApiServer, path: &str) -> Value {
    let (code, bytes) = get(server, Some(server.pki().admin()), b"http/1.1", path).await;
    assert_eq!(code, 200, "{path}: {bytes:?}");
    serde_json::from_slice(&bytes).unwrap()
}

/// The ports of the Service `kubernetes`, from its slices and from its Endpoints.
async fn ports(server: &ApiServer) -> (Vec<u64>, Vec<u64>) {
    let sorted = |mut ports: Vec<u64>| {
        ports.sort_unstable();
        ports
    };
    let slices = document(server, SLICES).await;
    let slices = slices["items"].as_array().unwrap().iter().map(|s| s["ports"][0]["port"].as_u64().unwrap());
    let endpoints = document(server, "/api/v1/namespaces/default/endpoints/kubernetes").await;
    let subsets = endpoints["subsets"].as_array().unwrap().iter().map(|s| s["ports"][0]["port"].as_u64().unwrap());
    (sorted(slices.collect()), sorted(subsets.collect()))
}

#[tokio::test]
async fn servers_agree_on_their_ca_and_list_each_other() {
    let store = Store::open(store::Options::memory()).unwrap();
    let (first, second) = (start(&store).await, start(&store).await);
    assert_eq!(first.pki().ca_pem(), second.pki().ca_pem());
    assert_ne!(first.pki().serving().key_pem, second.pki().serving().key_pem, "each has a serving key of its own");
    // The one's administrator is the other's.
    let (code, _) = get(&second, Some(first.pki().admin()), b"h2", "/api/v1/namespaces").await;
    assert_eq!(code, 200);
    let mut both = vec![u64::from(first.local_addr().port()), u64::from(second.local_addr().port())];
    both.sort_unstable();
    assert_eq!(ports(&first).await, (both.clone(), both));
    let left = u64::from(first.local_addr().port());
    second.shutdown().await;
    assert_eq!(ports(&first).await, (vec![left], vec![left]), "a server that stops is taken off the list");
    first.shutdown().await;
    let again = start(&store).await;
    let own = u64::from(again.local_addr().port());
    assert_eq!(ports(&again).await, (vec![own], vec![own]), "and so is the last one, once there is another");
}

#[tokio::test]
async fn keys_are_out_of_reach_of_the_api() {
    let store = Store::open(store::Options::memory()).unwrap();
    let server = start(&store).await;
    assert!(store.snapshot().get(b"~pki/ca").is_some());
    for path in ["/api/v1/~pki/ca", "/apis/~pki/v1/ca", "/api/v1/namespaces/~pki/ca/x", "/apis/%7Epki/v1/namespaces/ca"]
    {
        assert_eq!(get(&server, Some(server.pki().admin()), b"h2", path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_directory_keeps_the_clusters_ca_and_refuses_anothers() {
    let store = Store::open(store::Options::memory()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let with = |store: &Store, dir: &str| {
        let mut config = Config::new(store.clone());
        config.sharing = Sharing::Shared;
        config.pki = PkiSource::Directory(folder.path().join(dir));
        ApiServer::start(config)
    };
    let alone = {
        let mut config = Config::new(Store::open(store::Options::memory()).unwrap());
        config.pki = PkiSource::Directory(folder.path().join("one"));
        ApiServer::start(config).await.unwrap()
    };
    let one = with(&store, "one").await.unwrap();
    assert_eq!(one.pki().ca_pem(), alone.pki().ca_pem(), "who comes from a store of its own brings its CA along");
    let two = with(&store, "two").await.unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("two/ca.crt")).unwrap(), one.pki().ca_pem());
    assert_eq!(two.pki().ca_pem(), one.pki().ca_pem());
    let other = Store::open(store::Options::memory()).unwrap();
    let _theirs = start(&other).await;
    let error = with(&other, "one").await.err().unwrap();
    let cause = std::error::Error::source(&error).and_then(std::error::Error::source).unwrap().to_string();
    assert!(cause.contains("it is another cluster's than the one in the store"), "{cause}");
}

#[tokio::test]
async fn a_server_passes_on_what_is_for_another_ones_node() {
    let store = Store::open(store::Options::memory()).unwrap();
    let (first, second) = (start(&store).await, start(&store).await);
    let kubelet = axum::Router::new().route("/containerLogs/{ns}/{pod}/{c}", routing::get(|| async { "from afar\n" }));
    first.attach_node("n1", kubelet);
    let admin = crate::local::LocalService::new(Arc::clone(&first.core), User::component("system:admin"));
    let cluster = Cluster { core: Arc::clone(&first.core), service: admin, seconds: Arc::default() };
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = "n1".into();
    cluster.post(PODS, bound.clone()).await;
    let log = format!("{PODS}/p/log");
    let (code, text) = get(&second, Some(second.pki().admin()), b"h2", &log).await;
    assert_eq!((code.as_u16(), &text[..]), (200, &b"from afar\n"[..]));
    first.detach_node("n1");
    let (code, text) = get(&second, Some(second.pki().admin()), b"h2", &log).await;
    assert_eq!(code, 503, "{text:?}");
    let message = serde_json::from_slice::<Value>(&text).unwrap()["message"].to_string();
    assert!(message.contains("the node is down or has not joined"), "{message}");
    // Nobody but servers and administrators may ask this way.
    let node = second.pki().issue_node("n2").unwrap();
    let (code, _) = get(&first, Some(&node), b"h2", "/apis/skiff.dev/v1/nodes/n1/kubelet?path=/pods").await;
    assert_eq!(code, 403);
}
