//! `skiff store`: backups that are taken while writes go on, and brought back anywhere; checks that find damage.

use serde_json::{Value, json};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tests::cluster::Cluster;
use tests::command::{at, on};
use tests::raw;
use tests::rest::Rest;

fn map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": value}})
}

async fn stats(cluster: &Cluster) -> Value {
    serde_json::from_str(&on(cluster, &["store", "stats", "-o", "json"]).await.ok()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The file with one byte flipped.
fn flipped(file: &Path, to: &Path, at: u64) {
    std::fs::copy(file, to).unwrap();
    let copy = std::fs::File::options().read(true).write(true).open(to).unwrap();
    let mut byte = [0];
    copy.read_exact_at(&mut byte, at).unwrap();
    copy.write_all_at(&[byte[0] ^ 0xff], at).unwrap();
}

#[tokio::test]
async fn a_backup_taken_while_writes_go_on_becomes_a_new_cluster() {
    let mut cluster = Cluster::durable().await;
    let rest = Rest::of(&cluster).await;
    let first = rest.create(map("first", "1")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (rest, stop) = (rest.clone(), Arc::clone(&stop));
        async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                rest.create(map(&format!("busy-{number:05}"), "x")).await;
            }
            number
        }
    });
    let file = cluster.scratch().join("backup");
    let said = on(&cluster, &["store", "backup", text(&file)]).await.ok();
    stop.store(true, Ordering::Relaxed);
    let written: usize = writing.await.unwrap();
    assert!(said.starts_with("Backed up "), "{said}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "Secrets are in it");
    assert!(on(&cluster, &["store", "backup", text(&file)]).await.refused().contains("--force"));
    let taken = stats(&cluster).await["revision"].as_u64().unwrap();

    // A new data directory: what was there at one revision, and revisions that go on far beyond.
    let dir = cluster.scratch().join("new");
    let made = at(&dir, &["store", "restore", text(&file)]).await.ok();
    assert!(made.contains("It begins at revision"), "{made}");
    assert!(at(&dir, &["store", "check"]).await.ok().contains("is sound"));
    assert!(cluster.interrupt().await.success());
    std::fs::remove_file(cluster.data_dir().join("store.redb")).unwrap();
    std::fs::copy(dir.join("store.redb"), cluster.data_dir().join("store.redb")).unwrap();
    cluster.restart().await.unwrap();
    let rest = Rest::of(&cluster).await;
    assert_eq!(rest.get("configmaps/first").await["metadata"]["uid"], first["metadata"]["uid"]);
    let mut busy: Vec<String> = rest
        .items("configmaps")
        .await
        .iter()
        .map(|m| m["metadata"]["name"].as_str().unwrap().to_owned())
        .filter(|n| n.starts_with("busy-"))
        .collect();
    busy.sort();
    assert!(busy.len() <= written);
    let expected: Vec<String> = (1..=busy.len()).map(|number| format!("busy-{number:05}")).collect();
    assert_eq!(busy, expected, "a backup is of one revision");
    let next = rest.create(map("next", "1")).await;
    let next: u64 = next["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(next > taken, "{next} is not beyond {taken}");
    let old =
        raw::get(&cluster, &format!("/api/v1/configmaps?watch=true&resourceVersion={taken}&timeoutSeconds=1")).await;
    let event: Value = serde_json::from_slice(&old.body).unwrap_or_default();
    let code = if event["type"] == "ERROR" { event["object"]["code"].clone() } else { event["code"].clone() };
    assert_eq!(code, 410, "{event}");
}

#[tokio::test]
async fn a_backup_goes_back_into_the_running_cluster() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let gone = rest.create(map("gone", "1")).await;
    rest.create(map("changed", "1")).await;
    let file = cluster.scratch().join("backup");
    on(&cluster, &["store", "backup", text(&file)]).await.ok();
    rest.delete("configmaps/gone", json!(null)).await;
    rest.patch("configmaps/changed", json!({"data": {"k": "2"}})).await;
    rest.create(map("new", "1")).await;
    let before = stats(&cluster).await["revision"].as_u64().unwrap();
    assert!(on(&cluster, &["store", "restore", text(&file)]).await.refused().contains("--yes"));
    let said = on(&cluster, &["store", "restore", text(&file), "--yes"]).await.ok();
    assert!(said.starts_with("Restored "), "{said}");
    assert_eq!(rest.get("configmaps/gone").await["metadata"]["uid"], gone["metadata"]["uid"]);
    assert_eq!(rest.get("configmaps/changed").await["data"]["k"], "1");
    assert_eq!(rest.find("configmaps/new").await, None);
    assert!(stats(&cluster).await["revision"].as_u64().unwrap() > before);
    rest.until("nodes/node-1", "is still Ready", |n| tests::rest::has_condition(n, "Ready", "True").then_some(()))
        .await;
}

