#![allow(clippy::needless_pass_by_value, reason = "documents are written where they are used")]

use crate::testing::Cluster;
use serde_json::{Value, json};
use std::time::Duration;

const NAME: &str = "resourcequota-controller";

fn quota(hard: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "n"}, "spec": {"hard": hard}})
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "n"}, "spec": {"containers": [
        {"name": "c", "resources": {"requests": {"cpu": "250m"}}}]}})
}

async fn used(cluster: &Cluster, wanted: Value) {
    for _ in 0..1000 {
        if cluster.fake.get("resourcequotas", "n/q").is_some_and(|quota| quota["status"]["used"] == wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("wanted {wanted}, found {:?}", cluster.fake.get("resourcequotas", "n/q"));
}

#[tokio::test(start_paused = true)]
async fn what_goes_and_what_ends_is_given_back() {
    let cluster = Cluster::start(&[NAME]);
    cluster.fake.create(pod("a"));
    cluster.fake.create(pod("b"));
    cluster.fake.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}}));
    cluster.fake.create(quota(json!({"pods": "5", "requests.cpu": "2", "configmaps": "3"})));
    used(&cluster, json!({"pods": "2", "requests.cpu": "500m", "configmaps": "1"})).await;
    cluster.fake.merge("pods", "n/a", &json!({"status": {"phase": "Succeeded"}}));
    used(&cluster, json!({"pods": "1", "requests.cpu": "250m", "configmaps": "1"})).await;
    cluster.fake.merge("resourcequotas", "n/q", &json!({"spec": {"hard": {"requests.cpu": null}}}));
    used(&cluster, json!({"pods": "1", "configmaps": "1"})).await;
    cluster.stop().await;
}
