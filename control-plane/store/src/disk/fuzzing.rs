//! Rows and journals of any bytes, for `crate::fuzzing`.

use super::journal;
use super::record::{Row, parse, parse_v1, row_key, sealed};
use crate::types::Revision;

/// See [`crate::fuzzing::row`].
pub(crate) fn row(revision: Revision, key: &[u8], row: &[u8]) -> Option<bool> {
    let _ = parse_v1(row);
    let mut at = Vec::new();
    row_key(revision, key, &mut at);
    let bytes = sealed(&at, row);
    let parsed = parse(&bytes).ok()?;
    let entry = parsed.entry(revision, &at).ok()?;
    let (index, body) = parsed.parts();
    let again = Row::from_parts(parsed.header, parsed.by, index, body);
    let mut written = vec![0; again.len()];
    again.write(&at, &mut written);
    let read = parse(&written).ok()?;
    Some(read.header == parsed.header && read.by == parsed.by && read.entry(revision, &at).ok()? == entry)
}

/// See [`crate::fuzzing::journal`].
pub(crate) fn journal(pieces: &[&[u8]]) -> Option<Vec<Revision>> {
    let frames = journal::forged(pieces)?;
    // Reading them to their ends is what opening does; whether they parse is not the journal's to say.
    frames.iter().for_each(|frame| frame.rows().for_each(drop));
    Some(frames.iter().map(|frame| frame.revision).collect())
}
