//! The host's side of what guests import, one file per subject. What is not here comes from
//! wasmtime-wasi unchanged: clocks, random numbers, files under the mounts.

pub(crate) mod dial;
pub(crate) mod outgoing;
pub(crate) mod output;
pub(crate) mod pod;
pub(crate) mod preopens;
pub(crate) mod sockets;
pub(crate) mod tcp;
