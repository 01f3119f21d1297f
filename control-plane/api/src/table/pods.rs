//! Pods and pod templates.

use super::Context;
use super::format::{
    AGE, CONTAINERS, Definition, IMAGES, NAME, age, columns, condition, containers, int, items, labels, map, or, text,
};
use crate::kinds::Columns;
use crate::meta;
use crate::time;
use jiff::Timestamp;
use serde_json::{Value, json};

const PODS: &[Definition] = &[
    NAME,
    ("Ready", "string", 0, "The aggregate readiness state of this pod for accepting traffic."),
    ("Status", "string", 0, "The aggregate status of the containers in this pod."),
    (
        "Restarts",
        "string",
        0,
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    AGE,
    ("IP", "string", 1, "The pod's primary address."),
    ("Node", "string", 1, "The node that the pod is bound to."),
    ("Nominated Node", "string", 1, "The node on which preemption makes room for the pod."),
    ("Readiness Gates", "string", 1, "How many of the pod's readiness gates are true."),
];

pub(super) fn find(kind: &str) -> Option<Columns> {
    Some(match kind {
        "Pod" => columns(PODS, pod_cells),
        "PodTemplate" => columns(
            &[
                NAME,
                ("Containers", CONTAINERS.1, 0, CONTAINERS.3),
                ("Images", IMAGES.1, 0, IMAGES.3),
                ("Pod Labels", "string", 0, "The labels for the pod template."),
            ],
            |object, _| {
                let (names, images) = containers(object, "/template/spec/containers");
                let labels = labels(map(object, "/template/metadata/labels"));
                vec![meta::name(object).into(), names.into(), images.into(), labels.into()]
            },
        ),
        _ => return None,
    })
}

/// What a row says of a pod that has ended.
pub(super) fn row_condition(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(pod, "/status/phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!({"type": "Completed", "status": "True", "reason": reason, "message": message}))
}

/// The sums that a pod's row shows, gathered over its containers.
#[derive(Default)]
struct Summary {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Summary {
    fn add_restarts(&mut self, container: &Value) {
        self.restarts += int(container, "/restartCount");
        let ended = container.pointer("/lastState/terminated/finishedAt").and_then(Value::as_str).and_then(time::parse);
        self.last_restart = self.last_restart.max(ended);
    }
}

fn pod_cells(pod: &Value, context: &Context) -> Vec<Value> {
    let init_specs = items(pod, "/spec/initContainers");
    let total =
        items(pod, "/spec/containers").len() + init_specs.iter().filter(|c| c["restartPolicy"] == "Always").count();
    let summary = summarize(pod, init_specs);
    let restarts = match summary.last_restart {
        Some(at) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, time::human_duration(context.now.duration_since(at)))
        }
        _ => summary.restarts.to_string(),
    };
    let ip = items(pod, "/status/podIPs").first().map_or("", |ip| text(ip, "/ip"));
    vec![
        meta::name(pod).into(),
        format!("{}/{total}", summary.ready).into(),
        summary.reason.into(),
        restarts.into(),
        age(pod, context),
        or(ip, "<none>").into(),
        or(text(pod, "/spec/nodeName"), "<none>").into(),
        or(text(pod, "/status/nominatedNodeName"), "<none>").into(),
        readiness_gates(pod).into(),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = items(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let is_true = |gate: &&Value| condition(pod, "/status/conditions", text(gate, "/conditionType")) == Some("True");
    format!("{}/{}", gates.iter().filter(is_true).count(), gates.len())
}

fn summarize(pod: &Value, init_specs: &[Value]) -> Summary {
    let phase = text(pod, "/status/phase");
    let mut summary = Summary { reason: or(text(pod, "/status/reason"), phase).into(), ..Summary::default() };
    let gated = |c: &Value| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated";
    if items(pod, "/status/conditions").iter().any(gated) {
        summary.reason = "SchedulingGated".into();
    }
    let mut sidecars = Summary::default();
    let initializing = read_init_containers(pod, init_specs, &mut summary, &mut sidecars);
    if !initializing || condition(pod, "/status/conditions", "Initialized") == Some("True") {
        summary.restarts = sidecars.restarts;
        summary.last_restart = sidecars.last_restart;
        read_containers(pod, &mut summary);
    }
    if meta::deletion_timestamp(pod).is_some() {
        if text(pod, "/status/reason") == "NodeLost" {
            summary.reason = "Unknown".into();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            summary.reason = "Terminating".into();
        }
    }
    summary
}

/// Reads the statuses of init containers up to the first that is not done. Returns whether there is one.
fn read_init_containers(pod: &Value, specs: &[Value], summary: &mut Summary, sidecars: &mut Summary) -> bool {
    for (i, container) in items(pod, "/status/initContainerStatuses").iter().enumerate() {
        summary.add_restarts(container);
        let is_sidecar = specs.iter().any(|s| s["name"] == container["name"] && s["restartPolicy"] == "Always");
        if is_sidecar {
            sidecars.add_restarts(container);
        }
        let terminated = container.pointer("/state/terminated");
        let waiting = text(container, "/state/waiting/reason");
        if terminated.is_some_and(|t| int(t, "/exitCode") == 0) {
            continue;
        }
        if is_sidecar && container["started"] == true {
            summary.ready += usize::from(container["ready"] == true);
            continue;
        }
        summary.reason = if let Some(terminated) = terminated {
            format!("Init:{}", ended(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{i}/{}", specs.len())
        };
        return true;
    }
    false
}

fn read_containers(pod: &Value, summary: &mut Summary) {
    let mut running = false;
    for container in items(pod, "/status/containerStatuses").iter().rev() {
        summary.add_restarts(container);
        let waiting = text(container, "/state/waiting/reason");
        if !waiting.is_empty() {
            summary.reason = waiting.into();
        } else if let Some(terminated) = container.pointer("/state/terminated").filter(|t| !t.is_null()) {
            summary.reason = ended(terminated);
        } else if container["ready"] == true && container.pointer("/state/running").is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    // A pod of which one part has completed and another still runs is running.
    if summary.reason == "Completed" && running {
        let ready = condition(pod, "/status/conditions", "Ready") == Some("True");
        summary.reason = if ready { "Running" } else { "NotReady" }.into();
    }
}

/// The word for how a container ended: its reason, else its signal, else its exit code.
fn ended(terminated: &Value) -> String {
    match (text(terminated, "/reason"), int(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", int(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    }
}
