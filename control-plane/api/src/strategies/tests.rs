//! The strategies of kinds other than Pod.

use super::for_kind;
use crate::meta;
use serde_json::{Value, json};

/// Runs an object through the pipeline of a creation and returns it with the complaints.
fn create(group: &str, kind: &str, mut object: Value) -> (Value, Vec<String>) {
    let strategy = for_kind(group, kind);
    strategy.default(&mut object);
    if object["metadata"].get("uid").is_none()
        && let Some(metadata) = meta::metadata_mut(&mut object)
    {
        metadata.insert("uid".into(), "u-1".into());
    }
    strategy.prepare_create(&mut object);
    let errors = strategy.validate(&object).iter().map(ToString::to_string).collect();
    (object, errors)
}

fn update(group: &str, kind: &str, old: &Value, change: impl Fn(&mut Value)) -> (Value, Vec<String>) {
    let strategy = for_kind(group, kind);
    let mut new = old.clone();
    change(&mut new);
    strategy.default(&mut new);
    strategy.prepare_update(&mut new, old);
    let mut errors = strategy.validate(&new);
    errors.extend(strategy.validate_update(&new, old));
    (new, errors.iter().map(ToString::to_string).collect())
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

fn deployment() -> Value {
    json!({"metadata": {"name": "web", "namespace": "default"},
           "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template()}})
}

#[test]
fn new_objects_have_the_status_that_clients_read_without_asking() {
    for (group, kind, status) in [
        ("", "ReplicationController", Some(json!({"replicas": 0}))),
        ("", "ResourceQuota", Some(json!({}))),
        ("", "Service", Some(json!({"loadBalancer": {}}))),
        ("apps", "Deployment", Some(json!({}))),
        ("apps", "ReplicaSet", Some(json!({"replicas": 0}))),
        ("apps", "StatefulSet", Some(json!({"availableReplicas": 0, "replicas": 0}))),
        ("batch", "Job", Some(json!({}))),
        ("batch", "CronJob", Some(json!({}))),
        ("certificates.k8s.io", "CertificateSigningRequest", Some(json!({}))),
        ("networking.k8s.io", "Ingress", Some(json!({"loadBalancer": {}}))),
        ("networking.k8s.io", "NetworkPolicy", None),
    ] {
        let mut object = json!({"metadata": {"name": "x"}, "spec": {}, "status": {"mine": true}});
        for_kind(group, kind).prepare_create(&mut object);
        assert_eq!(object.get("status"), status.as_ref(), "{kind}");
    }
}

#[test]
fn deployments_are_defaulted_and_checked() {
    let (object, errors) = create("apps", "Deployment", deployment());
    assert_eq!(errors, Vec::<String>::new());
    let spec = &object["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    assert_eq!((&spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]), (&json!(10), &json!(600)));
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
    for (pointer, value, expected) in [
        ("/spec/replicas", json!(-1), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            "/spec/selector",
            json!({"matchLabels": {"app": "db"}}),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
        ),
        ("/spec/selector", json!({}), "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        (
            "/spec/strategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
        ),
        (
            "/spec/strategy",
            json!({"type": "Recreate", "rollingUpdate": {}}),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            "/spec/template/spec/restartPolicy",
            json!("Never"),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
        (
            "/spec/minReadySeconds",
            json!(600),
            "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
        ),
    ] {
        let mut bad = object.clone();
        bad["spec"]["minReadySeconds"] = json!(0);
        if let Some(place) = bad.pointer_mut(pointer) {
            *place = value;
        }
        assert_eq!(create("apps", "Deployment", bad).1, [expected], "{pointer}");
    }
    let mut unselective = object.clone();
    unselective["spec"]["selector"] = json!(null);
    assert_eq!(
        create("apps", "Deployment", unselective).1,
        [
            "spec.selector: Required value",
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
        ]
    );
    let (_, errors) = update("apps", "Deployment", &object, |d| {
        d["spec"]["selector"]["matchLabels"]["app"] = json!("x");
        d["spec"]["template"]["metadata"]["labels"]["app"] = json!("x");
    });
    assert_eq!(errors, ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"x\"}}: field is immutable"]);
}

#[test]
fn the_other_workloads_have_their_defaults() {
    for (kind, field, expected) in [
        ("ReplicaSet", "replicas", json!(1)),
        (
            "DaemonSet",
            "updateStrategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
        ),
        (
            "StatefulSet",
            "persistentVolumeClaimRetentionPolicy",
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
        ),
        ("StatefulSet", "podManagementPolicy", json!("OrderedReady")),
    ] {
        let (object, errors) = create("apps", kind, deployment());
        assert_eq!(errors, Vec::<String>::new(), "{kind}");
        assert_eq!(object["spec"][field], expected, "{kind}");
        let warned = for_kind("apps", kind).warnings(&object);
        let expected = format!("skiff: no controller in this version acts on {kind} objects");
        assert_eq!(warned.contains(&expected), kind != "ReplicaSet", "{kind}: {warned:?}");
    }
    let rc = json!({"metadata": {"name": "r"}, "spec": {"template": template()}});
    let (object, errors) = create("", "ReplicationController", rc);
    assert_eq!(
        (errors.len(), &object["spec"]["selector"], &object["metadata"]["labels"]),
        (0, &json!({"app": "web"}), &json!({"app": "web"}))
    );
}

#[test]
fn stateful_claims_count_as_volumes() {
    let mut set = deployment();
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/d"}]);
    let (object, errors) = create("apps", "StatefulSet", set);
    assert_eq!(errors, Vec::<String>::new());
    let (_, errors) = update("apps", "StatefulSet", &object, |s| s["spec"]["serviceName"] = json!("other"));
    assert!(
        errors[0].starts_with("spec: Forbidden: updates to statefulset spec for fields other than 'replicas'"),
        "{errors:?}"
    );
}

fn job() -> Value {
    let mut template = template();
    template["spec"]["restartPolicy"] = json!("Never");
    json!({"metadata": {"name": "pi", "namespace": "default", "uid": "u-1"}, "spec": {"template": template}})
}

#[test]
fn jobs_select_their_own_pods() {
    let (object, errors) = create("batch", "Job", job());
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(object["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}}));
    assert_eq!(
        object["spec"]["template"]["metadata"]["labels"],
        json!({"app": "web", "batch.kubernetes.io/controller-uid": "u-1", "batch.kubernetes.io/job-name": "pi",
               "controller-uid": "u-1", "job-name": "pi"})
    );
    for (field, value) in [
        ("completions", json!(1)),
        ("backoffLimit", json!(6)),
        ("suspend", json!(false)),
        ("completionMode", json!("NonIndexed")),
    ] {
        assert_eq!(object["spec"][field], value);
    }
    assert_eq!(object["metadata"]["labels"], json!({"app": "web"}));
    let (_, errors) = update("batch", "Job", &object, |j| {
        j["spec"]["completions"] = json!(4);
        j["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x:1");
    });
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors[0], "spec.completions: Invalid value: 4: field is immutable");
    assert!(errors[1].starts_with("spec.template: Invalid value: {"), "{errors:?}");
    assert_eq!(update("batch", "Job", &object, |j| j["spec"]["parallelism"] = json!(3)).1, Vec::<String>::new());
    let mut always = job();
    always["spec"]["template"]["spec"]["restartPolicy"] = json!(null);
    assert_eq!(
        create("batch", "Job", always).1,
        ["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""]
    );
    let mut indexed = job();
    indexed["spec"]["completionMode"] = json!("Indexed");
    indexed["spec"]["parallelism"] = json!(2);
    assert_eq!(
        create("batch", "Job", indexed).1,
        ["spec.completions: Required value: when completion mode is Indexed"]
    );
}

#[test]
fn cron_jobs_check_their_schedule() {
    let cron = |schedule: &str| json!({"metadata": {"name": "c"}, "spec": {"schedule": schedule, "jobTemplate": {"spec": job()["spec"]}}});
    let (object, errors) = create("batch", "CronJob", cron("*/5 * * * *"));
    assert_eq!((errors, &object["spec"]["concurrencyPolicy"]), (Vec::new(), &json!("Allow")));
    assert_eq!(create("batch", "CronJob", cron("")).1, ["spec.schedule: Required value"]);
    assert_eq!(
        create("batch", "CronJob", cron("* *")).1,
        ["spec.schedule: Invalid value: \"* *\": expected exactly 5 fields, found 2: [* *]"]
    );
}

fn service() -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})
}

#[test]
fn services_are_defaulted_and_keep_their_address() {
    let (mut object, errors) = create("", "Service", service());
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(
        object["spec"],
        json!({"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "selector": {"app": "web"},
               "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]})
    );
    assert_eq!(object["status"], json!({"loadBalancer": {}}));
    object["spec"]["clusterIP"] = json!("127.96.0.9");
    object["spec"]["clusterIPs"] = json!(["127.96.0.9"]);
    let (kept, errors) = update("", "Service", &object, |s| *s = service());
    assert_eq!((errors, &kept["spec"]["clusterIP"]), (Vec::new(), &json!("127.96.0.9")));
    let (_, errors) = update("", "Service", &object, |s| {
        s["spec"]["clusterIP"] = json!("127.96.0.10");
        s["spec"]["clusterIPs"] = json!(["127.96.0.10"]);
    });
    assert_eq!(errors, ["spec.clusterIPs[0]: Invalid value: [\"127.96.0.10\"]: may not change once set"]);
    let (headless, errors) = create("", "Service", json!({"metadata": {"name": "h"}, "spec": {"clusterIP": "None"}}));
    assert_eq!((errors, &headless["spec"]["clusterIPs"]), (Vec::new(), &json!(["None"])));
}

#[test]
fn service_ports_are_checked() {
    for (ports, expected) in [
        (json!([]), vec!["spec.ports: Required value"]),
        (
            json!([{"port": 0}]),
            vec![
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            json!([{"port": 80}, {"port": 81}]),
            vec!["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
        ),
        (
            json!([{"port": 80, "name": "a"}, {"port": 80, "name": "a"}]),
            vec![
                "spec.ports[1].name: Duplicate value: \"a\"",
                "spec.ports[1]: Duplicate value: {\"AppProtocol\":null,\"Name\":\"\",\"NodePort\":0,\"Port\":80,\"Protocol\":\"TCP\",\"TargetPort\":0}",
            ],
        ),
        (
            json!([{"port": 80, "nodePort": 30000}]),
            vec!["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
    ] {
        let mut object = service();
        object["spec"]["ports"] = ports;
        assert_eq!(create("", "Service", object).1, expected);
    }
}

#[test]
fn secrets_take_plain_strings_and_stay_what_they_are() {
    let secret = json!({"metadata": {"name": "s"}, "data": {"a": "YQ=="}, "stringData": {"b": "hello", "a": "over"}});
    let (object, errors) = create("", "Secret", secret);
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!((&object["data"], &object["type"]), (&json!({"a": "b3Zlcg==", "b": "aGVsbG8="}), &json!("Opaque")));
    assert!(object.get("stringData").is_none());
    let (_, errors) = update("", "Secret", &object, |s| s["type"] = json!("kubernetes.io/tls"));
    assert!(
        errors.contains(&"type: Invalid value: \"kubernetes.io/tls\": field is immutable".to_owned()),
        "{errors:?}"
    );
    assert_eq!(
        create("", "Secret", json!({"type": "kubernetes.io/tls"})).1,
        ["data[tls.crt]: Required value", "data[tls.key]: Required value"]
    );
    let (_, errors) = create("", "Secret", json!({"data": {"a/b": "YQ==", "c": "!"}}));
    assert_eq!(errors.len(), 2, "{errors:?}");
}

#[test]
fn config_maps_have_limits_and_can_be_frozen() {
    let (object, errors) = create("", "ConfigMap", json!({"immutable": true, "data": {"a": "b"}}));
    assert_eq!(errors, Vec::<String>::new());
    let (_, errors) = update("", "ConfigMap", &object, |m| m["data"]["a"] = json!("c"));
    assert_eq!(errors, ["data: Forbidden: field is immutable when `immutable` is set"]);
    let big = json!({"data": {"a": "x".repeat(1024 * 1024 + 1)}});
    assert_eq!(create("", "ConfigMap", big).1, ["[]: Too long: may not be more than 1048576 bytes"]);
    let twice = json!({"data": {"a": "b"}, "binaryData": {"a": "YQ=="}});
    assert_eq!(
        create("", "ConfigMap", twice).1,
        ["binaryData[a]: Invalid value: \"a\": duplicate of key present in data"]
    );
}

#[test]
fn namespaces_carry_their_name_and_finalizer() {
    let (object, errors) =
        create("", "Namespace", json!({"metadata": {"name": "team"}, "status": {"phase": "Terminating"}}));
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(object["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(object["status"], json!({"phase": "Active"}));
    assert_eq!(object["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "team"}));
    let (kept, _) = update("", "Namespace", &object, |n| n["spec"] = json!({}));
    assert_eq!(kept["spec"]["finalizers"], json!(["kubernetes"]));
}

#[test]
fn limits_quotas_and_volumes_are_canonical() {
    let range =
        json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2000m"}, "min": {"memory": "1024Ki"}}]}});
    let (object, errors) = create("", "LimitRange", range);
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(
        object["spec"]["limits"][0],
        json!({"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}, "default": {"cpu": "2"},
               "defaultRequest": {"cpu": "2", "memory": "1Mi"}})
    );
    let bad = json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}}]}});
    let (_, errors) = create("", "LimitRange", bad);
    assert!(
        errors.contains(
            &"spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1".to_owned()
        ),
        "{errors:?}"
    );
    let (object, errors) = create(
        "",
        "ResourceQuota",
        json!({"spec": {"hard": {"pods": 10, "requests.cpu": "1000m", "count/jobs.batch": "3"}}}),
    );
    assert_eq!((errors, &object["spec"]["hard"]["requests.cpu"]), (Vec::new(), &json!("1")));
    assert_eq!(
        create(
            "",
            "ResourceQuota",
            json!({"spec": {"hard": {"pods": "1.5"}, "scopes": ["BestEffort", "NotBestEffort"]}})
        )
        .1,
        [
            "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
            "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
        ]
    );
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}});
    let (object, errors) = create("", "PersistentVolumeClaim", claim);
    assert_eq!(
        (errors, &object["spec"]["volumeMode"], &object["status"]),
        (Vec::new(), &json!("Filesystem"), &json!({"phase": "Pending"}))
    );
    assert_eq!(object["spec"]["resources"]["requests"]["storage"], "1Gi");
    let volume =
        json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}});
    let (object, errors) = create("", "PersistentVolume", volume);
    assert_eq!((errors, &object["spec"]["persistentVolumeReclaimPolicy"]), (Vec::new(), &json!("Retain")));
}

#[test]
fn nodes_leases_and_slices_are_checked() {
    let node = json!({"status": {"capacity": {"cpu": "2000m"}}, "spec": {"taints": [{"key": "a", "effect": "Never"}]}});
    let (object, errors) = create("", "Node", node);
    assert_eq!(object["status"]["allocatable"], json!({"cpu": "2"}));
    assert_eq!(
        errors,
        [
            "metadata.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""
        ]
    );
    assert_eq!(
        create("coordination.k8s.io", "Lease", json!({"spec": {"leaseDurationSeconds": 0}})).1,
        ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]
    );
    let slice = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["127.64.0.2"]}, {"addresses": ["x"]}], "ports": [{"port": 80}]});
    let (object, errors) = create("discovery.k8s.io", "EndpointSlice", slice);
    assert_eq!(errors, ["endpoints[1].addresses[0]: Invalid value: \"x\": must be a valid IPv4 address"]);
    assert_eq!(object["ports"], json!([{"name": "", "protocol": "TCP", "port": 80}]));
}

