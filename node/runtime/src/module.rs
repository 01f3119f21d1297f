//! A loaded program: native code of a core module or a component, linked to the host once and
//! shared by every container that runs it.

use std::os::fd::AsRawFd;
use std::sync::{Arc, OnceLock};

use wasmtime::Module as CoreModule;
use wasmtime::component::Component;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::StartError;
use crate::admission::{Admission, Slot};
use crate::aot::Sealed;
use crate::compile::Kind;
use crate::engine::{EngineSet, LinkedEngine};
use crate::state::{ComponentState, CoreState};

/// How a module is compiled: with or without counting fuel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// No fuel accounting.
    Plain,
    /// Counts fuel; for containers with a fuel limit only.
    Fuel,
}

/// What a module's entry point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModuleKind {
    /// A preview-1 core module with `_start`.
    Command,
    /// A component exporting `wasi:cli/run`.
    CommandComponent,
    /// A component exporting `wasi:http/incoming-handler`.
    HttpComponent,
}

/// A program ready to be started any number of times.
pub struct Module {
    digest: String,
    flavor: Flavor,
    /// What one instance counts for in the process's limit: its memories, at least one.
    weight: u32,
    engines: Arc<EngineSet>,
    code: Sealed,
    first: Program,
    /// Whether `first` lives outside of the pools.
    outside: bool,
    far: OnceLock<Program>,
}

/// The program by its kind, linked, on one engine.
pub(crate) enum Program {
    Command(wasmtime::InstancePre<CoreState>),
    CommandComponent(CommandPre<ComponentState>),
    HttpComponent(ProxyPre<ComponentState>),
}

impl Module {
    /// The digest it was loaded by.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What it was compiled for.
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// Whether a guest can notice [`Container::signal_stop`](crate::Container::signal_stop): an
    /// HTTP component, which is drained, or a program that imports `skiff:pod`'s lifecycle. Any
    /// other would only wait for its end.
    pub fn hears_stop(&self) -> bool {
        match &self.first {
            Program::Command(pre) => {
                let signals = ["shutdown_requested", "wait_shutdown"];
                pre.module().imports().any(|import| import.module() == "skiff:pod" && signals.contains(&import.name()))
            }
            Program::CommandComponent(pre) => {
                let component = pre.instance_pre().component().component_type();
                component.imports(pre.engine()).any(|(name, _)| name.starts_with("skiff:pod/lifecycle"))
            }
            Program::HttpComponent(_) => true,
        }
    }

    /// What its entry point is.
    pub fn kind(&self) -> ModuleKind {
        self.code.kind.into()
    }

    /// Maps sealed native code into this process and links it: onto the first pool if it fits a
    /// slot there, else onto an engine without one.
    pub(crate) fn map(code: Sealed, engines: Arc<EngineSet>, digest: String, flavor: Flavor) -> wasmtime::Result<Self> {
        let ((first, weight), outside) = match map(&code, &engines.near) {
            Ok(program) => (program, false),
            Err(error) => {
                tracing::info!(error = format!("{error:#}"), "module does not fit the pool");
                (map(&code, engines.roomy()?)?, true)
            }
        };
        let far = OnceLock::new();
        Ok(Self { digest, flavor, weight, engines, code, first, outside, far })
    }

    /// The program on the engine that has room for one more instance, and that room.
    pub(crate) fn place(&self, admission: &Arc<Admission>) -> Result<(&Program, Place), StartError> {
        let whole = admission.enter(self.weight)?;
        if self.outside {
            return Ok((&self.first, Place { _whole: whole, _near: None }));
        }
        if let Some(near) = self.engines.near_slot(self.weight) {
            return Ok((&self.first, Place { _whole: whole, _near: Some(near) }));
        }
        let program = match self.far.get() {
            Some(program) => program,
            None => {
                let far = self.engines.far().and_then(|engine| map(&self.code, engine));
                let (program, _) = far.map_err(|error| StartError::Engine(format!("{error:#}")))?;
                self.far.get_or_init(|| program)
            }
        };
        Ok((program, Place { _whole: whole, _near: None }))
    }
}

/// Room for one instance: in the process, and in the first pool if that is where it is.
pub(crate) struct Place {
    pub _whole: Slot,
    pub _near: Option<Slot>,
}

/// The program on `engine`, and the number of its memories, at least one.
fn map(code: &Sealed, engine: &LinkedEngine) -> wasmtime::Result<(Program, u32)> {
    if code.kind == Kind::Command {
        let module = core(engine, code)?;
        let memories = module.resources_required().num_memories.max(1);
        return Ok((Program::Command(engine.core.instantiate_pre(&module)?), memories));
    }
    let component = component(engine, code)?;
    let memories = component.resources_required().map_or(1, |needs| needs.num_memories).max(1);
    let pre = engine.component.instantiate_pre(&component)?;
    let program = match code.kind {
        Kind::HttpComponent => Program::HttpComponent(ProxyPre::new(pre)?),
        _ => Program::CommandComponent(CommandPre::new(pre)?),
    };
    Ok((program, memories))
}

#[allow(unsafe_code, reason = "the one place that loads native code")]
fn core(engine: &LinkedEngine, code: &Sealed) -> wasmtime::Result<CoreModule> {
    let file = code.file.try_clone()?;
    // SAFETY: a `Sealed` is made by `AotCache` alone, for code that our compiler process wrote. Its
    // HMAC was checked over this very open file; files in the cache are never written again, only
    // replaced or unlinked, and nobody but this user can reach them.
    unsafe { CoreModule::deserialize_open_file(&engine.engine, file) }
}

#[allow(unsafe_code, reason = "the one place that loads native code")]
fn component(engine: &LinkedEngine, code: &Sealed) -> wasmtime::Result<Component> {
    // There is no way to hand over an open file, as for modules; this name is the same inode.
    let path = format!("/proc/self/fd/{}", code.file.as_raw_fd());
    // SAFETY: as above.
    unsafe { Component::deserialize_file(&engine.engine, path) }
}
