//! How a container ended, in the terms that a pod's status uses.

use std::fmt;

/// The end of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code as Kubernetes shows it: the guest's own 0–255, 134 for a trap, 137 for a kill.
    pub code: i32,
    /// Why it ended.
    pub reason: ExitReason,
    /// For the termination message: empty after an ordinary exit, otherwise what happened, with
    /// the Wasm backtrace (innermost frame first) where there is one.
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
}
