//! Where the binary under test is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The `skiff` binary: `$SKIFF_BIN`, or built by cargo beside the running test.
///
/// # Panics
/// When it cannot be built: there is nothing to test then.
pub fn skiff() -> &'static Path {
    static BIN: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os("SKIFF_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    });
    &BIN
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the running test has a path");
    // target/<profile>/deps/all-<hash>
    let profile = test.parent().and_then(Path::parent).expect("tests run from target/<profile>/deps");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The workspace with a test of it: dependencies then have the features that they have in `cargo test --workspace`, and
    // nothing is built again.
    cargo.args(["build", "--quiet", "--workspace", "--bin", "skiff", "--test", "all"]).current_dir(root());
    if cfg!(feature = "clients") {
        cargo.args(["--features", "tests/clients"]);
    }
    // What cargo told this test about its package: build scripts look at it (ring's does), and would all run again.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes())) {
            cargo.env_remove(name);
        }
    }
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "cargo build failed: {status}");
    profile.join("skiff")
}

/// The top of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace")
}

/// A prebuilt guest by file name.
pub fn guest(name: &str) -> PathBuf {
    let path = root().join("guests/prebuilt").join(name);
    assert!(path.is_file(), "no guest {}", path.display());
    path
}

/// `guests/wat/<name>.wat` as a binary module in `folder`.
///
/// # Panics
/// When there is no such guest or it is not WAT.
pub fn wat(folder: &Path, name: &str) -> PathBuf {
    let source = root().join("guests/wat").join(format!("{name}.wat"));
    let binary = wat::parse_file(&source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
    let path = folder.join(format!("{name}.wasm"));
    std::fs::write(&path, binary).expect("the folder is writable");
    path
}
