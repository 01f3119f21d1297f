//! What the host offers to guests: every import that a module may have. Used by the runtime to
//! link and by the compiler process to check.

use wasmtime::Engine;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::{filesystem, sockets};

use crate::host::{pod, preopens, sockets as virtual_sockets};
use crate::state::{ComponentState, CoreState};

/// WASI preview 1 and the core imports of `skiff:pod`.
pub(crate) fn core(engine: &Engine) -> wasmtime::Result<wasmtime::Linker<CoreState>> {
    let mut linker = wasmtime::Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state: &mut CoreState| &mut state.wasi)?;
    pod::add_to_core_linker(&mut linker)?;
    linker.allow_shadowing(true);
    // wasmtime-wasi traps above 125; Kubernetes users expect all of 0-255.
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(I32Exit(code & 0xff).into())
    })?;
    Ok(linker)
}

/// WASI 0.2 with `wasi:http`, mounts that may be made when they are looked at, the pod's own sockets in place of the
/// kernel's, and `skiff:pod`.
pub(crate) fn component(engine: &Engine) -> wasmtime::Result<wasmtime::component::Linker<ComponentState>> {
    use virtual_sockets::{PodSockets, view};

    let mut linker = wasmtime::component::Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    pod::add_to_component_linker(&mut linker)?;
    linker.allow_shadowing(true);
    filesystem::preopens::add_to_linker::<_, preopens::Preopens>(&mut linker, preopens::view)?;
    sockets::tcp::add_to_linker::<_, PodSockets>(&mut linker, view)?;
    sockets::tcp_create_socket::add_to_linker::<_, PodSockets>(&mut linker, view)?;
    sockets::ip_name_lookup::add_to_linker::<_, PodSockets>(&mut linker, view)?;
    Ok(linker)
}

/// The interfaces of [`component`], without versions.
pub(crate) const INTERFACES: &[&str] = &[
    "skiff:pod/identity",
    "skiff:pod/lifecycle",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];
