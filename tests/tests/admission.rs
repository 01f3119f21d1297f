//! Admission as people meet it: limits, quotas and pod security, with kubectl.

use std::time::Duration;
use tests::Cluster;
use tests::cluster::Options;
use tests::eventually;
use tests::kubectl::{apply, fails, output, run};

const LIMIT: Duration = Duration::from_secs(60);

const POD: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  containers: [{name: c, image: skiff.local/none:1}]
";

fn pod(name: &str) -> String {
    POD.replace("NAME", name)
}

#[tokio::test]
async fn limits_are_filled_in_and_bound() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let limits = r#"
apiVersion: v1
kind: LimitRange
metadata: {name: limits}
spec:
  limits:
  - type: Container
    default: {cpu: 500m, memory: 64Mi}
    defaultRequest: {cpu: 100m, memory: 16Mi}
    max: {cpu: "1"}
"#;
    apply(&cluster, limits).await;
    apply(&cluster, &pod("plain")).await;
    let resources = run(&cluster, &["get", "pod", "plain", "-o", "jsonpath={.spec.containers[0].resources}"]).await;
    for part in ["\"cpu\":\"500m\"", "\"memory\":\"64Mi\"", "\"cpu\":\"100m\"", "\"memory\":\"16Mi\""] {
        assert!(resources.contains(part), "no {part} in {resources}");
    }
    let describe = run(&cluster, &["describe", "limitrange", "limits"]).await;
    assert!(describe.contains("Container") && describe.contains("500m"), "{describe}");
    let overrides = r#"{"spec":{"containers":[{"name":"c","image":"x","resources":{"limits":{"cpu":"2"}}}]}}"#;
    let refused = fails(&cluster, &["run", "big", "--image=x", "--restart=Never", "--overrides", overrides]).await;
    assert!(
        refused.contains("pods \"big\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_quota_is_charged_at_once_and_given_back() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    run(&cluster, &["create", "namespace", "small"]).await;
    run(&cluster, &["create", "quota", "q", "-n", "small", "--hard=pods=1,configmaps=3,count/deployments.apps=1"])
        .await;
    run(&cluster, &["run", "one", "--image=x", "-n", "small"]).await;
    let refused = fails(&cluster, &["run", "two", "--image=x", "-n", "small"]).await;
    assert!(
        refused
            .contains("pods \"two\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"),
        "{refused}"
    );
    // kube-root-ca.crt is one of three.
    run(&cluster, &["create", "configmap", "a", "-n", "small"]).await;
    run(&cluster, &["create", "configmap", "b", "-n", "small"]).await;
    let refused = fails(&cluster, &["create", "configmap", "c", "-n", "small"]).await;
    assert!(
        refused.contains("exceeded quota: q, requested: configmaps=1, used: configmaps=3, limited: configmaps=3"),
        "{refused}"
    );
    run(&cluster, &["delete", "pod", "one", "-n", "small", "--grace-period=0", "--force"]).await;
    run(&cluster, &["delete", "configmap", "a", "-n", "small"]).await;
    eventually("what is gone is given back", LIMIT, || async {
        let used = run(&cluster, &["get", "quota", "q", "-n", "small", "-o", "jsonpath={.status.used}"]).await;
        let back = used.contains("\"pods\":\"0\"") && used.contains("\"configmaps\":\"2\"");
        if back { Ok(()) } else { Err(used) }
    })
    .await;
    run(&cluster, &["run", "two", "--image=x", "-n", "small"]).await;
    let shown = run(&cluster, &["describe", "quota", "q", "-n", "small"]).await;
    assert!(shown.contains("count/deployments.apps") && shown.contains("pods"), "{shown}");
    // A Deployment that does not fit says why.
    run(&cluster, &["create", "deployment", "d", "--image=x", "-n", "small"]).await;
    eventually("the deployment's pods are refused", LIMIT, || async {
        let events = run(&cluster, &["get", "events", "-n", "small", "-o", "jsonpath={.items[*].message}"]).await;
        if events.contains("exceeded quota: q") { Ok(()) } else { Err(events) }
    })
    .await;
}

#[tokio::test]
async fn namespaces_warn_of_pods_and_refuse_them() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    run(&cluster, &["create", "namespace", "safe"]).await;
    run(&cluster, &["label", "namespace", "safe", "pod-security.kubernetes.io/warn=restricted"]).await;
    let warned = output(&cluster, &["run", "soft", "--image=x", "-n", "safe"]).await;
    let text = String::from_utf8_lossy(&warned.stderr).into_owned();
    assert!(warned.status.success(), "{text}");
    let wanted = "Warning: would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"soft\" must set securityContext.allowPrivilegeEscalation=false)";
    assert!(text.contains(wanted), "{text}");
    let labelled =
        output(&cluster, &["label", "namespace", "safe", "pod-security.kubernetes.io/enforce=restricted"]).await;
    let text = String::from_utf8_lossy(&labelled.stderr).into_owned();
    assert!(
        text.contains(
            "existing pods in namespace \"safe\" violate the new PodSecurity enforce level \"restricted:latest\""
        ),
        "{text}"
    );
    let refused = fails(&cluster, &["run", "hard", "--image=x", "-n", "safe"]).await;
    assert!(refused.contains("pods \"hard\" is forbidden: violates PodSecurity \"restricted:latest\""), "{refused}");
}

#[tokio::test]
async fn a_claim_in_use_outlives_its_deletion() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let claim = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  containers: [{name: c, image: x}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]
"#;
    apply(&cluster, claim).await;
    run(&cluster, &["delete", "pvc", "data", "--wait=false"]).await;
    let finalizers = run(&cluster, &["get", "pvc", "data", "-o", "jsonpath={.metadata.finalizers}"]).await;
    assert_eq!(finalizers, "[\"kubernetes.io/pvc-protection\"]");
    run(&cluster, &["delete", "pod", "user", "--grace-period=0", "--force"]).await;
    run(&cluster, &["wait", "--for=delete", "pvc/data", "--timeout=60s"]).await;
}