#[test]
fn a_status_update_keeps_the_metadata_that_it_may_not_change() {
    let meta = |owner: &str| json!({"name": "x", "labels": {"a": owner}, "annotations": {"a": owner}, "ownerReferences": [{"name": owner}]});
    let kept = |group: &str, kind: &str| {
        let (old, mut new) = (json!({"metadata": meta("old")}), json!({"metadata": meta("new"), "status": {}}));
        for_kind(group, kind).prepare_status_update(&mut new, &old);
        let fields = ["labels", "annotations", "ownerReferences"];
        fields.into_iter().filter(|f| new["metadata"][f] == old["metadata"][f]).collect::<Vec<_>>()
    };
    assert_eq!(kept("apps", "Deployment"), ["labels"]);
    assert_eq!(kept("", "Pod"), ["ownerReferences"]);
    let all = ["labels", "annotations", "ownerReferences"];
    // Kubernetes means to keep that of CRDs, too, and does not (kubernetes/kubernetes#137681).
    assert!(kept("apiextensions.k8s.io", "CustomResourceDefinition").is_empty());
    assert_eq!(kept("storage.k8s.io", "VolumeAttachment"), all);
    assert_eq!(kept("networking.k8s.io", "ServiceCIDR"), all);
    assert!(kept("batch", "Job").is_empty());
}

