//! What must survive: acknowledged writes through kill -9, and a running cluster through hostile guests.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;
use std::collections::BTreeSet;
use tests::Cluster;
use tokio::sync::mpsc;

/// Creates ConfigMaps until the server is gone; reports each name once the server has acknowledged it.
async fn writer(client: Client, number: usize, acknowledged: mpsc::Sender<String>) {
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    for n in 0.. {
        let name = format!("ledger-{number}-{n}");
        let object = serde_json::from_value(json!({"metadata": {"name": name}, "data": {"n": n.to_string()}})).unwrap();
        if api.create(&PostParams::default(), &object).await.is_err() || acknowledged.send(name).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn no_acknowledged_write_is_lost_to_kill_9() {
    let mut cluster = Cluster::durable().await;
    let mut ledger = BTreeSet::new();
    for round in 0..3 {
        let (sender, mut receiver) = mpsc::channel(1024);
        for number in 0..4 {
            tokio::spawn(writer(cluster.client().await, round * 10 + number, sender.clone()));
        }
        drop(sender);
        // At least 60 acknowledged writes, then kill in the middle of the stream.
        for _ in 0..60 {
            ledger.insert(receiver.recv().await.expect("the server takes writes"));
        }
        cluster.kill().await;
        while let Some(name) = receiver.recv().await {
            ledger.insert(name);
        }
        cluster.restart().await.unwrap();
        let api: Api<ConfigMap> = Api::default_namespaced(cluster.client().await);
        let there: BTreeSet<String> =
            api.list(&ListParams::default()).await.unwrap().items.into_iter().filter_map(|o| o.metadata.name).collect();
        let lost: Vec<&String> = ledger.difference(&there).collect();
        assert!(lost.is_empty(), "round {round}: lost {} of {}: {lost:?}", lost.len(), ledger.len());
    }
}

#[tokio::test]
async fn an_endless_loop_disturbs_nobody_and_is_killed() {
    let cluster = Cluster::up().await;
    let client = cluster.client().await;
    for n in 0..4 {
        crate::pods::create(&cluster, &client, &format!("spin-{n}"), "spin", json!({})).await;
    }
    for n in 0..4 {
        crate::pods::running(&client, &format!("spin-{n}")).await;
    }
    // With two hogs a core, another pod still starts and the API still answers quickly.
    crate::pods::create(&cluster, &client, "hello", "hello", json!({})).await;
    crate::pods::terminated(&client, "hello").await;
    for n in 0..4 {
        crate::pods::delete(&client, &format!("spin-{n}")).await;
    }
}
