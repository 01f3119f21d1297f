//! What the agent knows of a pod and its containers: the source of the status it reports. Plain data
//! and the decisions that follow from it; no I/O.

use std::net::IpAddr;
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{self, Container, PodSpec};
use api::k8s_openapi::jiff::Timestamp;

use crate::logs::ContainerLog;

/// What part a container plays in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    App,
}

/// `spec.restartPolicy`, or a container's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    pub fn of(spec: &PodSpec) -> Self {
        Self::parse(spec.restart_policy.as_deref().unwrap_or("Always"))
    }

    fn parse(text: &str) -> Self {
        match text {
            "Never" => Self::Never,
            "OnFailure" => Self::OnFailure,
            _ => Self::Always,
        }
    }

    /// The policy that applies to a container of this role.
    pub fn for_role(self, role: Role) -> Self {
        match role {
            Role::App => self,
            Role::Sidecar => Self::Always,
            Role::Init if self == Self::Never => Self::Never,
            Role::Init => Self::OnFailure,
        }
    }

    pub fn restarts_after(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

/// The end of one run of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminated {
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub container_id: String,
}

impl Terminated {
    /// A run that ended without anybody seeing how: its process is gone with the last agent.
    pub fn unknown(run: &RunningFacts, now: Timestamp) -> Self {
        Self {
            exit_code: 137,
            reason: "ContainerStatusUnknown".into(),
            message: "The container could not be located when the pod was terminated".into(),
            started_at: run.started_at,
            finished_at: Some(now),
            container_id: run.container_id.clone(),
        }
    }
}

/// What a status says of a container that ran under the last agent.
#[derive(Clone, Debug, Default)]
pub struct RunningFacts {
    pub started_at: Option<Timestamp>,
    pub container_id: String,
}

/// `containerStatuses[].state`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Waiting { reason: &'static str, message: String },
    Running { started_at: Timestamp },
    Terminated(Terminated),
}

impl State {
    pub fn waiting(reason: &'static str, message: impl Into<String>) -> Self {
        State::Waiting { reason, message: message.into() }
    }
}

/// A running instance, and what it runs.
#[derive(Clone)]
pub struct Instance {
    pub container: runtime::Container,
    pub module: Arc<runtime::Module>,
}

/// One container.
pub struct ContainerRecord {
    pub name: String,
    pub role: Role,
    pub image: String,
    pub image_id: String,
    pub container_id: String,
    pub restart_count: u32,
    pub state: State,
    pub last: Option<Terminated>,
    pub ready: bool,
    /// Past its startup probe.
    pub started: bool,
    /// The running instance.
    pub instance: Option<Instance>,
    /// The log of the present or, after the end, the latest run.
    pub log: Option<Arc<ContainerLog>>,
}

impl ContainerRecord {
    fn new(container: &Container, role: Role, first_reason: &'static str) -> Self {
        Self {
            name: container.name.clone(),
            role,
            image: container.image.clone().unwrap_or_default(),
            image_id: String::new(),
            container_id: String::new(),
            restart_count: 0,
            state: State::waiting(first_reason, ""),
            last: None,
            ready: false,
            started: false,
            instance: None,
            log: None,
        }
    }

    /// Ended for good with exit code 0.
    pub fn succeeded(&self) -> bool {
        matches!(&self.state, State::Terminated(t) if t.exit_code == 0)
    }

    /// Whether the app containers may start, as far as this init container or sidecar goes.
    pub fn init_done(&self) -> bool {
        match self.role {
            Role::Init => self.succeeded(),
            Role::Sidecar => self.started || self.restart_count > 0,
            Role::App => true,
        }
    }

    /// Notes the end of the present run.
    pub fn terminate(&mut self, end: Terminated) {
        self.instance = None;
        self.ready = false;
        self.started = false;
        self.state = State::Terminated(end);
    }

    /// Moves the present end, if any, into `lastState` and shows a waiting reason instead.
    pub fn wait(&mut self, reason: &'static str, message: impl Into<String>) {
        if let State::Terminated(end) = &self.state {
            self.last = Some(end.clone());
        }
        self.state = State::waiting(reason, message);
    }
}

