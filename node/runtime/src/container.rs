//! The handle to a running container.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::blueprint::Blueprint;
use crate::cpu::{CpuAccount, Metered};
use crate::guests::Guests;
use crate::host::pod::PodHost;
use crate::memory::MemoryBudget;
use crate::module::{Module, Program};
use crate::run::command;
use crate::run::http::{HttpServer, answer};
use crate::state::FuelGauge;
use crate::{ContainerSpec, Exit, Flavor, HttpLimits, StartError};

/// An error while a body is streamed.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a guest's response.
pub type ResponseBody = UnsyncBoxBody<Bytes, BodyError>;

/// What a container has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// CPU time of the guest and of the host on its behalf, since start.
    pub cpu_time: Duration,
    /// Linear memories and tables now.
    pub memory_bytes: u64,
    /// The highest value of `memory_bytes` so far.
    pub memory_peak_bytes: u64,
    /// Fuel used since start, as of the last epoch; zero without a fuel limit.
    pub fuel_used: u64,
    /// Live instances: one for a command, one per request being served for HTTP.
    pub instances: u32,
    /// Time spent held back by the CPU limit.
    pub throttled: Duration,
}

/// A handle to a running container; clones are the same container. The container runs on when
/// all handles are gone.
#[derive(Clone)]
pub struct Container {
    shared: Arc<Shared>,
    http: Option<Arc<HttpServer>>,
}

/// What the handle and the tasks of a container share.
pub(crate) struct Shared {
    pub guests: Arc<Guests>,
    pub kill: CancellationToken,
    pub stop: watch::Sender<Option<Instant>>,
    pub exit: watch::Sender<Option<Exit>>,
    pub cpu: Arc<CpuAccount>,
    memory: Arc<MemoryBudget>,
    fuel: Option<Arc<FuelGauge>>,
}

impl Shared {
    /// The first end counts.
    pub(crate) fn end(&self, exit: Exit) {
        self.exit.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                tracing::debug!(code = exit.code, reason = ?exit.reason, "container ended");
                *end = Some(exit);
            }
            first
        });
    }

    /// Runs a guest's future, metered, until it ends, panics or the container is killed; the
    /// future is gone when this returns.
    pub(crate) async fn run<T>(&self, guest: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
        let metered = Metered::new(guest, self.cpu.clone(), self.guests.ticker.clone());
        tokio::select! {
            biased;
            () = self.kill.cancelled() => Err(Exit::killed()),
            result = AssertUnwindSafe(metered).catch_unwind() => match result {
                Ok(result) => result,
                Err(panic) => Err(Exit::panicked(panic.as_ref())),
            },
        }
    }
}

/// Says that the container ended even if its task is dropped without running to its end.
pub(crate) struct EndOnDrop(pub Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(Exit::killed());
    }
}

impl Container {
    pub(crate) fn start(
        guests: &Arc<Guests>,
        limits: &HttpLimits,
        module: Arc<Module>,
        mut spec: ContainerSpec,
    ) -> Result<Self, StartError> {
        if spec.fuel.is_some() != (module.flavor() == Flavor::Fuel) {
            return Err(StartError::Flavor);
        }
        let span = tracing::info_span!("guest", name = %spec.name);
        let (stop, stopped) = watch::channel(None);
        let shared = Arc::new(Shared {
            guests: guests.clone(),
            kill: guests.all.child_token(),
            stop,
            exit: watch::channel(None).0,
            cpu: CpuAccount::new(spec.cpu_limit_millis),
            memory: MemoryBudget::new(spec.memory_limit_bytes),
            fuel: spec.fuel.map(FuelGauge::new),
        });
        let pod = PodHost { identity: spec.pod.clone(), stop: stopped };
        let blueprint = Blueprint {
            mounts: std::mem::take(&mut spec.mounts).into(),
            spec,
            module,
            memory: shared.memory.clone(),
            fuel: shared.fuel.clone(),
            pod: Arc::new(pod),
        };
        let module = blueprint.module.clone();
        let (program, place) = module.place(&guests.admission)?;
        let http = match program {
            Program::Command(pre) => {
                let store = blueprint.core_store(pre.module().engine(), place)?;
                let run = command::core(store, pre.clone());
                guests.handle.spawn(command::supervise(shared.clone(), run).instrument(span));
                None
            }
            Program::CommandComponent(pre) => {
                let store = blueprint.component_store(pre.engine(), place)?;
                let run = command::component(store, pre.clone());
                guests.handle.spawn(command::supervise(shared.clone(), run).instrument(span));
                None
            }
            Program::HttpComponent(pre) => {
                let store = blueprint.component_store(pre.engine(), place)?;
                let first = (store, pre.clone());
                let server = HttpServer::new(shared.clone(), blueprint, limits, span.clone());
                guests.handle.spawn(server.clone().supervise(first).instrument(span));
                Some(server)
            }
        };
        Ok(Self { shared, http })
    }

    /// The end of the container; at once if it has ended already. Any number of waiters.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.shared.exit.subscribe();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or_else(Exit::killed),
            Err(_) => Exit::killed(),
        }
    }

    /// The end, if it has ended.
    pub fn exit(&self) -> Option<Exit> {
        self.shared.exit.borrow().clone()
    }

    /// Asks the guest to end within `grace`: flips the shutdown signal of the `skiff:pod` world;
    /// an HTTP container takes no more requests and ends with code 0 when those it has are
    /// answered. Nothing is forced: see [`kill`](Self::kill).
    pub fn signal_stop(&self, grace: Duration) {
        self.shared.stop.send_if_modified(|deadline| {
            let first = deadline.is_none();
            if first {
                *deadline = Some(Instant::now() + grace);
            }
            first
        });
    }

    /// Ends the container: a running guest at its next epoch (1 ms), one in a host call by
    /// dropping it. [`wait`](Self::wait) tells when it is gone.
    pub fn kill(&self) {
        self.shared.kill.cancel();
    }

    /// What it has used so far.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let instances = match &self.http {
            Some(server) => server.instances(),
            None => u32::from(shared.exit.borrow().is_none()),
        };
        Stats {
            cpu_time: shared.cpu.used(),
            memory_bytes: shared.memory.used(),
            memory_peak_bytes: shared.memory.peak(),
            fuel_used: shared.fuel.as_ref().map_or(0, |fuel| fuel.used()),
            instances,
            throttled: shared.cpu.throttled(),
        }
    }

    /// Serves one request with an HTTP component, in a fresh instance. Failures are answers: 503
    /// when the queue is full or the container is stopping, 500 when the guest traps or gives no
    /// response, 504 when it takes too long, 501 when this is no HTTP component.
    pub async fn handle<B>(&self, request: http::Request<B>) -> http::Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        match &self.http {
            Some(server) => server.handle(request).await,
            None => answer(http::StatusCode::NOT_IMPLEMENTED, "this guest is no HTTP component\n"),
        }
    }
}
