//! From a pod's record to its `status`, by the kubelet's rules. Pure.

use std::net::IpAddr;

use api::k8s_openapi::api::core::v1::{
    self, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, PodCondition, PodIP, PodSpec, PodStatus,
};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use api::k8s_openapi::jiff::Timestamp;

use super::record::{ContainerRecord, PodRecord, RestartPolicy, Role, State, Terminated};

/// `status.phase`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
        }
    }
}

/// The phase that follows from the containers' states.
pub fn phase(spec: &PodSpec, record: &PodRecord) -> Phase {
    if record.verdict.is_some() {
        return Phase::Failed;
    }
    let policy = RestartPolicy::of(spec);
    let init_failed = record
        .containers
        .iter()
        .any(|c| c.role == Role::Init && matches!(&c.state, State::Terminated(t) if t.exit_code != 0));
    if init_failed && (policy == RestartPolicy::Never || record.finished) {
        return Phase::Failed;
    }
    let mut running = 0;
    let mut waiting = 0;
    let mut stopped = 0;
    let mut succeeded = 0;
    for container in record.containers.iter().filter(|c| c.role == Role::App) {
        match &container.state {
            State::Running { .. } => running += 1,
            State::Terminated(_) => {
                stopped += 1;
                succeeded += u32::from(container.succeeded());
            }
            State::Waiting { .. } if container.last.is_some() && record.initialized => stopped += 1,
            State::Waiting { .. } => waiting += 1,
        }
    }
    if record.finished {
        return if stopped == succeeded && waiting == 0 { Phase::Succeeded } else { Phase::Failed };
    }
    if !record.initialized || waiting > 0 {
        return Phase::Pending;
    }
    // Terminal phases are for pods of which nothing runs any more: sidecars end after the app containers.
    let sidecars =
        record.containers.iter().any(|c| c.role == Role::Sidecar && matches!(c.state, State::Running { .. }));
    if running > 0 || sidecars || policy == RestartPolicy::Always {
        return Phase::Running;
    }
    if stopped == succeeded {
        return Phase::Succeeded;
    }
    if policy == RestartPolicy::Never { Phase::Failed } else { Phase::Running }
}

/// What a status needs besides the record.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub pod: &'a v1::Pod,
    pub host_ip: IpAddr,
    pub now: Timestamp,
    /// The conditions last reported, for their transition times.
    pub before: &'a [PodCondition],
}

/// The status to report. Only conditions that the kubelet owns are in it.
pub fn compute(record: &PodRecord, context: &Context<'_>) -> PodStatus {
    let empty = PodSpec::default();
    let spec = context.pod.spec.as_ref().unwrap_or(&empty);
    let phase = phase(spec, record);
    let generation = context.pod.metadata.generation;
    let statuses = |init: bool| -> Option<Vec<ContainerStatus>> {
        let list: Vec<_> =
            record.containers.iter().filter(|c| (c.role == Role::App) != init).map(container_status).collect();
        (!list.is_empty()).then_some(list)
    };
    let rejected = record.verdict.is_some() && record.start_time.is_none();
    PodStatus {
        phase: Some(phase.name().into()),
        reason: record.verdict.as_ref().map(|v| v.reason.clone()),
        message: record.verdict.as_ref().map(|v| v.message.clone()),
        conditions: (!rejected).then(|| conditions(spec, record, phase, context)),
        host_ip: (!rejected).then(|| context.host_ip.to_string()),
        host_ips: (!rejected).then(|| vec![HostIP { ip: context.host_ip.to_string() }]),
        pod_ip: record.ip.map(|ip| ip.to_string()),
        pod_ips: record.ip.map(|ip| vec![PodIP { ip: ip.to_string() }]),
        start_time: Some(Time(record.start_time.unwrap_or(context.now))),
        init_container_statuses: if rejected { None } else { statuses(true) },
        container_statuses: if rejected { None } else { statuses(false) },
        observed_generation: generation,
        ..Default::default()
    }
}

fn conditions(spec: &PodSpec, record: &PodRecord, phase: Phase, context: &Context<'_>) -> Vec<PodCondition> {
    let ready_to_start = Verdict::of(record.sandbox_ready);
    let initialized = if record.initialized {
        Verdict::yes(if phase == Phase::Succeeded { "PodCompleted" } else { "" })
    } else {
        let incomplete = names(record.containers.iter().filter(|c| !c.init_done()));
        Verdict::no("ContainersNotInitialized", format!("containers with incomplete status: [{incomplete}]"))
    };
    let containers_ready = match phase {
        Phase::Succeeded => Verdict::no("PodCompleted", String::new()),
        Phase::Failed => Verdict::no("PodFailed", String::new()),
        _ => {
            let counted = |c: &&ContainerRecord| c.role != Role::Init && !c.ready;
            let unready = names(record.containers.iter().filter(counted));
            if unready.is_empty() {
                Verdict::yes("")
            } else {
                Verdict::no("ContainersNotReady", format!("containers with unready status: [{unready}]"))
            }
        }
    };
    let ready = with_gates(spec, context, &containers_ready);
    [
        ("PodReadyToStartContainers", ready_to_start),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
    ]
    .into_iter()
    .map(|(type_, verdict)| condition(type_, verdict, context))
    .collect()
}

