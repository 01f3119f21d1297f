//! Runs Wasm guests: engines, compilation, limits and the WASI host. Knows containers, not pods:
//! nothing here has heard of Kubernetes, of images or of how pods are connected.
//!
//! ```text
//! Runtime::load(file, digest) -> Arc<Module> -> Runtime::start(module, spec) -> Container
//! ```
//!
//! Invariant: only native code that this process's user compiled, sealed in the AOT cache, is
//! ever loaded. Invariant: guests run on their own threads and are cut every millisecond.

mod admission;
mod aot;
mod blueprint;
mod compile;
mod config;
mod container;
mod cpu;
mod engine;
mod error;
mod exit;
mod guest_network;
mod guests;
mod host;
mod link;
mod loader;
mod memory;
mod module;
mod run;
mod spec;
mod state;
mod ticker;

use std::path::Path;
use std::sync::Arc;

pub use compile::child::{compile_child_main, compile_child_test};
pub use config::{CompileLimits, CompilerCommand, Config, HttpLimits};
pub use container::{BodyError, Container, ResponseBody, Stats};
pub use error::{LoadError, RuntimeError, StartError};
pub use exit::{Exit, ExitReason};
pub use guest_network::{BoxIo, Connection, GuestListener, GuestNetwork, Io, NoNetwork, Target};
pub use module::{Flavor, Module, ModuleKind};
pub use spec::{Access, ContainerSpec, Contents, Mount, NoOutput, Output, PodIdentity, Stream};

use crate::aot::AotCache;
use crate::compile::Compiler;
use crate::engine::Engines;
use crate::guests::Guests;
use crate::loader::Loader;

/// Loads modules and starts containers. One per process: its address space is large.
///
/// Dropping it kills all its containers.
pub struct Runtime {
    guests: Arc<Guests>,
    loader: Loader,
    http: HttpLimits,
}

impl Runtime {
    /// Prepares the cache and the threads. The engine, which takes longer, is made in the
    /// background; [`load`](Self::load) waits for it.
    pub fn new(config: Config) -> Result<Arc<Self>, RuntimeError> {
        let cache = AotCache::open(&config.cache_dir, config.max_cache_bytes)?;
        let guests = Guests::start(config.worker_threads, config.max_instances)?;
        let instances = guests.admission.limit();
        let engines = Arc::new(Engines::new(instances, guests.ticker.clone()));
        engines.prepare();
        let compiler = Compiler::new(config.compiler, config.compile_limits, config.compile_parallelism);
        let loader = Loader::new(engines, cache, compiler, config.max_cached_modules);
        Ok(Arc::new(Self { guests, loader, http: config.http }))
    }

    /// Makes the module in `wasm` ready, from memory, from the AOT cache, or by compiling it.
    /// `digest` (`sha256:hex` of the file) is trusted to name its content. Concurrent loads of
    /// one digest share the work; a failure that lies in the module is remembered for a minute.
    /// Must be called within a tokio runtime, whose threads it does not block.
    pub async fn load(&self, wasm: &Path, digest: &str, flavor: Flavor) -> Result<Arc<Module>, LoadError> {
        self.loader.load(wasm, digest, flavor).await
    }

    /// Starts a container. Returns before the guest has run.
    pub fn start(&self, module: Arc<Module>, spec: ContainerSpec) -> Result<Container, StartError> {
        Container::start(&self.guests, &self.http, module, spec)
    }

    /// Instances that this process can hold at once.
    pub fn max_instances(&self) -> u32 {
        self.guests.admission.limit()
    }

    /// Instances that it holds now, those of HTTP requests included.
    pub fn instances(&self) -> u32 {
        self.guests.admission.used()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.guests.stop();
    }
}

/// Lets this process have as many files open as the system allows it: every listener and connection of every pod is one,
/// and the usual soft limit of 1,024 is for programs that still use `select(2)`. Best effort.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests;
