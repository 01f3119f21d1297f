//! From a container's spec to the stores of its instances: one for a command, one per request
//! for an HTTP component.

use std::io;
use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};
use wasmtime_wasi_http::WasiHttpCtx;

use crate::host::outgoing::Outgoing;
use crate::host::output::OutputPipe;
use crate::host::pod::PodHost;
use crate::memory::{MemoryBudget, StoreMemory};
use crate::module::{Module, Place};
use crate::state::{Common, ComponentState, CoreState, FuelGauge, new_store};
use crate::{Access, ContainerSpec, Mount, StartError, Stream};

/// Bytes of random data that a guest may ask for at once.
const MAX_RANDOM: u64 = 1 << 20;

pub(crate) struct Blueprint {
    /// Without its mounts.
    pub spec: ContainerSpec,
    pub mounts: Arc<[Mount]>,
    pub module: Arc<Module>,
    pub memory: Arc<MemoryBudget>,
    pub fuel: Option<Arc<FuelGauge>>,
    pub pod: Arc<PodHost>,
}

impl Blueprint {
    fn common(&self, place: Place) -> Common {
        Common {
            memory: StoreMemory::new(self.memory.clone()),
            pod: self.pod.clone(),
            fuel: self.fuel.clone(),
            _place: place,
        }
    }

    pub(crate) fn core_store(&self, engine: &Engine, place: Place) -> Result<Store<CoreState>, StartError> {
        let mut builder = self.wasi();
        open_mounts(&mut builder, &self.mounts, |_| true)?;
        // Preview 1 has no notion of a working directory but what libraries take from here.
        let own = self.spec.env.iter().any(|(name, _)| name == "PWD");
        if let Some(dir) = self.spec.working_dir.as_ref().filter(|_| !own) {
            builder.env("PWD", dir);
        }
        let state = CoreState { wasi: builder.build_p1(), common: self.common(place) };
        new_store(engine, state).map_err(|error| engine_error(&error))
    }

    pub(crate) fn component_store(&self, engine: &Engine, place: Place) -> Result<Store<ComponentState>, StartError> {
        let mut builder = self.wasi();
        open_mounts(&mut builder, &self.mounts, |mount| mount.contents.is_none())?;
        let unseen = self.mounts.iter().any(|mount| mount.contents.is_some()).then(|| self.mounts.clone());
        if let Some(dir) = &self.spec.working_dir {
            builder.initial_cwd(dir);
        }
        let state = ComponentState {
            wasi: builder.build(),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            outgoing: Outgoing { network: self.spec.network.clone() },
            network: self.spec.network.clone(),
            unseen,
            common: self.common(place),
        };
        new_store(engine, state).map_err(|error| engine_error(&error))
    }

    fn wasi(&self) -> WasiCtxBuilder {
        let pipe = |stream| OutputPipe { output: self.spec.output.clone(), stream };
        let mut builder = WasiCtx::builder();
        builder
            .args(&self.spec.args)
            .envs(&self.spec.env)
            .stdout(pipe(Stream::Stdout))
            .stderr(pipe(Stream::Stderr))
            .max_random_size(MAX_RANDOM);
        builder
    }
}

/// Opens the mounts that are `wanted`, in order, with their contents made.
pub(crate) fn open_mounts(
    builder: &mut WasiCtxBuilder,
    mounts: &[Mount],
    wanted: impl Fn(&Mount) -> bool,
) -> Result<(), StartError> {
    for mount in mounts.iter().filter(|mount| wanted(mount)) {
        let failed = |source| StartError::Mount { guest: mount.guest.clone(), host: mount.host.clone(), source };
        if let Some(contents) = &mount.contents {
            contents.make().map_err(failed)?;
        }
        let access = match mount.access {
            Access::ReadOnly => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        };
        builder
            .preopened_dir(&mount.host, &mount.guest, access)
            .map_err(|error| failed(error.downcast::<io::Error>().unwrap_or_else(io::Error::other)))?;
    }
    Ok(())
}

fn engine_error(error: &wasmtime::Error) -> StartError {
    StartError::Engine(format!("{error:#}"))
}
