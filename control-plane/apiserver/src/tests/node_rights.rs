//! What a kubelet may do.

use super::*;
use crate::AdmissionPlugins;

fn node() -> User {
    User::node("n1")
}

async fn cluster() -> Cluster {
    let cluster = Cluster::new().await;
    for name in ["used", "other"] {
        cluster.post(CONFIG_MAPS, config_map(name)).await;
    }
    let mut bound = pod("p");
    bound["spec"]["volumes"] = json!([{"name": "v", "configMap": {"name": "used"}}]);
    bound["spec"]["nodeName"] = "n1".into();
    cluster.post(PODS, bound).await;
    let mut elsewhere = pod("q");
    elsewhere["spec"]["nodeName"] = "n2".into();
    cluster.post(PODS, elsewhere).await;
    cluster
}

#[tokio::test]
async fn a_node_reads_what_its_pods_refer_to() {
    let cluster = cluster().await;
    let code = async |path: String| cluster.as_user(node(), "GET", &path, &Value::Null).await.code;
    assert_eq!(code(format!("{CONFIG_MAPS}/used")).await, 200);
    assert_eq!(code(format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dused")).await, 200);
    assert_eq!(code(format!("{CONFIG_MAPS}/other")).await, 403);
    assert_eq!(code(CONFIG_MAPS.into()).await, 403);
    assert_eq!(code(format!("{PODS}/p")).await, 200);
    assert_eq!(code(format!("{PODS}/q")).await, 403);
    assert_eq!(code("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1".into()).await, 200);
    assert_eq!(code("/api/v1/pods".into()).await, 403);
    assert_eq!(code("/api/v1/services".into()).await, 200);
    assert_eq!(code("/api/v1/nodes/n2".into()).await, 403);
    let refused = cluster.as_user(node(), "GET", &format!("{CONFIG_MAPS}/other"), &Value::Null).await.json();
    assert_eq!(
        refused["message"],
        r#"configmaps "other" is forbidden: User "system:node:n1" cannot get resource "configmaps" in API group "" in the namespace "default": no relationship found between node 'n1' and this object"#
    );
    cluster.ok("DELETE", &format!("{PODS}/p"), json!({"gracePeriodSeconds": 0})).await;
    assert_eq!(code(format!("{CONFIG_MAPS}/used")).await, 403);
}

#[tokio::test]
async fn a_node_changes_only_what_is_its_own() {
    let cluster = cluster().await;
    let nodes = "/api/v1/nodes";
    let send = async |method: &str, path: &str, body: Value| cluster.as_user(node(), method, path, &body).await;
    assert_eq!(send("POST", nodes, json!({"metadata": {"name": "n1"}})).await.code, 201);
    assert_eq!(send("POST", nodes, json!({"metadata": {"name": "n2"}})).await.code, 403);
    let label = json!({"metadata": {"labels": {"node-restriction.kubernetes.io/x": "1"}}});
    assert_eq!(send("PATCH", &format!("{nodes}/n1"), label).await.code, 403);
    let ready = json!({"status": {"phase": "Running"}});
    assert_eq!(send("PATCH", &format!("{PODS}/p/status"), ready.clone()).await.code, 200);
    assert_eq!(send("PATCH", &format!("{PODS}/q/status"), ready).await.code, 403);
    assert_eq!(send("DELETE", &format!("{PODS}/q"), Value::Null).await.code, 403);
    let refused = send("POST", PODS, pod("new")).await.json();
    assert_eq!(
        refused["message"],
        r#"pods "new" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods"#
    );
}

#[tokio::test]
async fn a_node_reads_what_belongs_to_its_volumes() {
    let cluster = cluster().await;
    let mut claims = pod("claims");
    claims["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    claims["spec"]["nodeName"] = "n1".into();
    cluster.post(PODS, claims).await;
    let volume = |name: &str, claim: &str, secret: &str| {
        json!({"metadata": {"name": name}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": "default", "name": claim},
            "csi": {"driver": "d", "volumeHandle": "h",
                    "nodeStageSecretRef": {"namespace": "kube-system", "name": secret},
                    "controllerExpandSecretRef": {"namespace": "kube-system", "name": "controllers"}}}})
    };
    for (name, claim) in [("mine", "c"), ("theirs", "other")] {
        cluster.post("/api/v1/persistentvolumes", volume(name, claim, name)).await;
    }
    let attachments = "/apis/storage.k8s.io/v1/volumeattachments";
    for (name, node) in [("here", "n1"), ("there", "n2")] {
        let spec = json!({"attacher": "d", "nodeName": node, "source": {"persistentVolumeName": "mine"}});
        cluster.post(attachments, json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    for (path, wanted) in [
        ("/api/v1/persistentvolumes/mine".to_owned(), 200),
        ("/api/v1/persistentvolumes/theirs".to_owned(), 403),
        (format!("{attachments}/here"), 200),
        (format!("{attachments}/there"), 403),
        (format!("{attachments}/none"), 403),
        (format!("{secrets}/mine"), 404),
        (format!("{secrets}/theirs"), 403),
        (format!("{secrets}/controllers"), 403),
    ] {
        let answer = cluster.as_user(node(), "GET", &path, &Value::Null).await;
        assert_eq!(answer.code, wanted, "{path}: {:?}", answer.bytes);
    }
}

#[tokio::test]
async fn a_node_is_who_has_both_the_name_and_the_group() {
    let cluster = cluster().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let binding = json!({"metadata": {"name": "all"}, "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "Group", "name": "system:nodes"}]});
    cluster.post(rbac, binding).await;
    let made = async |name: &str| {
        let user = User { name: name.to_owned(), ..node() };
        cluster.as_user(user, "POST", PODS, &pod(&name.replace(':', "-"))).await
    };
    assert_eq!(made("somebody").await.code, 201);
    assert_eq!(made("system:node:n1").await.code, 403);
    let refused = made("system:node:").await.json();
    let message = refused["message"].as_str().unwrap();
    assert!(message.ends_with("could not determine node from user \"system:node:\""), "{message}");
}

type Change<'a> = &'a dyn Fn(&mut Value);

fn mirror(name: &str, uid: &str) -> Value {
    let mut mirror = pod(name);
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "h"});
    mirror["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": true}]);
    mirror["spec"]["nodeName"] = "n1".into();
    mirror
}

#[tokio::test]
async fn a_node_makes_mirror_pods_that_are_its_own_and_need_nothing() {
    let cluster = cluster().await;
    let refused = async |change: Change<'_>| {
        let mut mirror = mirror("m", "u");
        change(&mut mirror);
        let answer = cluster.as_user(node(), "POST", PODS, &mirror).await;
        (answer.code.as_u16(), answer.json()["message"].as_str().unwrap().to_owned())
    };
    let forbidden = |why: &str| (403, format!("pods \"m\" is forbidden: {why}"));
    let owner = |field: &'static str, value: Value| {
        move |pod: &mut Value| pod["metadata"]["ownerReferences"][0][field] = value.clone()
    };
    assert_eq!(refused(&|_| {}).await, (404, "nodes \"n1\" not found".into()));
    let made = cluster.as_user(node(), "POST", "/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.json();
    let uid = made["metadata"]["uid"].as_str().unwrap();
    assert_eq!(refused(&|_| {}).await, forbidden(&format!("node n1 UID mismatch: expected u got {uid}")));
    let own = "node \"n1\" can only create pods with an owner reference set to itself";
    let cases: [(Change<'_>, &str); 9] = [
        (
            &|pod| pod["spec"]["nodeName"] = "n2".into(),
            "node \"n1\" can only create pods with spec.nodeName set to itself",
        ),
        (&|pod| pod["metadata"]["ownerReferences"] = json!([]), own),
        (
            &|pod| {
                pod["metadata"]["ownerReferences"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "x"}))
            },
            "node \"n1\" can only create pods with a single owner reference set to itself",
        ),
        (&owner("name", json!("n2")), own),
        (
            &owner("controller", json!(false)),
            "node \"n1\" can only create pods with a controller owner reference set to itself",
        ),
        (
            &owner("blockOwnerDeletion", json!(true)),
            "node \"n1\" must not set blockOwnerDeletion on an owner reference",
        ),
        (&owner("uid", json!("x")), ""),
        (
            &|pod| {
                pod["metadata"]["ownerReferences"][0]["uid"] = uid.into();
                pod["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
            },
            "node \"n1\" can not create pods that reference persistentvolumeclaims",
        ),
        (
            &|pod| {
                pod["metadata"]["ownerReferences"][0]["uid"] = uid.into();
                pod["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "other"}}]);
            },
            "node \"n1\" can not create pods that reference configmaps",
        ),
    ];
    for (change, wanted) in cases {
        let found = refused(change).await;
        if wanted.is_empty() {
            assert!(found.1.contains("UID mismatch"), "{found:?}");
        } else {
            assert_eq!(found, forbidden(wanted));
        }
    }
    assert_eq!(cluster.as_user(node(), "POST", PODS, &mirror("m", uid)).await.code, 201);
    // One that came another way gives its node no rights.
    let mut sly = mirror("sly", uid);
    sly["spec"]["volumes"] = json!([{"name": "v", "configMap": {"name": "other"}}]);
    cluster.post(PODS, sly).await;
    let answer = cluster.as_user(node(), "GET", &format!("{CONFIG_MAPS}/other"), &Value::Null).await;
    assert_eq!(answer.code, 403, "{:?}", answer.bytes);
}

#[tokio::test]
async fn a_node_is_told_what_is_not_its_own_in_kubernetes_words() {
    let cluster = cluster().await;
    let nodes = "/api/v1/nodes";
    let refused = async |method: &str, path: String, body: Value| {
        let answer = cluster.as_user(node(), method, &path, &body).await;
        answer.json()["message"].as_str().unwrap_or_default().split_once(": ").map(|(_, why)| why.to_owned())
    };
    let told = |why: &str| Some(why.to_owned());
    let label = |key: &str| json!({"metadata": {"name": "n1", "labels": {key: "1"}}});
    assert_eq!(
        refused("POST", nodes.into(), label("a.k8s.io/x")).await,
        told("node \"n1\" is not allowed to set the following labels: a.k8s.io/x")
    );
    cluster.post(nodes, json!({"metadata": {"name": "n1"}})).await;
    for (patch, why) in [
        (label("a.k8s.io/x"), "is not allowed to modify labels: a.k8s.io/x"),
        (
            json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
            "node \"n1\" is not allowed to modify taints",
        ),
        (
            json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]}}),
            "node \"n1\" is not allowed to modify ownerReferences",
        ),
        (
            json!({"spec": {"configSource": {"configMap": {"name": "c", "namespace": "d", "kubeletConfigKey": "k"}}}}),
            "node \"n1\" is not allowed to update configSource to a new non-nil configSource",
        ),
    ] {
        assert_eq!(refused("PATCH", format!("{nodes}/n1"), patch).await, told(why));
    }
    let claims = json!({"status": {"resourceClaimStatuses": [{"name": "r", "resourceClaimName": "c"}]}});
    assert_eq!(
        refused("PATCH", format!("{PODS}/p/status"), claims).await,
        told("node \"n1\" cannot update resource claim statues")
    );
    assert_eq!(
        refused("PATCH", format!("{PODS}/p/status"), json!({"metadata": {"labels": {"a": "b"}}})).await,
        told("node \"n1\" cannot update labels through pod status")
    );
    let eviction = |name: &str| json!({"metadata": {"name": name}});
    assert_eq!(
        refused("POST", format!("{PODS}/q/eviction"), eviction("q")).await,
        told("node n1 can only evict pods with spec.nodeName set to itself")
    );
    let absent = cluster.as_user(node(), "POST", &format!("{PODS}/none/eviction"), &eviction("none")).await;
    assert_eq!(absent.code, 404);
}

