//! Pods from start to end.

use serde_json::{Value, json};

use super::Harness;
use super::harness::{NODE, condition, container};

const SLEEPER: &str = include_str!("../../../../guests/wat/sleeper.wat");
const EXIT_CODE: &str = include_str!("../../../../guests/wat/exit-code.wat");
const HELLO: &str = include_str!("../../../../guests/wat/hello.wat");
const SPIN: &str = include_str!("../../../../guests/wat/spin.wat");
const NO_ENTRY: &str = include_str!("../../../../guests/wat/no-entry.wat");
const HELLO_HTTP: &[u8] = include_bytes!("../../../../guests/prebuilt/hello-http.wasm");

fn one(image: &str, args: &[&str], policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "c", "image": image, "args": args}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_registers_ready_in_one_write() {
    let h = Harness::start().await;
    let node = h.api.get("/api/v1/nodes", "", NODE).unwrap();
    assert_eq!(condition(&node, "Ready"), "True");
    assert_eq!(h.api.requests("/api/v1/nodes/n1/status"), 0);
    assert_eq!(node["status"]["nodeInfo"]["containerRuntimeVersion"], "wasmtime://48.0.8");
    h.api.wait("lease", |api| api.get("/apis/coordination.k8s.io/v1/leases", "kube-node-lease", NODE)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_runs_until_it_is_deleted() {
    let h = Harness::start().await;
    h.image("sleeper:1", SLEEPER);
    h.pod("warm", one("sleeper:1", &[], "Always"));
    h.until_phase("warm", "Running").await;
    h.pod("web", one("sleeper:1", &[], "Always"));
    let pod = h.until_phase("web", "Running").await;
    for type_ in ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"] {
        assert_eq!(condition(&pod, type_), "True", "{type_}");
    }
    assert!(pod["status"]["podIP"].as_str().unwrap().starts_with("127."));
    assert_eq!(container(&pod)["ready"], true);
    assert!(container(&pod)["containerID"].as_str().unwrap().starts_with("wasmtime://"));
    // One where the start is quick; a machine that is busy elsewhere may show what a slow start shows: being
    // prepared, being created.
    let writes = h.api.requests("PATCH /api/v1/namespaces/default/pods/web/status");
    assert!((1..=3).contains(&writes), "{writes}");
    h.until_event("Started").await;
    // A guest that can't notice the signal isn't waited for.
    h.api.delete("default", "web", 3_000);
    h.until_gone("web").await;
    let ended = h.api.requests("DELETE /api/v1/namespaces/default/pods/web");
    assert_eq!(ended, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_and_logs_are_kept() {
    let h = Harness::start().await;
    h.image("exit:1", EXIT_CODE);
    h.image("hello:1", HELLO);
    h.pod("bad", one("exit:1", &["3"], "Never"));
    h.pod("good", one("hello:1", &[], "Never"));
    let bad = h.until_phase("bad", "Failed").await;
    let end = &container(&bad)["state"]["terminated"];
    assert_eq!((end["exitCode"].as_i64(), end["reason"].as_str()), (Some(3), Some("Error")));
    let good = h.until_phase("good", "Succeeded").await;
    assert_eq!(container(&good)["state"]["terminated"]["reason"], "Completed");
    assert_eq!(h.logs("good", "c", "").await, (200, "hello from wasm\n".into()));
    assert_eq!(h.logs("good", "c", "follow=true").await.1, "hello from wasm\n");
    assert_eq!(h.logs("good", "none", "").await.0, 404);
    assert_eq!(h.logs("none", "c", "").await.0, 404);
    h.api.delete("default", "good", 30);
    h.until_gone("good").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashing_container_is_restarted_then_held_back() {
    let h = Harness::start().await;
    h.image("exit:1", EXIT_CODE);
    h.pod("crash", one("exit:1", &["9"], "OnFailure"));
    let pod = h.until_waiting("crash", "CrashLoopBackOff").await;
    let c = container(&pod);
    assert_eq!(c["restartCount"], 1);
    assert_eq!(c["lastState"]["terminated"]["exitCode"], 9);
    let message = c["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.starts_with("back-off 10s restarting failed container=c pod=crash_default(uid-"), "{message}");
    assert_eq!(pod["status"]["phase"], "Running");
    h.until_event("BackOff").await;
    assert_eq!(h.logs("crash", "c", "previous=true").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_run_says_why() {
    let h = Harness::start().await;
    h.image("no-entry:1", NO_ENTRY);
    h.pod("entry", one("no-entry:1", &[], "Always"));
    let pod = h.until_waiting("entry", "ErrImageInvalid").await;
    assert!(container(&pod)["state"]["waiting"]["message"].as_str().unwrap().contains("no entry point"));
    h.pod("name", one("UPPER//case", &[], "Always"));
    h.until_waiting("name", "InvalidImageName").await;
    let mut never = one("absent:1", &[], "Always");
    never["containers"][0]["imagePullPolicy"] = json!("Never");
    h.pod("never", never);
    h.until_waiting("never", "ErrImageNeverPull").await;
    h.pod("pull", one("localhost:1/absent:1", &[], "Always"));
    h.until_waiting("pull", "ErrImagePull").await;
    h.until_waiting("pull", "ImagePullBackOff").await;
    assert_eq!(h.logs("pull", "c", "").await.0, 400);
    h.api.delete("default", "pull", 30);
    h.until_gone("pull").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_is_killable_and_limits_end_guests() {
    let h = Harness::start().await;
    h.image("spin:1", SPIN);
    h.pod("spin", one("spin:1", &[], "Always"));
    h.until_phase("spin", "Running").await;
    let mut fuel = one("spin:1", &[], "Never");
    fuel["containers"][0]["resources"] = json!({"limits": {"skiff.dev/fuel": "100000"}});
    h.pod("fuel", fuel);
    let pod = h.until_phase("fuel", "Failed").await;
    assert_eq!(container(&pod)["state"]["terminated"]["reason"], "FuelExhausted");
    h.api.delete("default", "spin", 30);
    h.until_gone("spin").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_containers_run_first_and_in_order() {
    let h = Harness::start().await;
    h.image("exit:1", EXIT_CODE);
    h.image("sleeper:1", SLEEPER);
    let init = |code: &str| json!({"name": format!("i{code}"), "image": "exit:1", "args": [code]});
    let apps = json!([{"name": "c", "image": "sleeper:1"}]);
    h.pod("good", json!({"initContainers": [init("0")], "containers": apps}));
    let pod = h.until_phase("good", "Running").await;
    assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0);
    h.pod("bad", json!({"restartPolicy": "Never", "initContainers": [init("4")], "containers": apps}));
    let pod = h.until_phase("bad", "Failed").await;
    assert_eq!(container(&pod)["state"]["waiting"]["reason"], "PodInitializing");
    let sidecar = json!({"name": "side", "image": "sleeper:1", "restartPolicy": "Always"});
    let job = json!([{"name": "c", "image": "exit:1", "args": ["0"]}]);
    h.pod("side", json!({"restartPolicy": "Never", "initContainers": [sidecar], "containers": job}));
    let pod = h.until_phase("side", "Succeeded").await;
    assert!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"].is_object());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_components_are_served_and_probed() {
    let h = Harness::start().await;
    h.image_bytes("http:1", HELLO_HTTP);
    let mut spec = one("http:1", &[], "Always");
    spec["containers"][0]["ports"] = json!([{"name": "http", "containerPort": 8080}]);
    spec["containers"][0]["readinessProbe"] = json!({"httpGet": {"port": "http", "path": "/healthz"}});
    h.pod("web", spec);
    let pod = h.until("web", "ready", |pod| condition(pod, "Ready") == "True").await;
    let ip: std::net::IpAddr = pod["status"]["podIP"].as_str().unwrap().parse().unwrap();
    let get = crate::probes::check::Action::Http {
        address: crate::probes::check::Address::Pod,
        port: 8080,
        path: "/".into(),
        headers: vec![],
    };
    get.run(ip, std::time::Duration::from_secs(60)).await.unwrap();
    h.api.delete("default", "web", 30);
    h.until_gone("web").await;
    assert!(get.run(ip, std::time::Duration::from_secs(60)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_liveness_probe_restarts_the_container() {
    let h = Harness::start().await;
    h.image("sleeper:1", SLEEPER);
    let mut spec = one("sleeper:1", &[], "Always");
    spec["containers"][0]["livenessProbe"] =
        json!({"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 1});
    h.pod("sick", spec);
    h.until("sick", "restarted", |pod| container(pod)["restartCount"].as_i64() >= Some(1)).await;
    let event = h.until_event("Killing").await;
    assert_eq!(event["message"], "Container c failed liveness probe, will be restarted");
    h.until_event("Unhealthy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workloads_come_back_with_a_new_agent() {
    let mut h = Harness::start().await;
    h.image("sleeper:1", SLEEPER);
    h.image("hello:1", HELLO);
    h.pod("web", one("sleeper:1", &[], "Always"));
    h.pod("job", one("sleeper:1", &[], "Never"));
    h.pod("done", one("hello:1", &[], "Never"));
    for name in ["web", "job"] {
        h.until_phase(name, "Running").await;
    }
    let done = h.until_phase("done", "Succeeded").await;
    h.restart().await;
    let web = h.until("web", "restarted", |pod| container(pod)["restartCount"] == 1).await;
    assert_eq!(container(&web)["lastState"]["terminated"]["reason"], "ContainerStatusUnknown");
    let job = h.until_phase("job", "Failed").await;
    assert_eq!(container(&job)["state"]["terminated"]["exitCode"], 137);
    let after = h.until_phase("done", "Succeeded").await;
    assert_eq!(after["status"], done["status"]);
    assert_eq!(h.logs("done", "c", "").await.1, "hello from wasm\n");
    for name in ["web", "job", "done"] {
        h.api.delete("default", name, 30);
        h.until_gone(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_node_rejects_and_a_forced_delete_leaves_nothing() {
    let h = Harness::with_pods(1).await;
    h.image("sleeper:1", SLEEPER);
    h.pod("first", one("sleeper:1", &[], "Always"));
    h.until_phase("first", "Running").await;
    h.pod("second", one("sleeper:1", &[], "Always"));
    let pod = h.until_phase("second", "Failed").await;
    assert_eq!(pod["status"]["reason"], "OutOfpods");
    h.api.delete("default", "first", 0);
    h.pod("first", one("sleeper:1", &[], "Always"));
    // The name is taken again at once; only the room is not free yet, perhaps.
    h.until("first", "handled", |pod| pod["status"]["phase"] != "Pending").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_fails_the_pod() {
    let h = Harness::start().await;
    h.image("sleeper:1", SLEEPER);
    let mut spec = one("sleeper:1", &[], "Always");
    spec["activeDeadlineSeconds"] = json!(1);
    h.pod("late", spec);
    let pod = h.until_phase("late", "Failed").await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
}
