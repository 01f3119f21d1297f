//! Pods on the real node: what runs, how it ends, and what the API says about it.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, Event, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, LogParams, PostParams};
use serde_json::{Value, json};
use std::time::Duration;
use tests::{Cluster, binary, eventually};

const LIMIT: Duration = Duration::from_secs(60);

/// Creates a pod of one container `main` that runs `guests/wat/<guest>.wat`; `patch` is merged into the container.
pub async fn create(cluster: &Cluster, client: &Client, name: &str, guest: &str, patch: Value) {
    let module = binary::wat(cluster.scratch(), guest);
    create_with_image(client, name, &format!("file://{}", module.display()), "Never", patch).await;
}

pub async fn create_with_image(client: &Client, name: &str, image: &str, restart: &str, patch: Value) {
    let mut container = json!({"name": "main", "image": image});
    for (key, value) in patch.as_object().into_iter().flatten() {
        container[key] = value.clone();
    }
    let pod = json!({
        "metadata": {"name": name},
        "spec": {"restartPolicy": restart, "terminationGracePeriodSeconds": 1, "containers": [container]},
    });
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.expect("the pod is accepted");
}

pub async fn running(client: &Client, name: &str) {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    eventually(&format!("{name} runs"), LIMIT, || async {
        let pod = pods.get(name).await.map_err(|e| e.to_string())?;
        let phase = pod.status.as_ref().and_then(|s| s.phase.clone()).unwrap_or_default();
        if phase == "Running" { Ok(()) } else { Err(format!("{:?}", pod.status)) }
    })
    .await;
}

/// How the container `main` ended.
pub async fn terminated(client: &Client, name: &str) -> ContainerStateTerminated {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    eventually(&format!("{name} ends"), LIMIT, || async {
        let pod = pods.get(name).await.map_err(|e| e.to_string())?;
        let status = pod.status.unwrap_or_default();
        let container = status.container_statuses.iter().flatten().next();
        let state = container.and_then(|c| c.state.as_ref()).and_then(|s| s.terminated.clone());
        state.ok_or_else(|| format!("{:?}", status.container_statuses))
    })
    .await
}

/// The reason for which the container `main` waits, once it is one of `wanted`.
async fn waits(client: &Client, name: &str, wanted: &[&str]) -> (String, String) {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    eventually(&format!("{name} waits with {wanted:?}"), LIMIT, || async {
        let pod = pods.get(name).await.map_err(|e| e.to_string())?;
        let status = pod.status.unwrap_or_default();
        let container = status.container_statuses.iter().flatten().next();
        let waiting = container.and_then(|c| c.state.as_ref()).and_then(|s| s.waiting.clone()).unwrap_or_default();
        let reason = waiting.reason.unwrap_or_default();
        if wanted.contains(&reason.as_str()) {
            Ok((reason, waiting.message.unwrap_or_default()))
        } else {
            Err(format!("{:?}", status.container_statuses))
        }
    })
    .await
}

