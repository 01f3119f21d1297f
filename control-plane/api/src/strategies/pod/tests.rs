//! Pods: defaults, rules, and what an update may change.

use super::*;
use serde_json::json;

/// The complaints about a pod of `spec`, after defaulting as at creation.
fn check(spec: &Value) -> Vec<String> {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "default"}, "spec": spec});
    Pod.default(&mut pod);
    Pod.prepare_create(&mut pod);
    Pod.validate(&pod).iter().map(ToString::to_string).collect()
}

fn with_container(container: &Value) -> Value {
    let mut whole = json!({"name": "c", "image": "i"});
    for (key, value) in container.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    json!({"containers": [whole]})
}

#[test]
fn a_minimal_pod_gets_kubernetes_defaults() {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "c", "image": "img", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": 0.5, "memory": "1024Ki", "skiff.dev/fuel": "1000000"}},
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "readinessProbe": {"httpGet": {"port": 80}}}],
        "volumes": [{"name": "a"}, {"name": "b", "configMap": {"name": "m"}},
            {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
        "serviceAccountName": "bob",
    }});
    Pod.default(&mut pod);
    Pod.prepare_create(&mut pod);
    insta::assert_json_snapshot!(pod);
    let once = pod.clone();
    Pod.default(&mut pod);
    assert_eq!(pod, once, "defaulting is idempotent");
    assert_eq!(Pod.validate(&pod), []);
}

#[test]
fn pull_policy_follows_the_tag() {
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.2", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:v1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
        ("nginx:latest@sha256:abc", "Always"),
        ("file:///tmp/x.wasm", "IfNotPresent"),
        ("", "IfNotPresent"),
    ] {
        assert_eq!(defaults::pull_policy(image), policy, "{image}");
    }
}

