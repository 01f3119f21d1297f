//! Many pods at once.

use futures::future::join_all;
use serde_json::{Value, json};
use tests::rest::{self, Rest};
use tests::{Cluster, binary};

#[tokio::test]
async fn a_hundred_pods_start_and_go_at_once() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let image = format!("file://{}", binary::wat(cluster.scratch(), "sleeper").display());
    let create = |n: usize| {
        let (rest, image) = (&rest, &image);
        async move {
            let mut pod = rest::pod(&format!("p{n}"), image, json!({}), json!({}));
            pod["metadata"]["labels"]["of"] = json!("many");
            rest.create(pod).await
        }
    };
    join_all((0..100).map(create)).await;
    let pods = "pods?labelSelector=of=many";
    let list = rest.until(pods, "all are Ready", |list| {
        let ready = list["items"].as_array()?.iter().filter(|p| rest::has_condition(p, "Ready", "True")).count();
        (ready == 100).then(|| list["items"].clone())
    });
    let list = list.await;
    let mut ips: Vec<&str> = list.as_array().unwrap().iter().filter_map(|p| p["status"]["podIP"].as_str()).collect();
    ips.sort_unstable();
    ips.dedup();
    assert_eq!(ips.len(), 100, "each has an address of its own");

    rest.delete(pods, Value::Null).await;
    rest.until(pods, "all are gone", |list| list["items"].as_array()?.is_empty().then_some(())).await;
    // The node is as it was.
    rest.create(rest::pod("after", &image, json!({}), json!({}))).await;
    rest.ready("after").await;
}
