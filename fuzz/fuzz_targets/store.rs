//! The store's bytes: rows of its file, its journal and backups, with checksums that fit. What is read is written as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff_fuzz::soon;
use store::fuzzing::{backup, frames, journal, row};

fuzz_target!(|data: &[u8]| {
    let _ = soon("a backup", || backup(data));
    if let Some(is_same) = soon("a row", || row(9, b"core/pods/default/a", data)) {
        assert!(is_same, "a row comes out as it went in");
    }
    // Frames: each with its length before it.
    let (mut payloads, mut rest) = (Vec::new(), data);
    while let Some((length, after)) = rest.split_first() {
        let (payload, after) = after.split_at_checked((*length).into()).unwrap_or((after, &[]));
        payloads.push(payload);
        rest = after;
    }
    let _ = soon("a journal", || journal(&payloads));
    if let Ok(entries) = soon("frames", || frames(&payloads)) {
        assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(entries.iter().all(|(_, entry)| entry.create_revision <= entry.mod_revision));
    }
});
