//! The admission plugins in the pipeline: what they fill in, refuse, warn of and count.

#![allow(clippy::needless_pass_by_value, reason = "documents are written where they are used")]

use super::{Answer, Cluster, PODS, config_map, pod};
use crate::admission::AdmissionPlugins;
use crate::user::User;
use serde_json::{Value, json};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const LIMITS: &str = "/api/v1/namespaces/default/limitranges";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";

fn quota(hard: Value) -> Value {
    json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})
}

fn claim(name: &str, size: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}})
}

fn message(status: &Value) -> &str {
    assert_eq!(status["code"], 403, "{status}");
    status["message"].as_str().unwrap()
}

async fn used(cluster: &Cluster) -> Value {
    cluster.get(&format!("{QUOTAS}/q")).await["status"]["used"].clone()
}

async fn sent(cluster: &Cluster, method: &str, path: &str, body: &Value) -> Answer {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let answer = cluster.send(method, path, &[("content-type", kind)], serde_json::to_vec(body).unwrap()).await;
    assert!(answer.code.is_success(), "{:?}", answer.bytes);
    answer
}

fn warnings(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn pods_get_their_priority_from_their_class() {
    let cluster = Cluster::new().await;
    let made = cluster.post(PODS, pod("plain")).await;
    assert_eq!(
        (&made["spec"]["priority"], &made["spec"]["preemptionPolicy"]),
        (&json!(0), &json!("PreemptLowerPriority"))
    );
    let keys: Vec<&Value> = made["spec"]["tolerations"].as_array().unwrap().iter().map(|t| &t["key"]).collect();
    assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
    let classed = |name: &str, class: &str| {
        let mut pod = pod(name);
        pod["spec"]["priorityClassName"] = class.into();
        pod
    };
    let made = cluster.post(PODS, classed("critical", "system-node-critical")).await;
    assert_eq!(made["spec"]["priority"], 2_000_001_000);
    let status = cluster.fails("POST", PODS, classed("none", "none")).await;
    assert_eq!(message(&status), "pods \"none\" is forbidden: no PriorityClass with name none was found");
    let class = json!({"metadata": {"name": "low"}, "value": 7, "globalDefault": true, "preemptionPolicy": "Never"});
    cluster.post(CLASSES, class).await;
    let made = cluster.post(PODS, pod("default")).await;
    assert_eq!((&made["spec"]["priorityClassName"], &made["spec"]["priority"]), (&json!("low"), &json!(7)));
    let status =
        cluster.fails("POST", CLASSES, json!({"metadata": {"name": "other"}, "value": 1, "globalDefault": true})).await;
    assert!(message(&status).ends_with("PriorityClass low is already marked as default. Only one default can exist"));
    let mut insistent = classed("insistent", "low");
    insistent["spec"]["priority"] = 9.into();
    let status = cluster.fails("POST", PODS, insistent).await;
    assert!(message(&status).contains("the integer value of priority (9) must not be provided in pod spec"));
}

#[tokio::test]
async fn limit_ranges_fill_in_and_bound() {
    let cluster = Cluster::new().await;
    let limits = json!([
        {"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "2"}, "min": {"cpu": "50m"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
    ]);
    cluster.post(LIMITS, json!({"metadata": {"name": "l"}, "spec": {"limits": limits}})).await;
    let made = cluster.post(PODS, pod("a")).await;
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}})
    );
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    let mut big = pod("big");
    big["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "3"}});
    assert_eq!(
        message(&cluster.fails("POST", PODS, big).await),
        "pods \"big\" is forbidden: maximum cpu usage per Container is 2, but limit is 3"
    );
    let status = cluster.fails("POST", CLAIMS, claim("c", "5Gi")).await;
    assert_eq!(
        message(&status),
        "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 5Gi"
    );
    cluster.post(CLAIMS, claim("c", "1Gi")).await;
}

