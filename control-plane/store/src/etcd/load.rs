//! Everything below the prefix at one revision, read page by page.

use std::sync::Arc;

use super::client::Client;
use super::failure::Failure;
use super::layout::{Layout, Malformed, Place, decode_cluster, decode_compact, decode_entry};
use super::proto::{self, KeyValue, RangeRequest, RangeResponse, signed, unsigned};
use crate::snapshot::{Root, State};
use crate::types::{ClusterId, Entry, Revision};

/// Pages are made to have about this many bytes.
const PAGE_BYTES: usize = 4 << 20;
const FIRST_PAGE: i64 = 256;
const LARGEST_PAGE: i64 = 4_096;
/// How often reading begins again because history went while it read.
const TRIES: usize = 5;

/// What lies below the prefix.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub root: Root,
    /// The newest revision that changed anything.
    pub revision: Revision,
    /// etcd's own revision: nothing is missing up to here.
    pub upto: Revision,
    /// The marker's revision and value.
    pub marker: Option<(Revision, Vec<u8>)>,
    /// The cluster's identity, and the revision since when it has one.
    pub cluster: Option<(ClusterId, Revision)>,
    /// Where history begins, and the revision of the key that says so.
    pub compact: Option<(Revision, Revision)>,
    /// A key that is not ours.
    pub stranger: Option<Vec<u8>>,
}

/// All of it, as it is now.
pub(crate) async fn everything(client: &Client, layout: &Layout) -> Result<Loaded, Failure> {
    for _ in 1..TRIES {
        match try_everything(client, layout).await {
            Err(Failure::Compacted) => tracing::debug!("history went while the state was read; reading it again"),
            done => return done,
        }
    }
    try_everything(client, layout).await
}

async fn try_everything(client: &Client, layout: &Layout) -> Result<Loaded, Failure> {
    let mut loaded = Loaded::default();
    loaded.upto = pages(client, layout.range(), 0, |kv| loaded.add(layout, kv)).await?;
    Ok(loaded)
}

/// The store's own keys as they were at `revision`.
pub(crate) async fn state_at(client: &Client, layout: &Layout, revision: Revision) -> Result<Arc<State>, Failure> {
    let mut root = Root::new();
    pages(client, layout.data_range(), revision, |kv| {
        if let Place::Data(key) = layout.place(&kv.key) {
            let key = key.into();
            if let Some(entry) = readable(kv)? {
                root.insert(key, entry);
            }
        }
        Ok(())
    })
    .await?;
    Ok(Arc::new(State { revision, root }))
}

/// Give every key of `range` at `revision` (0: now) to `each`. Returns the revision.
async fn pages(
    client: &Client,
    (mut key, range_end): (Vec<u8>, Vec<u8>),
    revision: Revision,
    mut each: impl FnMut(KeyValue) -> Result<(), Failure>,
) -> Result<Revision, Failure> {
    let (mut revision, mut limit) = (revision, FIRST_PAGE);
    loop {
        let request =
            RangeRequest { key: key.clone(), range_end: range_end.clone(), limit, revision: signed(revision) };
        let page: RangeResponse = match client.read(proto::RANGE, request, client.timeouts.request).await {
            Err(Failure::TooLarge(_)) if limit > 1 => {
                limit = (limit / 8).max(1);
                continue;
            }
            page => page?,
        };
        if revision == 0 {
            revision = page.header.as_ref().map_or(0, |header| unsigned(header.revision));
        }
        let bytes: usize = page.kvs.iter().map(|kv| kv.key.len() + kv.value.len() + 64).sum();
        let fitting = page.kvs.len().saturating_mul(PAGE_BYTES) / bytes.max(1);
        let last = page.kvs.last().map(|kv| kv.key.clone());
        page.kvs.into_iter().try_for_each(&mut each)?;
        match last {
            Some(last) if page.more => key = [&last[..], b"\0"].concat(),
            _ => return Ok(revision),
        }
        // Slowly upwards: what comes next may be larger.
        limit = i64::try_from(fitting).unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE.min(limit * 2));
    }
}

impl Loaded {
    fn add(&mut self, layout: &Layout, kv: KeyValue) -> Result<(), Failure> {
        let written = unsigned(kv.mod_revision);
        match layout.place(&kv.key) {
            Place::Data(key) => {
                self.revision = self.revision.max(written);
                let key = key.into();
                if let Some(entry) = readable(kv)? {
                    self.root.insert(key, entry);
                }
            }
            Place::Commit => {
                self.revision = self.revision.max(written);
                self.marker = Some((written, kv.value));
            }
            Place::Cluster => {
                let id = decode_cluster(&kv.value).map_err(|error| unreadable(&kv.key, error))?;
                self.cluster = Some((id, unsigned(kv.create_revision)));
            }
            Place::Compact => {
                let oldest = decode_compact(&kv.value).map_err(|error| unreadable(&kv.key, error))?;
                self.compact = Some((oldest, written));
            }
            Place::Unknown => self.stranger = Some(kv.key),
        }
        Ok(())
    }
}

/// What `kv` holds; `None` when somebody else wrote it.
pub(crate) fn readable(mut kv: KeyValue) -> Result<Option<Arc<Entry>>, Failure> {
    let key = std::mem::take(&mut kv.key);
    match decode_entry(kv) {
        Ok(entry) => Ok(Some(Arc::new(entry))),
        Err(error @ Malformed::Newer(_)) => Err(unreadable(&key, error)),
        Err(Malformed::Foreign) => {
            tracing::error!(key = %String::from_utf8_lossy(&key), "a key in etcd was not written by Skiff; ignoring it");
            Ok(None)
        }
    }
}

fn unreadable(key: &[u8], error: Malformed) -> Failure {
    Failure::Foreign(format!("key {}: {error}", String::from_utf8_lossy(key)))
}