/// A phase that doesn't follow from the containers: rejection, deadline, eviction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub reason: String,
    pub message: String,
}

/// Everything that a pod's status is computed from.
pub struct PodRecord {
    pub containers: Vec<ContainerRecord>,
    pub ip: Option<IpAddr>,
    pub start_time: Option<Timestamp>,
    /// Network and volumes are set up.
    pub sandbox_ready: bool,
    /// Init containers are through; latched, as an init container's own state may be lost later.
    pub initialized: bool,
    /// The pod is over: no container will run again.
    pub finished: bool,
    /// The pod failed as a whole.
    pub verdict: Option<Verdict>,
}

impl PodRecord {
    /// The record of a pod that nothing has happened to yet.
    pub fn new(spec: &PodSpec) -> Self {
        let inits = spec.init_containers.as_deref().unwrap_or_default();
        let app_reason = if inits.is_empty() { "ContainerCreating" } else { "PodInitializing" };
        let role = |c: &Container| match c.restart_policy.as_deref() {
            Some("Always") => Role::Sidecar,
            _ => Role::Init,
        };
        let containers = inits
            .iter()
            .map(|c| ContainerRecord::new(c, role(c), "PodInitializing"))
            .chain(spec.containers.iter().map(|c| ContainerRecord::new(c, Role::App, app_reason)))
            .collect();
        Self {
            containers,
            ip: None,
            start_time: None,
            sandbox_ready: false,
            initialized: inits.is_empty(),
            finished: false,
            verdict: None,
        }
    }

    /// The record of a pod that an earlier agent of this node may have run: what was running is
    /// dead, what had ended stays ended. `now` is when the loss was noticed.
    pub fn resume(spec: &PodSpec, status: &v1::PodStatus, now: Timestamp) -> Self {
        let mut record = Self::new(spec);
        record.start_time = status.start_time.as_ref().map(|t| t.0);
        let policy = RestartPolicy::of(spec);
        let statuses: Vec<&v1::ContainerStatus> =
            status.init_container_statuses.iter().chain(status.container_statuses.iter()).flatten().collect();
        for container in &mut record.containers {
            let Some(status) = statuses.iter().find(|s| s.name == container.name) else { continue };
            resume_container(container, status, policy.for_role(container.role), now);
        }
        record
    }
}

fn resume_container(
    container: &mut ContainerRecord,
    status: &v1::ContainerStatus,
    policy: RestartPolicy,
    now: Timestamp,
) {
    container.restart_count = u32::try_from(status.restart_count).unwrap_or(0);
    container.image_id.clone_from(&status.image_id);
    container.container_id = status.container_id.clone().unwrap_or_default();
    container.last = status.last_state.as_ref().and_then(|s| s.terminated.as_ref()).map(terminated);
    let Some(state) = &status.state else { return };
    let end = if let Some(end) = &state.terminated {
        terminated(end)
    } else if let Some(running) = &state.running {
        let run = RunningFacts {
            started_at: running.started_at.as_ref().map(|t| t.0),
            container_id: container.container_id.clone(),
        };
        Terminated::unknown(&run, now)
    } else {
        // It waited for its next run, which begins now.
        container.restart_count += u32::from(container.last.is_some());
        return;
    };
    // An init container that was through runs again with its pod, as after a node's reboot.
    let again = match container.role {
        Role::Init => end.exit_code == 0 || policy.restarts_after(end.exit_code),
        _ => policy.restarts_after(end.exit_code),
    };
    if again {
        container.restart_count += u32::from(container.role != Role::Init || end.exit_code != 0);
        container.last = Some(end);
    } else {
        container.terminate(end);
    }
}

fn terminated(end: &v1::ContainerStateTerminated) -> Terminated {
    Terminated {
        exit_code: end.exit_code,
        reason: end.reason.clone().unwrap_or_default(),
        message: end.message.clone().unwrap_or_default(),
        started_at: end.started_at.as_ref().map(|t| t.0),
        finished_at: end.finished_at.as_ref().map(|t| t.0),
        container_id: end.container_id.clone().unwrap_or_default(),
    }
}