#[tokio::test]
async fn claims_are_protected_and_get_the_default_class() {
    let cluster = Cluster::new().await;
    let class = |name: &str, default: &str| json!({"metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default}}, "provisioner": "x"});
    for (name, default) in [("a", "false"), ("b", "true")] {
        cluster.post("/apis/storage.k8s.io/v1/storageclasses", class(name, default)).await;
    }
    let made = cluster.post(CLAIMS, claim("c", "1Gi")).await;
    assert_eq!(made["spec"]["storageClassName"], "b");
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let mut own = claim("own", "1Gi");
    own["spec"]["storageClassName"] = "".into();
    assert_eq!(cluster.post(CLAIMS, own).await["spec"]["storageClassName"], "");
    let deleted = cluster.ok("DELETE", &format!("{CLAIMS}/c"), Value::Null).await;
    assert!(deleted["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn a_quota_holds_from_the_moment_it_is_there() {
    let cluster = Cluster::new().await;
    cluster.post(PODS, pod("before")).await;
    cluster.post(QUOTAS, quota(json!({"pods": "2", "count/configmaps": "1"}))).await;
    // Nobody has counted yet.
    cluster.post(PODS, pod("a")).await;
    assert_eq!(used(&cluster).await, json!({"pods": "2", "count/configmaps": "0"}));
    let status = cluster.fails("POST", PODS, pod("b")).await;
    assert_eq!(
        message(&status),
        "pods \"b\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    );
    let status = cluster.fails("POST", &format!("{PODS}?dryRun=All"), pod("b")).await;
    assert!(message(&status).contains("exceeded quota: q"));
    let maps = "/api/v1/namespaces/default/configmaps";
    cluster.post(&format!("{maps}?dryRun=All"), config_map("m")).await;
    assert_eq!(used(&cluster).await["count/configmaps"], "0");
    cluster.post(maps, config_map("m")).await;
    assert_eq!(used(&cluster).await["count/configmaps"], "1");
    // A name that is taken takes nothing.
    cluster.ok("PATCH", &format!("{QUOTAS}/q"), json!({"spec": {"hard": {"count/configmaps": "9"}}})).await;
    assert_eq!(cluster.fails("POST", maps, config_map("m")).await["code"], 409);
    cluster.post(maps, config_map("n")).await;
    assert_eq!(used(&cluster).await["count/configmaps"], "2");
}

#[tokio::test]
async fn nobody_gets_the_last_place_twice() {
    let cluster = Cluster::new().await;
    cluster.post(QUOTAS, quota(json!({"pods": "10"}))).await;
    let attempts: Vec<Value> = (0..40)
        .map(|_| json!({"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}))
        .collect();
    let answers = futures::future::join_all(attempts.iter().map(|attempt| {
        cluster.send("POST", PODS, &[("content-type", "application/json")], serde_json::to_vec(attempt).unwrap())
    }))
    .await;
    let made = answers.iter().filter(|answer| answer.code == 201).count();
    assert_eq!((made, answers.iter().filter(|answer| answer.code == 403).count()), (10, 30));
    assert_eq!(used(&cluster).await, json!({"pods": "10"}));
    assert_eq!(cluster.get(PODS).await["items"].as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn compute_services_and_custom_resources_are_counted() {
    let cluster = Cluster::new().await;
    let hard = json!({"requests.cpu": "1", "limits.memory": "1Gi", "services.nodeports": "1", "count/widgets.example.com": "1"});
    cluster.post(QUOTAS, quota(hard)).await;
    let status = cluster.fails("POST", PODS, pod("a")).await;
    assert_eq!(
        message(&status),
        "pods \"a\" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c"
    );
    let mut fits = pod("a");
    fits["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "600m"}, "limits": {"memory": "512Mi"}});
    cluster.post(PODS, fits.clone()).await;
    fits["metadata"]["name"] = "b".into();
    let status = cluster.fails("POST", PODS, fits).await;
    assert_eq!(
        message(&status),
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    let services = "/api/v1/namespaces/default/services";
    let service = |kind: &str| json!({"metadata": {"name": "s"}, "spec": {"type": kind, "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}});
    cluster.post(services, service("ClusterIP")).await;
    let status = cluster.fails("PATCH", &format!("{services}/s"), json!({"spec": {"type": "NodePort"}})).await;
    assert!(
        message(&status)
            .contains("requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1")
    );
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let crd = json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"}, "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}});
    cluster.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd).await;
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    while cluster.send("GET", widgets, &[], "").await.code != 200 {
        tokio::task::yield_now().await;
    }
    let widget = |name: &str| json!({"kind": "Widget", "apiVersion": "example.com/v1", "metadata": {"name": name}});
    cluster.post(widgets, widget("a")).await;
    let status = cluster.fails("POST", widgets, widget("b")).await;
    assert!(message(&status).starts_with("widgets.example.com \"b\" is forbidden: exceeded quota: q"), "{status}");
}

#[tokio::test]
async fn namespaces_say_what_pods_may_do() {
    let cluster = Cluster::new().await;
    let labels = |mode: &str, level: &str| json!({"metadata": {"labels": {format!("pod-security.kubernetes.io/{mode}"): level}}});
    let namespace = "/api/v1/namespaces/default";
    let mut rude = pod("rude");
    rude["spec"]["hostNetwork"] = true.into();
    cluster.post(PODS, rude.clone()).await;
    let answer = sent(&cluster, "PATCH", namespace, &labels("enforce", "baseline")).await;
    assert_eq!(
        warnings(&answer),
        [
            "299 - \"existing pods in namespace \\\"default\\\" violate the new PodSecurity enforce level \\\"baseline:latest\\\"\"",
            "299 - \"rude: host namespaces\"",
        ]
    );
    rude["metadata"]["name"] = "other".into();
    let status = cluster.fails("POST", PODS, rude).await;
    assert_eq!(
        message(&status),
        "pods \"other\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    sent(&cluster, "PATCH", namespace, &labels("warn", "restricted")).await;
    let answer = sent(&cluster, "POST", PODS, &pod("soft")).await;
    assert!(warnings(&answer)[0].contains("would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation != false (container \\\"c\\\" must set"), "{:?}", warnings(&answer));
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let deployment =
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let answer = sent(&cluster, "POST", "/apis/apps/v1/namespaces/default/deployments", &deployment).await;
    assert!(warnings(&answer)[0].contains("would violate PodSecurity"), "{:?}", warnings(&answer));
    let status = cluster.fails("PATCH", namespace, labels("enforce", "strict")).await;
    assert_eq!(status["code"], 422);
    assert_eq!(
        status["message"],
        "Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted"
    );
}

#[tokio::test]
async fn owners_are_for_those_who_may_delete_where_the_plugin_is_on() {
    let made = |plugins: &'static str| async move {
        let cluster = Cluster::with(|config| config.admission = AdmissionPlugins::parse(plugins, "").unwrap()).await;
        let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]);
        let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
        cluster.post(&format!("{roles}/roles"), json!({"metadata": {"name": "maker"}, "rules": rules})).await;
        let binding = json!({"metadata": {"name": "maker"}, "roleRef": {"kind": "Role", "name": "maker", "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}]});
        cluster.post(&format!("{roles}/rolebindings"), binding).await;
        let mut owned = config_map("m");
        owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]);
        let eve = User::authenticated("eve", Vec::<String>::new());
        cluster.as_user(eve, "POST", "/api/v1/namespaces/default/configmaps", &owned).await
    };
    assert_eq!(made("").await.code, 201);
    let refused = made("OwnerReferencesPermissionEnforcement").await;
    assert_eq!(refused.code, 403);
    let text = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(
        text.starts_with("configmaps \"m\" is forbidden: cannot set an ownerRef on a resource you can't delete: "),
        "{text}"
    );
}

#[tokio::test]
async fn plugins_that_are_off_do_nothing() {
    let cluster = Cluster::with(|config| {
        config.admission =
            AdmissionPlugins::parse("AlwaysPullImages", "Priority,DefaultTolerationSeconds,ResourceQuota").unwrap();
    })
    .await;
    cluster.post(QUOTAS, quota(json!({"pods": "0"}))).await;
    let mut tagged = pod("a");
    tagged["spec"]["containers"][0]["image"] = "x:1".into();
    let made = cluster.post(PODS, tagged).await;
    assert_eq!((made["spec"].get("priority"), made["spec"].get("tolerations")), (None, None));
    assert_eq!(made["spec"]["containers"][0]["imagePullPolicy"], "Always");
}
