//! Runs Wasm guests: engines, compilation, limits and the WASI host. Knows containers, not pods:
//! nothing here has heard of Kubernetes, of images or of how pods are connected.
//!
//! ```text
//! Runtime::load(file, digest) -> Arc<Module> -> Runtime::start(module, spec) -> Container
//! ```
//!
//! Invariant: only native code that this process's user compiled, sealed in the AOT cache, is
//! ever loaded. Invariant: guests run on their own threads and are cut every millisecond.

mod config;
mod container;
mod error;
mod exit;
mod guest_network;
mod module;
mod spec;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

pub use config::{CompileLimits, CompilerCommand, Config, HttpLimits};
pub use container::{BodyError, Container, ResponseBody, Stats};
pub use error::{LoadError, RuntimeError, StartError};
pub use exit::{Exit, ExitReason};
pub use guest_network::{BoxIo, Connection, GuestListener, GuestNetwork, Io, NoNetwork, Target};
pub use module::{Flavor, Module, ModuleKind};
pub use spec::{Access, ContainerSpec, Mount, NoOutput, Output, PodIdentity, Stream};

/// Loads modules and starts containers. One per process: its address space is large.
pub struct Runtime {}

impl Runtime {
    /// Prepares the cache and the threads; engines come with the first module.
    pub fn new(config: Config) -> Result<Arc<Self>, RuntimeError> {
        let _ = config;
        Ok(Arc::new(Self {}))
    }

    /// Makes the module in `wasm` ready, from memory, from the AOT cache, or by compiling it.
    /// `digest` (`sha256:hex` of the file) is trusted to name its content. Concurrent loads of
    /// one digest share the work.
    pub async fn load(
        &self,
        wasm: &Path,
        digest: &str,
        flavor: Flavor,
    ) -> Result<Arc<Module>, LoadError> {
        let _ = (wasm, digest, flavor);
        std::future::pending().await
    }

    /// Starts a container. Returns before the guest has run.
    pub fn start(&self, module: Arc<Module>, spec: ContainerSpec) -> Result<Container, StartError> {
        let _ = (module, spec);
        Err(StartError::Flavor)
    }
}

/// The body of the hidden `__compile` subcommand: compiles the job named by the last argument
/// under limits that it sets on itself first.
pub fn compile_child_main() -> ExitCode {
    ExitCode::FAILURE
}

/// For a `#[test]` function of a test binary that is used as the compiler (see
/// [`CompilerCommand::libtest`]): does the job if there is one and exits, else returns at once.
pub fn compile_child_test() {}
