//! The official JavaScript client, by `fixtures/clients/client.mjs`.

use tests::{Cluster, clients};
use tokio::process::Command;

async fn part(name: &str) {
    let node = clients::program("NODE", "node", &["--version"]);
    let modules = std::env::var_os("CLIENT_NODE");
    let modules = modules.expect("CLIENT_NODE is a folder with @kubernetes/client-node: see `.ci/clients`");
    let cluster = Cluster::up().await;
    let script = clients::fixture("clients/client.mjs");
    clients::run(&cluster, Command::new(node).arg(script).arg(modules).arg(name)).await;
}

#[tokio::test]
async fn objects_and_patches() {
    part("objects").await;
}

#[tokio::test]
async fn watches_and_informers() {
    part("watching").await;
}

#[tokio::test]
async fn pods_and_logs() {
    part("pods").await;
}

#[tokio::test]
async fn deployments() {
    part("deployments").await;
}