pub async fn delete(client: &Client, name: &str) {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    pods.delete(name, &DeleteParams::default()).await.expect("delete is accepted");
    eventually(&format!("{name} is gone"), LIMIT, || async {
        match pods.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(pod)) => Err(format!("{:?}", pod.status)),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

async fn log(client: &Client, name: &str) -> String {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    pods.logs(name, &LogParams::default()).await.expect("a log")
}

#[tokio::test]
async fn programs_end_as_they_choose() {
    let cluster = Cluster::up().await;
    let client = cluster.client().await;
    create(&cluster, &client, "hello", "hello", json!({})).await;
    create(&cluster, &client, "seven", "exit-code", json!({})).await;
    create(&cluster, &client, "trap", "trap", json!({})).await;
    let hello = terminated(&client, "hello").await;
    assert_eq!((hello.exit_code, hello.reason.as_deref()), (0, Some("Completed")));
    assert!(log(&client, "hello").await.to_lowercase().contains("hello"));
    let seven = terminated(&client, "seven").await;
    assert_eq!((seven.exit_code, seven.reason.as_deref()), (7, Some("Error")));
    let trap = terminated(&client, "trap").await;
    assert_eq!(trap.exit_code, 134, "{trap:?}");
    assert!(trap.message.as_deref().is_some_and(|m| m.contains("wasm")), "a backtrace: {trap:?}");
}

#[tokio::test]
async fn limits_end_a_container_with_the_reason() {
    let cluster = Cluster::up().await;
    let client = cluster.client().await;
    let memory = json!({"resources": {"limits": {"memory": "8Mi"}}});
    create(&cluster, &client, "bomb", "memory-bomb", memory).await;
    let fuel = json!({"resources": {"limits": {"skiff.dev/fuel": "100000"}}});
    create(&cluster, &client, "burner", "fuel-burner", fuel).await;
    let bomb = terminated(&client, "bomb").await;
    assert_eq!((bomb.exit_code, bomb.reason.as_deref()), (137, Some("OOMKilled")), "{bomb:?}");
    let burner = terminated(&client, "burner").await;
    assert_eq!(burner.reason.as_deref(), Some("FuelExhausted"), "{burner:?}");
}

#[tokio::test]
async fn unusable_images_say_why() {
    let cluster = Cluster::up().await;
    let client = cluster.client().await;
    let text = cluster.scratch().join("text.wasm");
    std::fs::write(&text, "this is not WebAssembly at all").unwrap();
    create_with_image(&client, "text", &format!("file://{}", text.display()), "Always", json!({})).await;
    create(&cluster, &client, "no-entry", "no-entry", json!({})).await;
    create(&cluster, &client, "unknown", "unknown-import", json!({})).await;
    create_with_image(&client, "absent", "file:///no/such/file.wasm", "Always", json!({})).await;
    create_with_image(&client, "badname", "UPPER/Case::x", "Always", json!({})).await;
    let (_, message) = waits(&client, "text", &["ErrImageInvalid"]).await;
    assert!(message.to_lowercase().contains("wasm"), "{message}");
    let (_, message) = waits(&client, "no-entry", &["ErrImageInvalid"]).await;
    assert!(message.contains("_start"), "{message}");
    let (_, message) = waits(&client, "unknown", &["ErrImageInvalid"]).await;
    assert!(message.contains("import"), "{message}");
    waits(&client, "absent", &["ErrImagePull", "ImagePullBackOff"]).await;
    waits(&client, "absent", &["ImagePullBackOff"]).await;
    waits(&client, "badname", &["InvalidImageName"]).await;
}

#[tokio::test]
async fn a_module_of_200_megabytes_is_refused() {
    let cluster = Cluster::up().await;
    let client = cluster.client().await;
    let huge = cluster.scratch().join("huge.wasm");
    let file = std::fs::File::create(&huge).unwrap();
    std::io::Write::write_all(&mut &file, b"\0asm\x01\0\0\0").unwrap();
    file.set_len(200 << 20).unwrap();
    create_with_image(&client, "huge", &format!("file://{}", huge.display()), "Always", json!({})).await;
    let (_, message) = waits(&client, "huge", &["ErrImageInvalid", "ErrImagePull", "ImagePullBackOff"]).await;
    assert!(message.contains("bytes") || message.contains("large"), "{message}");
}

#[tokio::test]
async fn a_missing_config_map_holds_the_pod_until_it_comes() {
    let cluster = Cluster::up().await;
    let client = cluster.client().await;
    let env = json!({"envFrom": [{"configMapRef": {"name": "late"}}]});
    create(&cluster, &client, "waiter", "hello", env).await;
    let (_, message) = waits(&client, "waiter", &["CreateContainerConfigError"]).await;
    assert!(message.contains("configmap \"late\" not found"), "{message}");
    let map = serde_json::from_value(json!({"metadata": {"name": "late"}, "data": {"A": "b"}})).unwrap();
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::default_namespaced(client.clone());
    maps.create(&PostParams::default(), &map).await.unwrap();
    assert_eq!(terminated(&client, "waiter").await.exit_code, 0);
}

#[tokio::test]
async fn failing_containers_back_off() {
    let cluster = Cluster::up().await;
    let client = cluster.client().await;
    let module = binary::wat(cluster.scratch(), "exit-code");
    create_with_image(&client, "crasher", &format!("file://{}", module.display()), "Always", json!({})).await;
    let (_, message) = waits(&client, "crasher", &["CrashLoopBackOff"]).await;
    assert!(message.contains("back-off"), "{message}");
    let events: Api<Event> = Api::default_namespaced(client.clone());
    eventually("a BackOff event", LIMIT, || async {
        let list = events.list(&ListParams::default().fields("involvedObject.name=crasher")).await;
        let reasons: Vec<String> =
            list.map_err(|e| e.to_string())?.items.into_iter().filter_map(|e| e.reason).collect();
        if reasons.iter().any(|r| r == "BackOff") { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await;
}
