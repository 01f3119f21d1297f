//! What can go wrong before a guest runs.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The runtime can't be created.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The cache directory can't be created, read or made private.
    #[error("AOT cache {}", path.display())]
    Cache {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No engine for this machine.
    #[error("Wasm engine: {0}")]
    Engine(String),
    /// The threads for guests can't be started.
    #[error("guest threads")]
    Threads(#[source] io::Error),
}

/// A module can't be loaded. The texts are fit for a container's waiting message.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("cannot read the module: {0}")]
    Read(String),
    /// Neither a core module nor a component in the binary format.
    #[error("not a WebAssembly binary: {0}")]
    NotWasm(String),
    /// Larger than [`CompileLimits::max_module_bytes`](crate::CompileLimits::max_module_bytes).
    #[error("the module is too large: {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Size of the file in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Nothing that this runtime can call.
    #[error("no entry point: {0}")]
    NoEntryPoint(String),
    /// Imports that this host does not offer, or offers with another type.
    #[error("unknown imports: {}", names.join(", "))]
    UnknownImport {
        /// All of them, `module::name` for core modules, `package/interface` or
        /// `package/interface#function` for components.
        names: Vec<String>,
    },
    /// Invalid Wasm, or a feature this engine lacks.
    #[error("compilation failed: {0}")]
    CompileFailed(String),
    /// The compiler ran into its time or memory limit and was stopped.
    #[error("compilation stopped: {0}")]
    CompileLimit(String),
    /// The AOT cache can't be written or read.
    #[error("AOT cache: {0}")]
    Cache(String),
}

/// A container can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// As many instances as this process can hold. Try again when others have ended.
    #[error("the node holds {limit} Wasm instances, its limit")]
    NodeFull {
        /// The limit.
        limit: u32,
    },
    /// A mount's directory can't be opened.
    #[error("mount {guest}: cannot open {}: {source}", host.display())]
    Mount {
        /// Path in the guest.
        guest: String,
        /// Path on the host.
        host: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A fuel limit with a module that does not count fuel, or the other way round.
    #[error("a fuel limit needs a module loaded with Flavor::Fuel, and only then")]
    Flavor,
    /// The engine refuses this configuration.
    #[error("cannot start the guest: {0}")]
    Engine(String),
}

/// How long a thing was allowed to take, in words.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.0} s", duration.as_secs_f64())
}
