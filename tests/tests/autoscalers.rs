//! Autoscalers through both of their versions, as kubectl's users have them in manifests of any age.

use serde_json::{Value, json};
use tests::Cluster;
use tests::cluster::Options;
use tests::kubectl::{apply, run};

const SCALER: &str = r#"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, annotations: {mine: kept}}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 5
  metrics:
  - {type: Pods, pods: {metric: {name: hits}, target: {type: AverageValue, averageValue: 500m}}}
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 120, policies: [{type: Pods, value: 1, periodSeconds: 60}]}
"#;

async fn get(cluster: &Cluster, resource: &str) -> Value {
    serde_json::from_str(&run(cluster, &["get", resource, "web", "-o", "json"]).await).unwrap()
}

#[tokio::test]
async fn an_old_client_loses_nothing_of_an_autoscaler() {
    let cluster = Cluster::start(Options { command: "server", ..Options::default() }).await.unwrap();
    apply(&cluster, SCALER).await;
    let before = get(&cluster, "horizontalpodautoscalers.v2.autoscaling").await;
    for version in ["v1", "v2"] {
        let listed = run(&cluster, &["get", &format!("horizontalpodautoscalers.{version}.autoscaling")]).await;
        assert!(listed.contains("<unknown>/500m, cpu: <unknown>/60%"), "{listed}");
    }
    // What an old script does: get, change, replace.
    let mut old = get(&cluster, "horizontalpodautoscalers.v1.autoscaling").await;
    assert_eq!(
        (&old["apiVersion"], &old["spec"]["targetCPUUtilizationPercentage"]),
        (&json!("autoscaling/v1"), &json!(60))
    );
    old["spec"]["maxReplicas"] = json!(9);
    let file = cluster.scratch().join("old.json");
    std::fs::write(&file, old.to_string()).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(
        run(&cluster, &["replace", "-f", file]).await.trim(),
        "horizontalpodautoscaler.autoscaling/web replaced"
    );
    let mut wanted = before["spec"].clone();
    wanted["maxReplicas"] = json!(9);
    assert_eq!(get(&cluster, "horizontalpodautoscalers.v2.autoscaling").await["spec"], wanted);
    // Patches and applies through v1, of either side.
    run(&cluster, &["patch", "horizontalpodautoscalers.v1.autoscaling", "web", "-p", r#"{"spec":{"minReplicas":3}}"#])
        .await;
    let config = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"maxReplicas": 7, "scaleTargetRef": before["spec"]["scaleTargetRef"]}});
    std::fs::write(file, config.to_string()).unwrap();
    run(&cluster, &["apply", "--server-side", "--force-conflicts", "--field-manager=old", "-f", file]).await;
    (wanted["maxReplicas"], wanted["minReplicas"]) = (json!(7), json!(3));
    let after = get(&cluster, "horizontalpodautoscalers.v2.autoscaling").await;
    assert_eq!(after["spec"], wanted);
    // kubectl takes its own annotation away when it goes over to applies of the server's.
    assert_eq!(after["metadata"]["annotations"], json!({"mine": "kept"}));
}
