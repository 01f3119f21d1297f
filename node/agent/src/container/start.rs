//! Starting a container: image, module, configuration, instance. One attempt; what to do about a
//! failure is the caller's business.

use std::sync::Arc;

use api::k8s_openapi::api::core::v1::Container;
use rand::Rng;
use runtime::ModuleKind;
use tokio::task::JoinHandle;

use super::{Blocked, build, image, serve};
use crate::events::EventType;
use crate::logs::{self, ContainerLog};
use crate::pod::record::{Instance, State};
use crate::pod::{self, PodContext};
use crate::probes::{self, Ready, Started};

/// A container that runs.
pub struct Running {
    pub instance: Instance,
    /// What it was started from.
    pub spec: Arc<Container>,
    /// The task that serves an HTTP component's port; it ends with the container.
    pub serving: Option<JoinHandle<()>>,
}

/// Starts the container at `index` once.
pub async fn start(pod: &Arc<PodContext>, index: usize) -> Result<Running, Blocked> {
    let object = pod.object();
    let Some(container) = pod::container(&object, index) else {
        return Err(Blocked::failed("CreateContainerError", "the pod lost this container".to_owned()));
    };
    let (image, module) = image::module(pod, index, container).await?;
    let log = new_log(pod, index, container);
    let spec = build::spec(pod, &object, container, &image, Arc::clone(&log)).await?;
    let failed = |message| Blocked::failed("RunContainerError", message);
    let kind = module.kind();
    let listener = match kind {
        ModuleKind::HttpComponent => Some(serve::listen(pod, container).map_err(failed)?),
        ModuleKind::Command | ModuleKind::CommandComponent => None,
    };
    let runtime = &pod.node.config.runtime;
    let running = runtime.start(Arc::clone(&module), spec).map_err(|error| failed(error.to_string()))?;
    let serving = listener.map(|listener| serve::spawn(pod, listener, running.clone()));
    let instance = Instance { container: running, module };
    let container_id = format!("wasmtime://{}", random_hex());
    let (started, ready) = probes::at_start(container);
    let started_at = pod.node.config.clock.now();
    pod.change(|record| {
        let c = &mut record.containers[index];
        if let State::Terminated(end) = &c.state {
            c.last = Some(end.clone());
        }
        c.state = State::Running { started_at };
        c.image = container.image.clone().unwrap_or_default();
        c.image_id.clone_from(&image.id);
        c.container_id = container_id;
        c.started = started == Started::Yes;
        c.ready = ready == Ready::Yes;
        c.instance = Some(instance.clone());
        c.log = Some(log);
    });
    pod.container_event(index, EventType::Normal, "Created", format!("Created container: {}", container.name));
    pod.container_event(index, EventType::Normal, "Started", format!("Started container {}", container.name));
    Ok(Running { instance, spec: Arc::new(container.clone()), serving })
}

/// The log of the run that is about to begin; the run before the last one loses its own.
fn new_log(pod: &PodContext, index: usize, container: &Container) -> Arc<ContainerLog> {
    let dir = pod.logs_dir().join(&container.name);
    let restart = pod.read(|r| r.containers[index].restart_count);
    if let Some(old) = restart.checked_sub(2) {
        logs::remove_run(&dir, old);
    }
    let config = &pod.node.config;
    ContainerLog::new(dir, restart, config.log_limits, config.clock.clone(), Arc::clone(&pod.node.log_files))
}

/// 64 hexadecimal digits, as container runtimes number their containers.
fn random_hex() -> String {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
