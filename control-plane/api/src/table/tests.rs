//! Tables as kubectl prints them.

use super::*;
use crate::kinds::Kinds;
use serde_json::json;

fn now() -> Context {
    Context::at("2026-01-10T12:00:00Z".parse().expect("a time"))
}

/// The table of one object as kubectl prints it with `-o wide`.
fn print(group: &str, kind: &str, objects: &[Value]) -> String {
    let columns = columns_for(group, kind);
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let mut rows = vec![columns.columns.iter().map(|c| c.name.to_uppercase()).collect::<Vec<_>>()];
    for object in objects {
        let cells = (columns.cells)(object, &now());
        assert_eq!(cells.len(), columns.columns.len(), "{kind}");
        rows.push(cells.into_iter().map(text).collect());
    }
    let widths: Vec<usize> = (0..rows[0].len()).map(|i| rows.iter().map(|r| r[i].len()).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let padded: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("   ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn pod(name: &str, status: impl Into<Value>) -> Value {
    let status: Value = status.into();
    json!({"metadata": {"name": name, "creationTimestamp": "2026-01-10T11:55:00Z"},
           "spec": {"nodeName": "n1", "containers": [{"name": "a"}, {"name": "b"}]}, "status": status})
}

fn ended(reason: &str, code: i64) -> Value {
    json!({"terminated": {"reason": reason, "exitCode": code, "finishedAt": "2026-01-10T11:57:00Z"}})
}

#[test]
fn pods_print_as_in_kubectl() {
    let running = json!({"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}});
    let mut deleted = pod("deleted", json!({"phase": "Running", "containerStatuses": [running]}));
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-10T12:00:00Z");
    let mut finished = pod("finished-deleted", json!({"phase": "Succeeded"}));
    finished["metadata"]["deletionTimestamp"] = json!("2026-01-10T12:00:00Z");
    let mut init = pod(
        "init",
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
    );
    init["spec"]["initContainers"] = json!([{"name": "i"}]);
    let mut init_failed = pod(
        "init-failed",
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 2, "state": ended("Error", 1), "lastState": ended("Error", 1)}]}),
    );
    init_failed["spec"]["initContainers"] = json!([{"name": "i"}]);
    let mut gates = pod(
        "gates",
        json!({"phase": "Running", "podIPs": [{"ip": "127.64.0.3"}], "conditions": [{"type": "x/y", "status": "True"}], "containerStatuses": [running, running]}),
    );
    gates["spec"]["readinessGates"] = json!([{"conditionType": "x/y"}, {"conditionType": "x/z"}]);
    let pods = [
        pod("pending", json!({"phase": "Pending"})),
        pod("running", json!({"phase": "Running", "containerStatuses": [running, running]})),
        pod(
            "crash",
            json!({"phase": "Running", "containerStatuses": [
            {"name": "a", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended("Error", 1)}, running]}),
        ),
        pod(
            "oom",
            json!({"phase": "Running", "containerStatuses": [{"name": "a", "restartCount": 1, "state": ended("OOMKilled", 137)}]}),
        ),
        pod("exit", json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": ended("", 3)}]})),
        pod(
            "completed",
            json!({"phase": "Succeeded", "containerStatuses": [{"name": "a", "state": ended("Completed", 0)}]}),
        ),
        pod(
            "half",
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [{"name": "a", "state": ended("Completed", 0)}, running]}),
        ),
        pod(
            "creating",
            json!({"phase": "Pending", "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "ContainerCreating"}}}]}),
        ),
        pod("evicted", json!({"phase": "Failed", "reason": "Evicted"})),
        pod(
            "gated",
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
        ),
        deleted,
        finished,
        init,
        init_failed,
        gates,
    ];
    insta::assert_snapshot!(print("", "Pod", &pods));
}

#[test]
fn workloads_print_as_in_kubectl() {
    let spec = json!({"replicas": 3, "completions": 2, "parallelism": 1, "schedule": "* * * * *", "suspend": false,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:2"}]}}});
    let object = |status: Value| json!({"metadata": {"name": "web", "creationTimestamp": "2026-01-07T08:00:00Z"}, "spec": spec, "status": status});
    let counts = json!({"replicas": 3, "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2, "succeeded": 1,
        "startTime": "2026-01-10T11:50:00Z", "conditions": [{"type": "Complete", "status": "False"}]});
    let done = json!({"succeeded": 2, "startTime": "2026-01-10T11:50:00Z", "completionTime": "2026-01-10T11:50:07Z", "conditions": [{"type": "Complete", "status": "True"}]});
    let mut out = Vec::new();
    for (group, kind) in [
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "DaemonSet"),
        ("apps", "StatefulSet"),
        ("batch", "CronJob"),
        ("apps", "ControllerRevision"),
    ] {
        out.push(format!("{kind}\n{}", print(group, kind, &[object(counts.clone())])));
    }
    out.push(format!("Job\n{}", print("batch", "Job", &[object(counts), object(done), object(json!({}))])));
    insta::assert_snapshot!(out.join("\n\n"));
}

#[test]
fn network_kinds_print_as_in_kubectl() {
    let meta = json!({"name": "web", "creationTimestamp": "2026-01-10T11:59:30Z"});
    let service = |spec: Value| json!({"metadata": meta, "spec": spec});
    let services = [
        service(
            json!({"type": "ClusterIP", "clusterIP": "127.96.0.1", "clusterIPs": ["127.96.0.1"], "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}], "selector": {"app": "web"}}),
        ),
        service(
            json!({"type": "NodePort", "clusterIP": "127.96.0.2", "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]}),
        ),
        service(json!({"type": "LoadBalancer", "clusterIPs": ["127.96.0.3"], "ports": []})),
        service(json!({"type": "ExternalName", "externalName": "example.com"})),
    ];
    let address = |n: u8| json!({"ip": format!("127.64.0.{n}")});
    let endpoints = [
        json!({"metadata": meta}),
        json!({"metadata": meta, "subsets": [{"addresses": [address(1), address(2), address(3), address(4)], "ports": [{"port": 80}]}]}),
        json!({"metadata": meta, "subsets": [{"addresses": [{"ip": "::1"}], "ports": [{"port": 80}]}]}),
    ];
    let slices = [
        json!({"metadata": meta, "addressType": "IPv4"}),
        json!({"metadata": meta, "addressType": "IPv4", "ports": [{"port": 80}, {"name": "x"}, {}], "endpoints": [{"addresses": ["127.64.0.1", "127.64.0.2"]}, {"addresses": ["127.64.0.3", "127.64.0.4"]}]}),
    ];
    let text = [
        print("", "Service", &services),
        print("", "Endpoints", &endpoints),
        print("discovery.k8s.io", "EndpointSlice", &slices),
    ];
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn cluster_kinds_print_as_in_kubectl() {
    let meta = json!({"name": "x", "creationTimestamp": "2024-01-10T11:59:30Z", "labels": {"node-role.kubernetes.io/control-plane": "", "node-role.kubernetes.io/worker": ""}});
    let node = json!({"metadata": meta, "spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "nodeInfo": {"kubeletVersion": "v1.36.0+skiff", "osImage": "Linux", "kernelVersion": "6.1", "containerRuntimeVersion": "wasmtime://48"}}});
    let event = json!({"metadata": meta, "involvedObject": {"kind": "Pod", "name": "web-1", "fieldPath": "spec.containers{a}"}, "type": "Warning", "reason": "BackOff",
        "message": " Back-off restarting failed container\n", "source": {"component": "kubelet", "host": "n1"}, "count": 7,
        "firstTimestamp": "2026-01-10T11:00:00Z", "lastTimestamp": "2026-01-10T11:59:00Z"});
    let series = json!({"metadata": meta, "regarding": {"kind": "Pod", "name": "web-1"}, "type": "Normal", "reason": "Scheduled", "note": "ok",
        "eventTime": "2026-01-10T11:58:00.000000Z", "reportingController": "default-scheduler", "reportingInstance": "s-1"});
    let volume = json!({"metadata": meta, "spec": {"capacity": {"storage": "1024Mi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"], "claimRef": {"namespace": "d", "name": "c"}, "storageClassName": "fast", "persistentVolumeReclaimPolicy": "Retain"}, "status": {"phase": "Bound"}});
    let claim = json!({"metadata": meta, "spec": {"volumeName": "v", "volumeMode": "Filesystem"}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}});
    let quota = json!({"metadata": meta, "status": {"hard": {"limits.cpu": "2", "pods": "10"}, "used": {"pods": "3"}}});
    let data = json!({"metadata": meta, "type": "Opaque", "data": {"a": "", "b": ""}, "binaryData": {"c": ""}, "secrets": [{}]});
    let text = [
        print("", "Node", &[node, json!({"metadata": meta})]),
        print("", "Event", &[event, series]),
        print("", "PersistentVolume", &[volume]),
        print("", "PersistentVolumeClaim", &[claim]),
        print("", "ResourceQuota", &[quota]),
        print("", "ConfigMap", std::slice::from_ref(&data)),
        print("", "Secret", std::slice::from_ref(&data)),
        print("", "ServiceAccount", &[data]),
        print("", "Namespace", &[json!({"metadata": meta, "status": {"phase": "Active"}})]),
        print("", "LimitRange", &[json!({"metadata": meta})]),
        print("coordination.k8s.io", "Lease", &[json!({"metadata": meta, "spec": {"holderIdentity": "n1"}})]),
        print(
            "rbac.authorization.k8s.io",
            "RoleBinding",
            &[
                json!({"metadata": meta, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "namespace": "d", "name": "s"}]}),
            ],
        ),
        print(
            "autoscaling",
            "HorizontalPodAutoscaler",
            &[
                json!({"metadata": meta, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3, "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}]}}),
            ],
        ),
    ];
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn a_table_is_a_meta_v1_table() {
    let kinds = Kinds::builtin();
    let pods = kinds.find("", "v1", "pods").expect("pods are built in");
    let object = pod("p", json!({"phase": "Succeeded"}));
    let table = render(&pods, [&object], json!({"resourceVersion": "5"}), &now(), IncludeObject::Metadata);
    assert_eq!(
        (&table["kind"], &table["apiVersion"], &table["metadata"]["resourceVersion"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"), &json!("5"))
    );
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["rows"][0]["conditions"][0]["reason"], "Succeeded");
    let table = render(&pods, [&object], json!({}), &now(), IncludeObject::None);
    assert_eq!(table["rows"][0].get("object"), Some(&json!(null)));
    let table = render(&pods, [&object], json!({}), &now(), IncludeObject::Object);
    assert_eq!(table["rows"][0]["object"], object);
    assert_eq!(IncludeObject::parse("Everything"), None);
}

#[test]
fn every_kind_has_as_many_cells_as_columns() {
    for resource in Kinds::builtin().iter() {
        for object in [json!({}), json!({"metadata": [], "spec": [], "status": "x"}), json!(null)] {
            let cells = (resource.columns.cells)(&object, &now());
            assert_eq!(cells.len(), resource.columns.columns.len(), "{}", resource.kind);
        }
    }
}

#[test]
fn ranges_and_addresses_print_as_in_kubectl() {
    let made = "2026-01-10T11:55:00Z";
    let object = |name: &str, spec: Value| json!({"metadata": {"name": name, "creationTimestamp": made}, "spec": spec});
    let ranges = [
        object("kubernetes", json!({"cidrs": ["10.96.0.0/28"]})),
        object("both", json!({"cidrs": ["10.96.0.0/24", "2001:db8::/64"]})),
    ];
    insta::assert_snapshot!(print("networking.k8s.io", "ServiceCIDR", &ranges), @r"
    NAME         CIDRS                        AGE
    kubernetes   10.96.0.0/28                 5m
    both         10.96.0.0/24,2001:db8::/64   5m
    ");
    let parent = |group: &str, resource: &str, namespace: &str| json!({"parentRef": {"group": group, "resource": resource, "namespace": namespace, "name": "x"}});
    let addresses = [
        object("10.96.0.1", parent("", "services", "default")),
        object("10.96.0.2", parent("Example.com", "Gateways", "")),
        object("10.96.0.3", json!({})),
    ];
    insta::assert_snapshot!(print("networking.k8s.io", "IPAddress", &addresses), @r"
    NAME        PARENTREF                AGE
    10.96.0.1   services/default/x       5m
    10.96.0.2   gateways.example.com/x   5m
    10.96.0.3   <none>                   5m
    ");
}
