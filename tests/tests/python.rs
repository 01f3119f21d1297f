//! The official Python client, by `fixtures/clients/client.py`.

use std::path::PathBuf;
use std::sync::LazyLock;
use tests::{Cluster, clients};
use tokio::process::Command;

async fn part(name: &str) {
    static PYTHON: LazyLock<PathBuf> =
        LazyLock::new(|| clients::program("CLIENT_PYTHON", "python3", &["-c", "import kubernetes"]));
    let cluster = Cluster::up().await;
    clients::run(&cluster, Command::new(PYTHON.as_path()).arg(clients::fixture("clients/client.py")).arg(name)).await;
}

#[tokio::test]
async fn pods() {
    part("pods").await;
}

#[tokio::test]
async fn logs() {
    part("logs").await;
}

#[tokio::test]
async fn deployments() {
    part("deployments").await;
}

#[tokio::test]
async fn custom_objects() {
    part("custom").await;
}

#[tokio::test]
async fn the_dynamic_client_and_server_side_apply() {
    part("any_kind").await;
}

#[tokio::test]
async fn tokens_and_reviews() {
    part("reviews").await;
}

#[tokio::test]
async fn leader_election() {
    part("leaders").await;
}
