//! How the binary is linked: with less to read and to change before `main`.

use std::env;
use std::process::Command;

/// From this glibc on the loader reads packed relocations.
const PACKED: (u32, u32) = (2, 36);

fn main() {
    emit("rerun-if-changed=build.rs");
    let target = env::var("TARGET").unwrap_or_default();
    let optimised = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let native = env::var("HOST").is_ok_and(|host| host == target);
    if optimised && native && target.ends_with("-linux-gnu") && glibc().is_some_and(|version| version >= PACKED) {
        // Three megabytes of addresses to adjust become a bitmap. A linker that does not know it says so and goes on.
        emit("rustc-link-arg-bin=skiff=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]
fn emit(line: &str) {
    println!("cargo:{line}");
}