#[test]
fn the_addresses_of_a_load_balancer_say_how_they_are_reached() {
    let mut object = service();
    object["spec"]["type"] = "LoadBalancer".into();
    object["status"] = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "a.example"}]}});
    let strategy = for_kind("", "Service");
    strategy.default(&mut object);
    assert_eq!(
        object["status"]["loadBalancer"]["ingress"],
        json!([{"ip": "1.2.3.4", "ipMode": "VIP"}, {"hostname": "a.example"}])
    );
    assert_eq!(strategy.validate_status_update(&object, &object), []);
}

#[test]
fn a_volumes_place_is_said_once() {
    let volume = json!({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/x"}}});
    let on = |key: &str| json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": "Exists"}]}]}});
    let (mut old, _) = create("", "PersistentVolume", volume);
    let (_, errors) = update("", "PersistentVolume", &old, |v| v["spec"]["nodeAffinity"] = on("a"));
    assert_eq!(errors, Vec::<String>::new());
    old["spec"]["nodeAffinity"] = on("failure-domain.beta.kubernetes.io/zone");
    let zone = "topology.kubernetes.io/zone";
    let (_, errors) = update("", "PersistentVolume", &old, |v| v["spec"]["nodeAffinity"] = on(zone));
    assert_eq!(errors, Vec::<String>::new());
    let (_, errors) = update("", "PersistentVolume", &old, |v| v["spec"]["nodeAffinity"] = on("b"));
    assert_eq!(
        errors,
        [
            r#"nodeAffinity: Invalid value: {"Required":{"NodeSelectorTerms":[{"MatchExpressions":[{"Key":"b","Operator":"Exists","Values":null}],"MatchFields":null}]}}: field is immutable, except for updating from beta label to GA"#
        ]
    );
}

#[test]
fn a_claim_says_its_source_in_both_fields() {
    let source = json!({"apiGroup": null, "kind": "PersistentVolumeClaim", "name": "a"});
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "dataSource": source,
        "resources": {"requests": {"storage": "1Gi"}}}});
    let (made, errors) = create("", "PersistentVolumeClaim", claim);
    assert_eq!((errors, &made["spec"]["dataSourceRef"]), (Vec::new(), &source));
    let mut ancient = made.clone();
    ancient["spec"].as_object_mut().unwrap().remove("dataSourceRef");
    // Neither a client that knows the old field alone nor a claim from before the new one changes anything.
    for old in [made, ancient] {
        let (kept, errors) = update("", "PersistentVolumeClaim", &old, |c| {
            c["spec"].as_object_mut().unwrap().remove("dataSourceRef");
        });
        assert_eq!((errors, &kept["spec"]["dataSourceRef"]), (Vec::new(), &source));
    }
}
