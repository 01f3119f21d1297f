//! Container logs: CRI log format files with rotation, written from the guests' threads and read
//! back by the kubelet API. Knows file layout and format; nothing of pods' lifecycles.
//!
//! Layout: `<root>/<namespace>_<name>_<uid>/<container>/<restart>.log`, rotated files beside it as
//! `<restart>.log.<sequence>` (a higher sequence is newer).

mod format;
mod reader;
mod writer;

use std::path::{Path, PathBuf};

pub use reader::{Cursor, Options, Progress, Timestamps};
pub use writer::{ContainerLog, LogLimits, OpenFiles};

/// The directory that holds all of a pod's logs.
pub fn pod_dir(root: &Path, namespace: &str, name: &str, uid: &str) -> PathBuf {
    root.join(format!("{namespace}_{name}_{uid}"))
}

/// The newest file of one run of a container.
pub fn current(dir: &Path, restart: u32) -> PathBuf {
    dir.join(format!("{restart}.log"))
}

/// A rotated file.
fn rotated(dir: &Path, restart: u32, sequence: u64) -> PathBuf {
    dir.join(format!("{restart}.log.{sequence}"))
}

/// Sequence numbers of the rotated files of one run, ascending.
fn rotated_sequences(dir: &Path, restart: u32) -> Vec<u64> {
    let prefix = format!("{restart}.log.");
    let mut out: Vec<u64> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok())
        .collect();
    out.sort_unstable();
    out
}

/// Removes every file of one run; the absence of any is fine.
pub fn remove_run(dir: &Path, restart: u32) {
    for sequence in rotated_sequences(dir, restart) {
        let _ = std::fs::remove_file(rotated(dir, restart, sequence));
    }
    let _ = std::fs::remove_file(current(dir, restart));
}

/// The last lines of one run for `FallbackToLogsOnError`: at most 80 lines and 2,048 bytes.
pub fn fallback_message(dir: &Path, restart: u32) -> String {
    const LINES: u64 = 80;
    const BYTES: usize = 2048;
    let options = Options { tail: Some(LINES), ..Options::default() };
    let Ok(mut cursor) = Cursor::open(dir, restart, options) else { return String::new() };
    let mut out = Vec::new();
    while let Ok(Progress::More) = cursor.read(&mut out) {
        if out.len() > 4 * 65536 {
            break;
        }
    }
    let start = out.len().saturating_sub(BYTES);
    String::from_utf8_lossy(&out[start..]).into_owned()
}

#[cfg(test)]
mod tests;
