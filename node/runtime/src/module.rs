//! A loaded program: native code of a core module or a component, linked to the host once and
//! shared by every container that runs it.

use wasmtime::component::Component;
use wasmtime::{Engine, Module as CoreModule};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::aot::Sealed;
use crate::compile::Kind;
use crate::engine::LinkedEngine;
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
    weight: u32,
    pub(crate) program: Program,
}

/// The program by its kind, linked.
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

    /// What its entry point is.
    pub fn kind(&self) -> ModuleKind {
        match self.program {
            Program::Command(_) => ModuleKind::Command,
            Program::CommandComponent(_) => ModuleKind::CommandComponent,
            Program::HttpComponent(_) => ModuleKind::HttpComponent,
        }
    }

    /// Whether a guest can notice [`Container::signal_stop`](crate::Container::signal_stop): an
    /// HTTP component, which is drained, or a program that imports `skiff:pod`'s lifecycle. Any
    /// other would only wait for its end.
    pub fn hears_stop(&self) -> bool {
        match &self.program {
            Program::Command(pre) => {
                pre.module().imports().any(|import| import.module().starts_with("skiff:pod"))
            }
            Program::CommandComponent(pre) => {
                let component = pre.instance_pre().component().component_type();
                component
                    .imports(self.engine())
                    .any(|(name, _)| name.starts_with("skiff:pod/lifecycle"))
            }
            Program::HttpComponent(_) => true,
        }
    }

    /// What one instance counts for in the process's limit: its memories, at least one.
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    pub(crate) fn engine(&self) -> &Engine {
        match &self.program {
            Program::Command(pre) => pre.module().engine(),
            Program::CommandComponent(pre) => pre.engine(),
            Program::HttpComponent(pre) => pre.engine(),
        }
    }

    /// Maps sealed native code into this process and links it.
    pub(crate) fn map(
        code: &Sealed,
        engine: &LinkedEngine,
        digest: &str,
        flavor: Flavor,
    ) -> wasmtime::Result<Self> {
        let (program, memories) = match code.kind {
            Kind::Command => {
                let module = core(engine, code)?;
                let memories = module.resources_required().num_memories;
                (Program::Command(engine.core.instantiate_pre(&module)?), Some(memories))
            }
            kind => {
                let component = component(engine, code)?;
                let memories = component.resources_required().map(|needs| needs.num_memories);
                let pre = engine.component.instantiate_pre(&component)?;
                let program = match kind {
                    Kind::HttpComponent => Program::HttpComponent(ProxyPre::new(pre)?),
                    _ => Program::CommandComponent(CommandPre::new(pre)?),
                };
                (program, memories)
            }
        };
        let weight = memories.unwrap_or(1).max(1);
        Ok(Self { digest: digest.to_owned(), flavor, weight, program })
    }
}

#[allow(unsafe_code, reason = "the one place that loads native code")]
fn core(engine: &LinkedEngine, code: &Sealed) -> wasmtime::Result<CoreModule> {
    // SAFETY: a `Sealed` is made by `AotCache` alone, for code that our compiler process wrote and
    // whose HMAC it has just checked; files in the cache are never written again, only replaced.
    unsafe { CoreModule::deserialize_file(&engine.engine, &code.path) }
}

#[allow(unsafe_code, reason = "the one place that loads native code")]
fn component(engine: &LinkedEngine, code: &Sealed) -> wasmtime::Result<Component> {
    // SAFETY: as above.
    unsafe { Component::deserialize_file(&engine.engine, &code.path) }
}