#[tokio::test]
async fn what_is_no_whole_backup_changes_nothing() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let kept = rest.create(map("kept", "1")).await;
    let file = cluster.scratch().join("backup");
    on(&cluster, &["store", "backup", text(&file)]).await.ok();
    let size = std::fs::metadata(&file).unwrap().len();
    let bad = cluster.scratch().join("bad");
    for position in [0, 9, 40, size / 2, size - 1] {
        flipped(&file, &bad, position);
        let refused = on(&cluster, &["store", "restore", text(&bad), "--yes"]).await.refused();
        assert!(refused.contains("nothing was changed"), "{refused}");
    }
    for length in [0, 11, size / 2, size - 1] {
        std::fs::copy(&file, &bad).unwrap();
        std::fs::File::options().write(true).open(&bad).unwrap().set_len(length).unwrap();
        on(&cluster, &["store", "restore", text(&bad), "--yes"]).await.refused();
        // The server verifies for itself.
        let sent = raw::post(&cluster, "/skiff/v1/store/restore", std::fs::read(&bad).unwrap()).await;
        assert_eq!(sent.status.as_u16(), 400, "{}", sent.json());
        assert!(sent.json()["message"].as_str().unwrap().contains("nothing was changed"));
    }
    assert_eq!(rest.get("configmaps/kept").await["metadata"]["resourceVersion"], kept["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_check_tells_sound_from_damaged() {
    let mut cluster = Cluster::durable().await;
    let rest = Rest::of(&cluster).await;
    for number in 0..20 {
        rest.create(map(&format!("m-{number}"), &"x".repeat(2_000))).await;
    }
    rest.create(map("damaged", "zzzzzzzz")).await;
    let dir = cluster.data_dir();
    assert!(at(&dir, &["store", "check"]).await.refused().contains("in use"));
    assert!(cluster.interrupt().await.success());
    let said = at(&dir, &["store", "check"]).await.ok();
    assert!(said.contains("is sound"), "{said}");
    assert!(at(&dir, &["store", "compact", "--keep", "1rev"]).await.ok().contains("Forgot history"));
    assert!(at(&dir, &["store", "check"]).await.ok().contains("is sound"));
    // Wherever the object's bytes lie: in its row, and in pages that redb has not used again yet.
    let mut bytes = std::fs::read(dir.join("store.redb")).unwrap();
    let places: Vec<usize> =
        bytes.windows(8).enumerate().filter(|(_, window)| *window == b"zzzzzzzz").map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "an object's bytes are in the file");
    places.into_iter().for_each(|at| bytes[at] = b'!');
    let damaged = cluster.scratch().join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::write(damaged.join("store.redb"), bytes).unwrap();
    assert!(at(&damaged, &["store", "check"]).await.refused().contains("damaged"));
    std::fs::write(damaged.join("store.redb"), b"no store").unwrap();
    assert!(at(&damaged, &["store", "check"]).await.refused().contains("not a Skiff store"));
    assert!(at(&damaged, &["store", "stats"]).await.refused().contains("not a Skiff store"));
    let backup = cluster.scratch().join("backup");
    at(&dir, &["store", "backup", text(&backup)]).await.ok();
    at(&damaged, &["store", "restore", text(&backup), "--yes"]).await.refused();
    assert_eq!(std::fs::read(damaged.join("store.redb")).unwrap(), b"no store", "what is no store is left alone");
    assert!(at(&cluster.scratch().join("nowhere"), &["store", "stats"]).await.refused().contains("there is no store"));
}
