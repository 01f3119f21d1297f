//! Where modules come from: a registry, and `skiff image import`.

use serde_json::{Value, json};
use std::path::Path;
use tests::command::at;
use tests::registry::Registry;
use tests::rest::{self, Rest};
use tests::{Cluster, binary, skiff};
use tokio::process::Command;

fn waiting(pod: &Value) -> (&str, &str) {
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    (waiting["reason"].as_str().unwrap_or_default(), waiting["message"].as_str().unwrap_or_default())
}

async fn waits(rest: &Rest, name: &str, reason: &str) -> String {
    rest.until(&format!("pods/{name}"), reason, |pod| {
        let (is, message) = waiting(pod);
        (is == reason).then(|| message.to_owned())
    })
    .await
}

#[tokio::test]
async fn a_registry_is_pulled_from_and_its_faults_are_told() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let registry = Registry::start().await;
    let hello = std::fs::read(binary::wat(cluster.scratch(), "hello")).unwrap();
    let other = std::fs::read(binary::wat(cluster.scratch(), "exit-code")).unwrap();
    let digest = registry.publish("team/hello", "v1", &hello);
    registry.publish("team/bad", "v1", &other);
    registry.corrupt("team/bad", &other);

    let good = registry.name("team/hello:v1");
    let pinned = registry.name(&format!("team/hello@{digest}"));
    let missing = registry.name("team/none:v1");
    for (name, image) in [("good", &good), ("pinned", &pinned), ("missing", &missing)] {
        rest.create(rest::pod(name, image, json!({"imagePullPolicy": "Always"}), json!({}))).await;
    }
    rest.create(rest::pod("bad", &registry.name("team/bad:v1"), json!({}), json!({}))).await;
    for name in ["good", "pinned"] {
        let pod = rest.phase(name, "Succeeded").await;
        let id = pod["status"]["containerStatuses"][0]["imageID"].as_str().unwrap_or_default().to_owned();
        assert!(id.contains(&digest), "{id} names the manifest {digest}");
        assert!(rest.log(name).await.contains("hello from wasm"));
    }
    assert!(rest.event("good", "Pulled").await.starts_with(&format!("Successfully pulled image \"{good}\" in ")));

    let message = waits(&rest, "missing", "ErrImagePull").await;
    assert!(message.contains(&missing), "{message}");
    let message = waits(&rest, "missing", "ImagePullBackOff").await;
    assert!(message.starts_with(&format!("Back-off pulling image \"{missing}\"")), "{message}");
    assert!(rest.event("missing", "Failed").await.contains("Failed to pull image"));
    let message = waits(&rest, "bad", "ImagePullBackOff").await;
    assert!(message.contains("digest"), "{message}");

    // What was missing and is published later is found without anybody's help.
    registry.publish("team/none", "v1", &hello);
    rest.phase("missing", "Succeeded").await;
}

async fn import(data_dir: &Path, file: &Path, name: &str) {
    let run = Command::new(skiff()).args(["image", "import", "--data-dir"]).arg(data_dir).arg(file).arg(name).output();
    let output = run.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn an_import_serves_a_running_cluster_under_any_name() {
    let cluster = Cluster::durable().await;
    let rest = Rest::of(&cluster).await;
    let policy = |policy: &str| json!({"imagePullPolicy": policy});
    rest.create(rest::pod("never", "late.example.com/hello:v1", policy("Never"), json!({}))).await;
    let message = waits(&rest, "never", "ErrImageNeverPull").await;
    assert_eq!(message, "Container image \"late.example.com/hello:v1\" is not present with pull policy of Never");

    let module = binary::wat(cluster.scratch(), "hello");
    import(&cluster.data_dir(), &module, "late.example.com/hello:v1").await;
    import(&cluster.data_dir(), &module, "me/hello:v2").await;
    for (name, image, how) in [
        ("named", "me/hello:v2", "IfNotPresent"),
        ("always", "me/hello:v2", "Always"),
        ("full", "docker.io/me/hello:v2", "Never"),
    ] {
        rest.create(rest::pod(name, image, policy(how), json!({}))).await;
    }
    for name in ["named", "always", "full", "never"] {
        rest.phase(name, "Succeeded").await;
        assert!(rest.log(name).await.contains("hello from wasm"), "{name}");
    }

    let dir = cluster.data_dir();
    assert_eq!(at(&dir, &["image", "rm", "me/hello:v2"]).await.ok(), "removed me/hello:v2\n");
    let refused = at(&dir, &["image", "rm", "me/hello:v2"]).await.refused();
    assert_eq!(refused, "skiff: there is no image me/hello:v2: `skiff image list` shows what there is\n");
}
