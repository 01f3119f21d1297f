//! Versions that the program reports.

use std::fmt::Write as _;

/// Version of Kubernetes whose API is served.
pub const KUBERNETES: &str = "1.36.2";

/// Version of the Wasm runtime inside.
pub const WASMTIME: &str = "48.0.8";

/// What `skiff --version` prints after the name.
pub const LONG: &str = concat!(env!("CARGO_PKG_VERSION"), " (Kubernetes 1.36.2, wasmtime 48.0.8)");

/// What `skiff version` prints.
pub fn report() -> String {
    let mut text = String::new();
    for (name, version) in [("skiff", env!("CARGO_PKG_VERSION")), ("kubernetes", KUBERNETES), ("wasmtime", WASMTIME)] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<11} v{version}");
    }
    text
}
