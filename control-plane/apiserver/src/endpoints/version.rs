//! `/version`.

use serde_json::{Value, json};

/// The Kubernetes version whose API is served, with ours after it.
pub const GIT_VERSION: &str = concat!("v1.36.2+skiff", env!("CARGO_PKG_VERSION"));

pub(super) fn document() -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "major": "1", "minor": "36",
        "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none (skiff is written in Rust)", "compiler": "rustc",
        "platform": format!("{}/{architecture}", std::env::consts::OS),
    })
}