/// `Ready` is `ContainersReady` and every readiness gate.
fn with_gates(spec: &PodSpec, context: &Context<'_>, containers: &Verdict) -> Verdict {
    if containers.status == "False" {
        return containers.clone();
    }
    let existing = context.pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let messages: Vec<String> = spec
        .readiness_gates
        .iter()
        .flatten()
        .filter_map(|gate| {
            let condition = existing.iter().find(|c| c.type_ == gate.condition_type);
            match condition {
                None => Some(format!(
                    "corresponding condition of pod readiness gate \"{}\" does not exist.",
                    gate.condition_type
                )),
                Some(c) if c.status != "True" => Some(format!(
                    "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                    gate.condition_type, c.status
                )),
                Some(_) => None,
            }
        })
        .collect();
    if messages.is_empty() { Verdict::yes("") } else { Verdict::no("ReadinessGatesNotReady", messages.join(", ")) }
}

/// The conditions of a pod that decide on its readiness: `Ready` itself, and the readiness gates.
pub fn readiness(pod: &v1::Pod) -> Vec<Option<&str>> {
    let existing = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let gates = pod.spec.as_ref().and_then(|s| s.readiness_gates.as_deref()).unwrap_or_default();
    let types = gates.iter().map(|g| g.condition_type.as_str()).chain(["Ready"]);
    types.map(|t| existing.iter().find(|c| c.type_ == t).map(|c| c.status.as_str())).collect()
}

/// Whether somebody else gave the stored pod another `Ready` than `written`, which this agent wrote. (An older version
/// of the pod may look so, too: then the same is written twice, which changes nothing.)
pub fn is_overruled(stored: &v1::Pod, written: &v1::PodStatus) -> bool {
    let ready = |status: Option<&v1::PodStatus>| {
        let mut conditions = status?.conditions.iter().flatten();
        conditions.find(|c| c.type_ == "Ready").map(|c| c.status.clone())
    };
    ready(stored.status.as_ref()) != ready(Some(written))
}

#[derive(Clone)]
struct Verdict {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn yes(reason: &'static str) -> Self {
        Self { status: "True", reason, message: String::new() }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self { status: "False", reason, message }
    }

    fn of(fact: bool) -> Self {
        if fact { Self::yes("") } else { Self::no("", String::new()) }
    }
}

fn condition(type_: &str, verdict: Verdict, context: &Context<'_>) -> PodCondition {
    let since = context
        .before
        .iter()
        .find(|c| c.type_ == type_ && c.status == verdict.status)
        .and_then(|c| c.last_transition_time.clone());
    PodCondition {
        type_: type_.into(),
        status: verdict.status.into(),
        reason: Some(verdict.reason.to_owned()).filter(|r| !r.is_empty()),
        message: Some(verdict.message).filter(|m| !m.is_empty()),
        last_transition_time: Some(since.unwrap_or(Time(context.now))),
        observed_generation: context.pod.metadata.generation,
        last_probe_time: None,
    }
}

fn names<'a>(containers: impl Iterator<Item = &'a ContainerRecord>) -> String {
    containers.map(|c| c.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn container_status(container: &ContainerRecord) -> ContainerStatus {
    let running = matches!(container.state, State::Running { .. });
    let (ready, started) = match container.role {
        Role::Init => (container.succeeded(), Some(false)),
        _ => (running && container.ready, Some(running && container.started)),
    };
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone(),
        image_id: container.image_id.clone(),
        container_id: Some(container.container_id.clone()).filter(|id| !id.is_empty()),
        restart_count: i32::try_from(container.restart_count).unwrap_or(i32::MAX),
        ready,
        started,
        state: Some(state(&container.state)),
        last_state: Some(match &container.last {
            Some(end) => ContainerState { terminated: Some(terminated(end)), ..Default::default() },
            None => ContainerState::default(),
        }),
        ..Default::default()
    }
}

fn state(state: &State) -> ContainerState {
    match state {
        State::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some((*reason).to_owned()),
                message: Some(message.clone()).filter(|m| !m.is_empty()),
            }),
            ..Default::default()
        },
        State::Running { started_at } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(*started_at)) }),
            ..Default::default()
        },
        State::Terminated(end) => ContainerState { terminated: Some(terminated(end)), ..Default::default() },
    }
}

fn terminated(end: &Terminated) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: end.exit_code,
        reason: Some(end.reason.clone()),
        message: Some(end.message.clone()).filter(|m| !m.is_empty()),
        started_at: end.started_at.map(Time),
        finished_at: end.finished_at.map(Time),
        container_id: Some(end.container_id.clone()).filter(|id| !id.is_empty()),
        signal: None,
    }
}

/// The status as a strategic merge patch of the pod's `status` subresource. `old_ip` is a pod IP that
/// the API server still holds and that has to go.
pub fn patch(uid: &str, status: &PodStatus, cleared: Cleared) -> serde_json::Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Some(ips) = value.get_mut("podIPs").and_then(|v| v.as_array_mut())
        && cleared.pod_ips
    {
        ips.insert(0, serde_json::json!({"$patch": "replace"}));
    }
    if cleared.reason && status.reason.is_none() {
        value["reason"] = serde_json::Value::Null;
        value["message"] = serde_json::Value::Null;
    }
    serde_json::json!({"metadata": {"uid": uid}, "status": value})
}

/// Fields that the stored status may hold and that a merge alone would leave there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cleared {
    pub pod_ips: bool,
    pub reason: bool,
}

#[cfg(test)]
mod tests;
