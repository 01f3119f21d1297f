//! How a container ended, in the terms that a pod's status uses.

use std::any::Any;
use std::fmt::{self, Write};

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::memory::OutOfMemory;

/// Kubernetes cuts termination messages here, in bytes.
const MESSAGE_LIMIT: usize = 4096;

/// The end of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code as Kubernetes shows it: the guest's own 0–255, 128 when the host failed it, 134
    /// for a trap, 137 for a kill.
    pub code: i32,
    /// Why it ended.
    pub reason: ExitReason,
    /// For the termination message, at most 4,096 bytes: empty after an ordinary exit, otherwise
    /// what happened, with the Wasm backtrace (innermost frame first) where there is one.
    pub message: String,
}

/// Why a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitReason {
    /// Exit code 0.
    Completed,
    /// The guest's own non-zero exit code, or a failure of the host on its behalf (code 128).
    Error,
    /// Memory or tables beyond the limit: 137.
    OomKilled,
    /// Fuel used up: 137.
    FuelExhausted,
    /// A Wasm trap: 134.
    Trap,
    /// [`Container::kill`](crate::Container::kill): 137.
    Killed,
}

impl ExitReason {
    /// The name in `containerStatuses[].state.terminated.reason`. A trap and a kill read `Error`
    /// there, as a crash and a SIGKILL do on Kubernetes.
    pub fn as_kubernetes(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error | Self::Trap | Self::Killed => "Error",
            Self::OomKilled => "OOMKilled",
            Self::FuelExhausted => "FuelExhausted",
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_kubernetes())
    }
}

impl Exit {
    /// The guest's own exit code.
    pub(crate) fn code(code: i32) -> Self {
        let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
        Self { code, reason, message: String::new() }
    }

    pub(crate) fn killed() -> Self {
        Self { code: 137, reason: ExitReason::Killed, message: "killed".to_owned() }
    }

    /// The host could not do its part.
    pub(crate) fn host_failure(message: impl Into<String>) -> Self {
        Self { code: 128, reason: ExitReason::Error, message: cut(message.into()) }
    }

    /// A host function panicked; the process goes on.
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        tracing::error!(panic = %text, "a host function panicked");
        Self::host_failure(format!("the host failed: {text}"))
    }

    /// What an error from inside a guest's call means.
    pub(crate) fn from_error(error: &wasmtime::Error) -> Self {
        if let Some(I32Exit(code)) = error.downcast_ref() {
            return Self::code(code & 0xff);
        }
        if let Some(oom) = error.downcast_ref::<OutOfMemory>() {
            let message = describe(&oom.to_string(), error);
            return Self { code: 137, reason: ExitReason::OomKilled, message };
        }
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return Self::host_failure(format!("no room for the instance: {error:#}"));
        }
        let cause = error.root_cause().to_string();
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => {
                Self { code: 137, reason: ExitReason::FuelExhausted, message: describe("all fuel consumed", error) }
            }
            _ => Self { code: 134, reason: ExitReason::Trap, message: describe(&cause, error) },
        }
    }
}

/// The cause, and where the guest was.
fn describe(cause: &str, error: &wasmtime::Error) -> String {
    let mut text = cause.to_owned();
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>()
        && !backtrace.frames().is_empty()
    {
        // Its own heading repeats what the cause says.
        let frames = backtrace.to_string();
        let frames = frames.split_once('\n').map_or("", |(_, frames)| frames);
        let _ = write!(text, "\nwasm backtrace:\n{frames}");
    }
    cut(text)
}

fn cut(mut text: String) -> String {
    if text.len() > MESSAGE_LIMIT {
        let end = (0..=MESSAGE_LIMIT).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_between_characters() {
        let exit = Exit::host_failure("ä".repeat(4000));
        assert_eq!(exit.message.len(), MESSAGE_LIMIT);
        let exit = Exit::host_failure(format!("x{}", "ä".repeat(4000)));
        assert_eq!(exit.message.len(), MESSAGE_LIMIT - 1);
    }

    #[test]
    fn exit_codes_are_the_guests_own() {
        let exit = Exit::from_error(&wasmtime::Error::new(I32Exit(7)).context("in _start"));
        assert_eq!((exit.code, exit.reason), (7, ExitReason::Error));
        assert_eq!(Exit::from_error(&wasmtime::Error::new(I32Exit(0))), Exit::code(0));
    }
}
