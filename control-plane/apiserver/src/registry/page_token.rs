//! Continue tokens: where the next page of a list begins, and which revision it shows.

use super::Call;
use super::selection::Selection;
use crate::core::read_status;
use crate::request::{ListOptions, Version, too_large_version};
use api::{Status, decode};
use base64::{DecodeError, Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use store::{Revision, RevisionError, Snapshot};

const VERSION: &str = "meta.k8s.io/v1";
/// The revision of a token that goes on with whatever there is by then.
const NEWEST: i64 = -1;
const GONE: &str = "The resourceVersion for the provided list is too old.";
const TOKEN_GONE: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// The revision that all pages show, and the last key of the page before, without the prefix.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
    /// Objects on all pages to come, where the first page has counted them: a revision's number does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<usize>,
}

/// A token for what comes after the key `last`.
pub(super) fn write(selection: &Selection, revision: Revision, last: &[u8], left: Option<usize>) -> Option<String> {
    let start = String::from_utf8_lossy(last.get(selection.prefix.len()..).unwrap_or_default()).into_owned();
    encode(&Token { v: VERSION.into(), rv: i64::try_from(revision).ok()?, start, left })
}

fn encode(token: &Token) -> Option<String> {
    serde_json::to_vec(token).ok().map(|json| URL_SAFE_NO_PAD.encode(json))
}

/// # Errors
/// 400 for a token that is none of ours, worded as Kubernetes' `DecodeContinue`.
fn read(text: &str) -> Result<Token, Status> {
    let invalid =
        |why: String| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let text = text.trim_end_matches('=');
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|error| invalid(not_base64(&error, text)))?;
    let token: Token = serde_json::from_slice(&json).map_err(|error| {
        let told = decode::json(&json, decode::Limits::default()).err().map(|status| status.message);
        let told = told.as_deref().and_then(|text| text.strip_prefix(decode::NO_DOCUMENT));
        invalid(told.map_or_else(|| error.to_string(), str::to_owned))
    })?;
    if token.v != VERSION {
        return Err(invalid(format!("server does not recognize this encoded version {}", token.v)));
    }
    if token.rv <= 0 && token.rv != NEWEST {
        return Err(invalid(format!("incorrect encoded start resourceVersion (version {VERSION})")));
    }
    if token.start.is_empty() {
        return Err(invalid(format!("encoded start key empty (version {VERSION})")));
    }
    // What follows the prefix must not lead out of it.
    if token.start.split('/').any(|part| part == "..") {
        return Err(invalid(token.start));
    }
    Ok(token)
}

/// In Go's words.
fn not_base64(error: &DecodeError, text: &str) -> String {
    let at = match error {
        DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => *at,
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len(),
    };
    format!("illegal base64 data at input byte {at}")
}

/// A token, read and written again.
///
/// # Errors
/// 400 for a token that is none of ours.
pub(crate) fn rewritten(text: &str) -> Result<String, Status> {
    read(text).map(|token| encode(&token).unwrap_or_default())
}

/// Where a page begins.
pub(super) struct From {
    pub snapshot: Snapshot,
    /// The key after which it begins.
    pub start: Option<Vec<u8>>,
    /// How many objects there are from here on, where that is known.
    pub left: Option<usize>,
}

/// # Errors
/// 400 for a token that is none of ours. 410 when its revision is gone: with another token, that goes on at the newest.
pub(super) async fn resume(call: &Call<'_>, options: &ListOptions, text: &str, prefix: &[u8]) -> Result<From, Status> {
    if matches!(options.version, Version::At(_)) {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    let token = read(text)?;
    let revision = Revision::try_from(token.rv).ok().filter(|revision| *revision > 0);
    let mut start = prefix.to_vec();
    start.extend_from_slice(token.start.as_bytes());
    let Some(revision) = revision else {
        return Ok(From { snapshot: call.core.latest().await?, start: Some(start), left: None });
    };
    match at(call, revision).await {
        Ok(snapshot) => Ok(From { snapshot, start: Some(start), left: token.left }),
        Err(status) if status.code == 410 => {
            let newest = Token { rv: NEWEST, left: None, ..token };
            Err(Status::expired(TOKEN_GONE).with_continue(encode(&newest).unwrap_or_default()))
        }
        Err(status) => Err(status),
    }
}

/// The state at a revision.
///
/// # Errors
/// 410 for one that is gone, 504 for one that does not come.
pub(super) async fn at(call: &Call<'_>, revision: Revision) -> Result<Snapshot, Status> {
    // The token of another server may name what this one has not seen yet.
    call.core.reached(revision).await?;
    call.core.store.snapshot_at(revision).await.map_err(|error| match error {
        RevisionError::Compacted { .. } => Status::expired(GONE),
        RevisionError::Future { current } => too_large_version(revision, current),
        other => read_status(&other),
    })
}
