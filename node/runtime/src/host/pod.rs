//! The `skiff:pod` world: who am I, and when must I go. For components through the WIT in
//! `/wit`, for core modules through plain imports of module `skiff:pod`.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime::{Caller, Extern};
use wasmtime_wasi::p2::{DynPollable, Pollable};

use crate::PodIdentity;
use crate::state::{ComponentState, CoreState};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "skiff:pod/pod-guest",
        imports: { default: trappable },
        require_store_data_send: true,
        with: { "wasi:io/poll": wasmtime_wasi::p2::bindings::io::poll },
    });
}

use bindings::skiff::pod::{identity, lifecycle};

/// What a container's instances share of their pod.
pub(crate) struct PodHost {
    pub identity: PodIdentity,
    /// When the container will be killed, once it has been told to stop.
    pub stop: watch::Receiver<Option<Instant>>,
}

impl PodHost {
    /// No pod, never stopped.
    pub(crate) fn nobody() -> Arc<Self> {
        let (_, stop) = watch::channel(None);
        Arc::new(Self { identity: PodIdentity::default(), stop })
    }

    fn stopping(&self) -> bool {
        self.stop.borrow().is_some()
    }

    fn left(&self) -> Option<Duration> {
        let deadline = *self.stop.borrow();
        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    fn left_millis(&self) -> Option<u64> {
        self.left().map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }
}

async fn stopped(mut stop: watch::Receiver<Option<Instant>>) {
    if stop.wait_for(Option::is_some).await.is_err() {
        // The container's handle is gone and with it whoever could ask it to stop.
        std::future::pending::<()>().await;
    }
}

/// Marker for the linker.
struct PodWorld;

impl HasData for PodWorld {
    type Data<'a> = PodView<'a>;
}

struct PodView<'a> {
    pod: &'a Arc<PodHost>,
    table: &'a mut ResourceTable,
}

fn view(state: &mut ComponentState) -> PodView<'_> {
    PodView { pod: &state.common.pod, table: &mut state.table }
}

impl identity::Host for PodView<'_> {
    fn namespace(&mut self) -> wasmtime::Result<String> {
        Ok(self.pod.identity.namespace.clone())
    }

    fn name(&mut self) -> wasmtime::Result<String> {
        Ok(self.pod.identity.name.clone())
    }

    fn uid(&mut self) -> wasmtime::Result<String> {
        Ok(self.pod.identity.uid.clone())
    }

    fn node(&mut self) -> wasmtime::Result<String> {
        Ok(self.pod.identity.node.clone())
    }

    fn ip(&mut self) -> wasmtime::Result<String> {
        Ok(self.pod.identity.ip.to_string())
    }

    fn labels(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        let labels = self.pod.identity.labels.iter();
        Ok(labels.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

/// What a `subscribe-shutdown` pollable waits for.
struct Shutdown(watch::Receiver<Option<Instant>>);

#[async_trait::async_trait]
impl Pollable for Shutdown {
    async fn ready(&mut self) {
        stopped(self.0.clone()).await;
    }
}

impl lifecycle::Host for PodView<'_> {
    fn shutdown_requested(&mut self) -> wasmtime::Result<bool> {
        Ok(self.pod.stopping())
    }

    fn subscribe_shutdown(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let shutdown = self.table.push(Shutdown(self.pod.stop.clone()))?;
        wasmtime_wasi::p2::subscribe(self.table, shutdown)
    }

    fn deadline(&mut self) -> wasmtime::Result<Option<u64>> {
        Ok(self.pod.left_millis())
    }
}

pub(crate) fn add_to_component_linker(
    linker: &mut wasmtime::component::Linker<ComponentState>,
) -> wasmtime::Result<()> {
    identity::add_to_linker::<_, PodWorld>(linker, view)?;
    lifecycle::add_to_linker::<_, PodWorld>(linker, view)
}

/// Name of the import module for core guests.
const CORE_MODULE: &str = "skiff:pod";

pub(crate) fn add_to_core_linker(linker: &mut wasmtime::Linker<CoreState>) -> wasmtime::Result<()> {
    linker.func_wrap(CORE_MODULE, "shutdown_requested", |caller: Caller<'_, CoreState>| {
        i32::from(caller.data().common.pod.stopping())
    })?;
    linker.func_wrap(CORE_MODULE, "deadline", |caller: Caller<'_, CoreState>| {
        let left = caller.data().common.pod.left_millis();
        left.map_or(-1, |left| i64::try_from(left).unwrap_or(i64::MAX))
    })?;
    linker.func_wrap_async(CORE_MODULE, "wait_shutdown", |caller, (millis,): (i64,)| {
        Box::new(wait_shutdown(caller, millis))
    })?;
    linker.func_wrap(CORE_MODULE, "identity", identity_text)?;
    Ok(())
}

/// `wait_shutdown(millis: i64) -> i32`: 1 once the shutdown signal is there, 0 after `millis`
/// without it; a negative time waits for ever.
async fn wait_shutdown(caller: Caller<'_, CoreState>, millis: i64) -> i32 {
    let signal = stopped(caller.data().common.pod.stop.clone());
    match u64::try_from(millis) {
        Err(_) => {
            signal.await;
            1
        }
        Ok(millis) => i32::from(tokio::time::timeout(Duration::from_millis(millis), signal).await.is_ok()),
    }
}

/// `identity(field: i32, buffer: i32, length: i32) -> i32`: copies as much of the field's UTF-8
/// text as fits and returns its whole length; -1 for an unknown field or a bad buffer. Fields:
/// 0 namespace, 1 name, 2 uid, 3 node, 4 ip, 5 labels (a line `key=value` each).
fn identity_text(mut caller: Caller<'_, CoreState>, field: i32, buffer: i32, length: i32) -> i32 {
    let identity = &caller.data().common.pod.identity;
    let text = match field {
        0 => identity.namespace.clone(),
        1 => identity.name.clone(),
        2 => identity.uid.clone(),
        3 => identity.node.clone(),
        4 => identity.ip.to_string(),
        5 => identity.labels.iter().fold(String::new(), |mut text, (key, value)| {
            let _ = writeln!(text, "{key}={value}");
            text
        }),
        _ => return -1,
    };
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else { return -1 };
    let copied = text.len().min(length as u32 as usize);
    match memory.write(&mut caller, buffer as u32 as usize, &text.as_bytes()[..copied]) {
        Ok(()) => i32::try_from(text.len()).unwrap_or(i32::MAX),
        Err(_) => -1,
    }
}
