//! A first look at a module, before any work is spent on it: what is it, where does it start, and
//! does this host have all that it imports. Only names are compared here; linking compares types.

use std::collections::BTreeSet;

use wasmparser::{ComponentExternalKind, ComponentTypeRef, Encoding, ExternalKind, Import, Parser, Payload, TypeRef};
use wasmtime::{Engine, Linker, Store};

use super::{Kind, Report};
use crate::link::INTERFACES;
use crate::state::CoreState;

/// The imports that core modules may have, as `module::name`.
pub(crate) fn core_imports(engine: &Engine, linker: &Linker<CoreState>) -> BTreeSet<String> {
    let mut store = Store::new(engine, CoreState::blank());
    linker.iter(&mut store).map(|(module, name, _)| format!("{module}::{name}")).collect()
}

/// Looks through `wasm`, top level only.
pub(crate) fn inspect(wasm: &[u8], core_imports: &BTreeSet<String>) -> Result<Kind, Report> {
    if !wasm.starts_with(b"\0asm") {
        return Err(Report::NotWasm(describe(wasm)));
    }
    let outline = Outline::read(wasm).map_err(|error| Report::NotWasm(error.to_string()))?;
    let unknown = outline.unknown_imports(core_imports);
    let kind = outline.kind();
    if !unknown.is_empty() && kind.is_ok() {
        return Err(Report::UnknownImports(unknown));
    }
    kind
}

/// What a file is that is not Wasm, for the most likely mistakes.
fn describe(bytes: &[u8]) -> String {
    let what = match bytes {
        [] => "the file is empty",
        [0x7f, b'E', b'L', b'F', ..] => "it is a native ELF program",
        [0x1f, 0x8b, ..] => "it is compressed with gzip",
        [b'#', b'!', ..] => "it is a script",
        [b'(', ..] => "it is WebAssembly text; convert it to binary",
        _ => "it does not begin with \\0asm",
    };
    what.to_owned()
}

#[derive(Default)]
struct Outline {
    component: bool,
    /// `(module, name)` of a core module; `(interface, "")` of a component.
    imports: Vec<(String, String)>,
    exports: BTreeSet<String>,
}

impl Outline {
    fn read(wasm: &[u8]) -> wasmparser::Result<Self> {
        let mut outline = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                payload => outline.section(payload)?,
            }
        }
        Ok(outline)
    }

    fn section(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { encoding, .. } => self.component = encoding == Encoding::Component,
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let Import { module, name, ty } = import?;
                    let name = match ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => name.to_owned(),
                        TypeRef::Memory(_) => format!("{name} (memory)"),
                        TypeRef::Table(_) => format!("{name} (table)"),
                        TypeRef::Global(_) => format!("{name} (global)"),
                        TypeRef::Tag(_) => format!("{name} (tag)"),
                    };
                    self.imports.push((module.to_owned(), name));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        self.exports.insert(export.name.to_owned());
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    // Types cost nothing to satisfy.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        self.imports.push((import.name.name.to_owned(), String::new()));
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Instance {
                        self.exports.insert(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn unknown_imports(&self, core_imports: &BTreeSet<String>) -> Vec<String> {
        let unknown: BTreeSet<String> = self
            .imports
            .iter()
            .filter_map(|(module, name)| {
                if self.component {
                    (!known_interface(module)).then(|| module.clone())
                } else {
                    let full = format!("{module}::{name}");
                    (!core_imports.contains(&full)).then_some(full)
                }
            })
            .collect();
        unknown.into_iter().collect()
    }

    fn kind(&self) -> Result<Kind, Report> {
        if !self.component {
            return if self.exports.contains("_start") {
                Ok(Kind::Command)
            } else {
                Err(Report::NoEntryPoint(format!(
                    "the module exports no function `_start`{}",
                    if self.exports.contains("_initialize") {
                        "; it is a library (reactor), not a command"
                    } else {
                        ""
                    }
                )))
            };
        }
        let exports =
            |interface: &str| self.exports.iter().any(|name| wasi_02(name).is_some_and(|known| known == interface));
        if exports("wasi:http/incoming-handler") {
            Ok(Kind::HttpComponent)
        } else if exports("wasi:cli/run") {
            Ok(Kind::CommandComponent)
        } else {
            let found = self.exports.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let found = if found.is_empty() { "nothing".to_owned() } else { found };
            Err(Report::NoEntryPoint(format!(
                "the component exports neither wasi:cli/run@0.2 nor \
                 wasi:http/incoming-handler@0.2 but {found}"
            )))
        }
    }
}

/// The interface's name, if its version is one of WASI 0.2's.
fn wasi_02(name: &str) -> Option<&str> {
    let (interface, version) = name.split_once('@')?;
    let patch = version.strip_prefix("0.2.")?;
    (!patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit())).then_some(interface)
}

fn known_interface(name: &str) -> bool {
    let interface = match wasi_02(name) {
        Some(interface) => interface,
        None => match name.split_once('@') {
            Some((interface, version)) if interface.starts_with("skiff:pod/") => {
                if !version.starts_with("0.1.") {
                    return false;
                }
                interface
            }
            _ => return false,
        },
    };
    INTERFACES.contains(&interface)
}