#[test]
fn broken_specs_get_kubernetes_messages() {
    let prefix = "spec.containers[0]";
    for (spec, expected) in [
        (json!({}), vec!["spec.containers: Required value".to_owned()]),
        (
            json!({"containers": [{}]}),
            vec![format!("{prefix}.name: Required value"), format!("{prefix}.image: Required value")],
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": " i"}]}),
            vec![
                "spec.containers[1].name: Duplicate value: \"c\"".into(),
                "spec.containers[1].image: Invalid value: \" i\": must not have leading or trailing whitespace".into(),
            ],
        ),
        (
            with_container(&json!({"ports": [{"containerPort": 0}, {"containerPort": 70000, "protocol": "X"}]})),
            vec![
                format!("{prefix}.ports[0].containerPort: Required value"),
                format!(
                    "{prefix}.ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"
                ),
                format!(
                    "{prefix}.ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\""
                ),
            ],
        ),
        (
            with_container(&json!({"volumeMounts": [{"name": "v", "mountPath": "/a"}]})),
            vec![format!("{prefix}.volumeMounts[0].name: Not found: \"v\"")],
        ),
        (
            with_container(&json!({"imagePullPolicy": "Sometimes", "livenessProbe": {}})),
            vec![
                format!(
                    "{prefix}.imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\""
                ),
                format!("{prefix}.livenessProbe: Required value: must specify a handler type"),
            ],
        ),
        (
            with_container(
                &json!({"livenessProbe": {"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}, "successThreshold": 2}}),
            ),
            vec![
                format!("{prefix}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"),
                format!("{prefix}.livenessProbe.successThreshold: Invalid value: 2: must be 1"),
            ],
        ),
        (
            with_container(
                &json!({"env": [{"name": ""}, {"name": "A=B"}, {"name": "C", "value": "x", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]}),
            ),
            vec![
                format!("{prefix}.env[0].name: Required value"),
                format!(
                    "{prefix}.env[1].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='"
                ),
                format!(
                    "{prefix}.env[2].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"
                ),
            ],
        ),
    ] {
        assert_eq!(check(&spec), expected, "{spec}");
    }
}

#[test]
fn broken_resources_get_kubernetes_messages() {
    let prefix = "spec.containers[0]";
    for (spec, expected) in [
        (
            with_container(&json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
            vec![format!(
                "{prefix}.resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"
            )],
        ),
        (
            with_container(&json!({"resources": {"limits": {"cpu": "-1", "bogus": "1", "memory": "lots"}}})),
            vec![
                format!(
                    "{prefix}.resources.limits[bogus]: Invalid value: \"bogus\": must be a standard resource type or fully qualified"
                ),
                format!(
                    "{prefix}.resources.limits[bogus]: Invalid value: \"bogus\": must be a standard resource for containers"
                ),
                format!("{prefix}.resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"),
                format!(
                    "{prefix}.resources.limits[memory]: Invalid value: \"lots\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                ),
            ],
        ),
        (
            with_container(&json!({"resources": {"limits": {"skiff.dev/fuel": "1.5"}}})),
            vec![
                format!("{prefix}.resources.limits[skiff.dev/fuel]: Invalid value: \"1500m\": must be an integer"),
                format!("{prefix}.resources.requests[skiff.dev/fuel]: Invalid value: \"1500m\": must be an integer"),
            ],
        ),
        (
            with_container(
                &json!({"resources": {"limits": {"skiff.dev/fuel": "5"}, "requests": {"skiff.dev/fuel": "4"}}}),
            ),
            vec![format!(
                "{prefix}.resources.requests: Invalid value: \"4\": must be equal to skiff.dev/fuel limit of 5"
            )],
        ),
    ] {
        let mut got = check(&spec);
        // What is wrong with a limit is wrong with the request made of it, too.
        if spec.pointer("/containers/0/resources/limits/bogus").is_some() {
            got.retain(|text| !text.contains("resources.requests"));
        }
        assert_eq!(got, expected, "{spec}");
    }
}

#[test]
fn pod_level_rules_hold() {
    for (extra, expected) in [
        (
            json!({"restartPolicy": "Once"}),
            "spec.restartPolicy: Unsupported value: \"Once\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            json!({"activeDeadlineSeconds": 0}),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            json!({"securityContext": {"runAsUser": -1}}),
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            json!({"schedulingGates": [{"name": "a"}], "nodeName": "n"}),
            "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
        ),
        (
            json!({"dnsPolicy": "None"}),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            json!({"tolerations": [{"key": "a", "operator": "Is"}]}),
            "spec.tolerations[0].operator: Unsupported value: \"Is\": supported values: \"Equal\", \"Exists\"",
        ),
        (
            json!({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}),
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            json!({"volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 999}}]}),
            "spec.volumes[0].secret.defaultMode: Invalid value: 999: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            json!({"nodeSelector": {"a b": ""}}),
            "spec.nodeSelector: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
        (
            json!({"initContainers": [{"name": "i", "image": "i", "readinessProbe": {"tcpSocket": {"port": 1}}}]}),
            "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
    ] {
        let mut spec = with_container(&json!({}));
        for (key, value) in extra.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        assert_eq!(check(&spec), [expected]);
    }
}

#[test]
fn wrongly_typed_specs_do_not_panic() {
    for spec in [
        json!(null),
        json!([]),
        json!("x"),
        json!({"containers": {}, "volumes": "x", "tolerations": [1, null, []]}),
        json!({"containers": [null, 1, "x", {"name": 5, "image": [], "ports": "no", "env": {}, "resources": [], "livenessProbe": 1}]}),
        json!({"containers": [{"resources": {"limits": [], "requests": {"cpu": {}}}, "lifecycle": {"preStop": []}}]}),
        json!({"affinity": [], "dnsConfig": 3, "securityContext": [], "overhead": 1, "nodeSelector": {"a": 1}}),
    ] {
        let mut pod = json!({"metadata": 3, "spec": spec});
        let strategy: &dyn Strategy = &Pod;
        strategy.default(&mut pod);
        strategy.prepare_create(&mut pod);
        let _ = (strategy.validate(&pod), strategy.warnings(&pod), strategy.fields(&pod), qos_class(&pod));
        let _ = strategy.validate_update(&pod, &json!({"spec": {}}));
        let _ = strategy.deletion_grace_seconds(&pod, None);
    }
}

#[test]
fn quality_of_service_is_derived() {
    let class = |resources: Value| qos_class(&json!({"spec": {"containers": [{"resources": resources}]}}));
    assert_eq!(class(json!({})), "BestEffort");
    assert_eq!(class(json!({"requests": {"cpu": "0"}})), "BestEffort");
    assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
    assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Guaranteed");
    assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})), "Burstable");
    assert_eq!(class(json!({"limits": {"skiff.dev/fuel": "1"}})), "BestEffort");
}

fn running() -> Value {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": with_container(&json!({}))});
    Pod.default(&mut pod);
    pod
}

#[test]
fn little_may_change_in_a_pod() {
    let old = running();
    let update = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        Pod.validate_update(&new, &old).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(update(&|p| p["spec"]["containers"][0]["image"] = json!("other")), Vec::<String>::new());
    assert_eq!(update(&|p| p["spec"]["activeDeadlineSeconds"] = json!(5)), Vec::<String>::new());
    assert_eq!(update(&|p| p["spec"]["tolerations"] = json!([{"key": "a"}])), Vec::<String>::new());
    assert_eq!(update(&|p| p["metadata"]["labels"] = json!({"a": "b"})), Vec::<String>::new());
    assert_eq!(
        update(&|p| p["spec"]["containers"] = json!([])),
        ["spec.containers: Forbidden: pod updates may not add or remove containers"]
    );
    let refused = update(&|p| p["spec"]["nodeName"] = json!("n"));
    let [refused] = refused.as_slice() else { panic!("{refused:?}") };
    let (said, difference) = refused.split_once('\n').unwrap();
    assert_eq!(
        said,
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    );
    assert!(
        difference.contains("\n- \"NodeName\": \"\",\n+ \"NodeName\": \"n\",\n  \"SecurityContext\": {\n"),
        "{difference}"
    );
}

#[test]
fn deletion_is_graceful_only_where_something_runs() {
    let grace = |spec: Value, phase: &str, requested| {
        let pod = json!({"spec": spec, "status": {"phase": phase}});
        Pod.deletion_grace_seconds(&pod, requested)
    };
    let bound = json!({"nodeName": "n", "terminationGracePeriodSeconds": 7});
    assert_eq!(grace(bound.clone(), "Running", None), Some(7));
    assert_eq!(grace(bound.clone(), "Running", Some(0)), Some(0));
    assert_eq!(grace(bound.clone(), "Running", Some(-1)), Some(1));
    assert_eq!(grace(bound.clone(), "Running", Some(90)), Some(90));
    assert_eq!(grace(bound, "Succeeded", None), Some(0));
    assert_eq!(grace(json!({"nodeName": "n"}), "Running", None), Some(30));
    assert_eq!(grace(json!({}), "Pending", Some(30)), Some(0));
}

#[test]
fn status_updates_cannot_touch_the_spec() {
    let old = json!({"spec": {"a": 1}, "status": {"qosClass": "Burstable"}});
    let mut new = json!({"spec": {"a": 2}, "status": {"phase": "Running", "qosClass": "Guaranteed"}});
    Pod.prepare_status_update(&mut new, &old);
    assert_eq!(new, json!({"spec": {"a": 1}, "status": {"phase": "Running", "qosClass": "Burstable"}}));
}

#[test]
fn every_selectable_field_is_named_once() {
    let named: Vec<&str> = Pod.fields(&running()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(named, Pod.field_names());
}

#[test]
fn what_a_pod_leaves_out_is_said_for_it() {
    let defaulted = |spec: Value| {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": spec});
        Pod.default(&mut pod);
        let once = pod.clone();
        Pod.default(&mut pod);
        assert_eq!(pod, once, "defaulting is idempotent");
        pod["spec"].clone()
    };
    let asks = json!({"resources": {"limits": {"cpu": "1"}, "requests": {"memory": "1Gi", "a.b/c": "1"}},
        "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]});
    assert_eq!(
        defaulted(with_container(&asks))["containers"][0]["resizePolicy"],
        json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"},
            {"resourceName": "cpu", "restartPolicy": "NotRequired"}])
    );
    let mut whole = with_container(&json!({"resources": {"requests": {"cpu": "500m"}}}));
    whole["resources"] = json!({"limits": {"cpu": "2", "memory": "1Gi"}});
    assert_eq!(defaulted(whole)["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
    let mut on_host = with_container(&json!({"ports": [{"containerPort": 80}]}));
    on_host["hostNetwork"] = true.into();
    assert_eq!(defaulted(on_host.clone())["containers"][0]["ports"][0]["hostPort"], 80);
    default_spec(on_host.as_object_mut().unwrap());
    assert_eq!(on_host["containers"][0]["ports"][0].get("hostPort"), None, "a template's ports stay");
    let mut disk = with_container(&json!({}));
    disk["volumes"] = json!([{"name": "d", "azureDisk": {"diskName": "a", "diskURI": "b"}},
        {"name": "i", "iscsi": {"iscsiInterface": ""}}]);
    let disk = defaulted(disk);
    assert_eq!(disk["volumes"][0]["azureDisk"]["readOnly"], false);
    assert_eq!(disk["volumes"][1]["iscsi"]["iscsiInterface"], "default");
}

#[test]
fn what_an_older_version_stored_without_a_default_may_still_be_updated() {
    let mut old =
        json!({"metadata": {"name": "p"}, "spec": with_container(&json!({"resources": {"requests": {"cpu": "1"}}}))});
    Pod.default(&mut old);
    let new = old.clone();
    old["spec"]["containers"][0].as_object_mut().unwrap().remove("resizePolicy");
    assert_eq!(Pod.validate_update(&new, &old), []);
}