#[tokio::test]
async fn a_node_gets_tokens_for_its_own_pods() {
    let cluster = cluster().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let ask = async |pod: &str| {
        let uid = cluster.get(&format!("{PODS}/{pod}")).await["metadata"]["uid"].clone();
        let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid});
        cluster.as_user(node(), "POST", path, &json!({"spec": {"boundObjectRef": reference}})).await
    };
    assert_eq!(ask("p").await.code, 201);
    assert_eq!(ask("q").await.code, 403);
    assert_eq!(cluster.as_user(node(), "POST", path, &json!({"spec": {}})).await.code, 403);
    let uid = cluster.get(&format!("{PODS}/p")).await["metadata"]["uid"].clone();
    let about = async |audiences: Value| {
        let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid});
        let body = json!({"spec": {"boundObjectRef": reference, "audiences": audiences}});
        let answer = cluster.as_user(node(), "POST", path, &body).await;
        (answer.code.as_u16(), answer.json()["message"].as_str().unwrap_or_default().to_owned())
    };
    let head = "serviceaccounts \"default\" is forbidden: ";
    let why = "audience \"vault\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience";
    assert_eq!(about(json!(["vault"])).await, (403, format!("{head}{why}")));
    assert_eq!(about(json!(["", "vault"])).await, (403, format!("{head}node may only request 0 or 1 audiences")));
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rule = json!({"verbs": ["request-serviceaccounts-token-audience"], "apiGroups": [""], "resources": ["vault"], "resourceNames": ["default"]});
    cluster.post(&format!("{rbac}/roles"), json!({"metadata": {"name": "vault"}, "rules": [rule]})).await;
    let binding = json!({"metadata": {"name": "vault"}, "roleRef": {"kind": "Role", "name": "vault"},
        "subjects": [{"kind": "User", "name": "system:node:n1"}]});
    cluster.post(&format!("{rbac}/rolebindings"), binding).await;
    assert_eq!(about(json!(["vault"])).await.0, 201);
}

#[tokio::test]
async fn nodes_may_have_tokens_as_the_plugin_says_and_without_it_as_their_authorizer_says() {
    for (disabled, code) in [("", 403), ("NodeRestriction", 201)] {
        let cluster = Cluster::with(|config| config.admission = AdmissionPlugins::parse("", disabled).unwrap()).await;
        cluster.post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "robot"}})).await;
        let mut wanted = pod("p");
        wanted["spec"]["serviceAccountName"] = "robot".into();
        wanted["spec"]["nodeName"] = "n1".into();
        cluster.post(PODS, wanted).await;
        let ask = async |account: &str| {
            let path = format!("/api/v1/namespaces/default/serviceaccounts/{account}/token");
            cluster.as_user(User::node("n1"), "POST", &path, &json!({"spec": {"audiences": ["vault"]}})).await
        };
        assert_eq!(ask("robot").await.code, code, "{disabled}");
        // That none of its pods runs as the account the Node authorizer says.
        let refused = ask("other").await.json();
        assert_eq!(refused["code"], 403, "{disabled}");
        let why = "no relationship found between node 'n1' and this object";
        assert!(refused["message"].as_str().unwrap().contains(why), "{refused}");
    }
}
