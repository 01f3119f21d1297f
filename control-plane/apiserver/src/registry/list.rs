//! GET of a collection. Takes a snapshot and copies stored bytes; nothing is parsed unless a table is asked for.

use super::page_token::{self, From};
use super::selection::Selection;
use super::{Call, watch};
use crate::crd::present;
use crate::negotiate::{Accept, Format, Owners, Shape};
use crate::objects::{self, wire};
use crate::request::{ListOptions, Version, VersionMatch};
use crate::respond::{self, GZIP_FROM};
use api::table::IncludeObject;
use api::{Resource, Status, Verb};
use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use std::io::Write as _;
use std::sync::Arc;
use store::{Entry, Revision, Snapshot};

/// How much of a long list is put together at a time.
const CHUNK: usize = 128 * 1024;
/// How many entries are brought up to date at a time.
const CONVERTED: usize = 500;
/// How many entries are looked at, and how many parsed, before other requests get their turn on the thread.
const LOOKED_AT: usize = 2_000;
const PARSED: usize = 100;

/// # Errors
/// 400 for bad options, 410 for a revision that is gone, 504 for one that is not there yet.
pub(super) async fn list(call: &Call<'_>) -> Result<Response<Body>, Status> {
    if call.query.flag("watch") {
        return watch::watch(call).await;
    }
    let options = ListOptions::parse(&call.query, Verb::List, call.resource)?;
    let selection = Selection::new(call.resource, call.namespace(), "", &options);
    let mut page = Page::take(call, &options, &selection).await?;
    if call.accept.owners == Owners::Hidden {
        page.entries.iter_mut().for_each(|entry| *entry = objects::without_owners(entry));
    }
    let native = wire::is_native(call.resource);
    match call.accept.shape {
        Shape::Table(include) => Ok(respond::value(call.accept, StatusCode::OK, &page.table(call, include).await?)),
        Shape::Metadata(_) => Ok(respond::json(call.accept, StatusCode::OK, page.metadata_only(call.resource).await)),
        Shape::Full if native && call.accept.format == Format::Json && !call.accept.pretty => Ok(page.respond(call)),
        Shape::Full => {
            let mut items = page.parse(call.resource).await?;
            for item in items.iter_mut().filter_map(Value::as_object_mut) {
                if call.resource.custom.is_none() {
                    item.remove("kind");
                    item.remove("apiVersion");
                }
            }
            let body = json!({
                "kind": call.resource.list_kind, "apiVersion": call.resource.api_version(),
                "metadata": page.metadata(), "items": items,
            });
            Ok(respond::value(call.accept, StatusCode::OK, &body))
        }
    }
}

/// All entries that are selected, in key order, as they are now.
///
/// # Errors
/// 500 when a custom object cannot be converted to the version that the selectors are about.
pub(super) async fn selected(
    call: &Call<'_>,
    snapshot: &Snapshot,
    selection: &Selection,
) -> Result<Vec<(Vec<u8>, Arc<Entry>)>, Status> {
    let range = snapshot.range(&selection.prefix, None).map(|(key, entry)| (key.to_vec(), Arc::clone(entry)));
    if call.resource.custom.is_none() || selection.is_everything() {
        return Ok(range.filter(|(key, entry)| selection.matches(key, entry)).collect());
    }
    let (keys, mut entries): (Vec<_>, Vec<_>) = range.unzip();
    present::show(call.core, call.resource, &mut entries).await?;
    Ok(keys.into_iter().zip(entries).filter(|(key, entry)| selection.matches(key, entry)).collect())
}

/// What a list answers.
struct Page {
    revision: Revision,
    entries: Vec<Arc<Entry>>,
    next: Option<String>,
    remaining: Option<usize>,
}

impl Page {
    async fn take(call: &Call<'_>, options: &ListOptions, selection: &Selection) -> Result<Self, Status> {
        let From { snapshot, start, left } = match &options.continue_token {
            Some(token) => page_token::resume(call, options, token, &selection.prefix).await?,
            None => From { snapshot: first_snapshot(call, options).await?, start: None, left: None },
        };
        let limit = if options.limit == 0 { usize::MAX } else { options.limit };
        let range = snapshot.range(&selection.prefix, start.as_deref());
        if call.resource.custom.is_some()
            && !range.map(|(_, entry)| entry).all(|e| present::is_current(call.resource, e))
        {
            return Self::converted(call, selection, (&snapshot, start), limit).await;
        }
        let mut entries = Vec::new();
        let (mut last, mut more) = (None, false);
        for (position, (key, entry)) in snapshot.range(&selection.prefix, start.as_deref()).enumerate() {
            if position % LOOKED_AT == LOOKED_AT - 1 {
                tokio::task::yield_now().await;
            }
            if !selection.matches(key, entry) {
                continue;
            }
            if entries.len() == limit {
                more = true;
                break;
            }
            entries.push(Arc::clone(entry));
            last = Some(key);
        }
        let mut page = Self { revision: snapshot.revision(), entries, next: None, remaining: None };
        if let Some(last) = last.filter(|_| more) {
            // With selectors the rest would have to be filtered to be counted: Kubernetes leaves it out then.
            page.remaining = selection.is_everything().then(|| match left {
                Some(left) => left.saturating_sub(page.entries.len()),
                None => snapshot.range(&selection.prefix, Some(last)).count(),
            });
            page.more(selection, last);
        }
        Ok(page)
    }

    /// The same where entries must be brought up to date or converted before they can be judged and shown.
    async fn converted(
        call: &Call<'_>,
        selection: &Selection,
        (snapshot, mut start): (&Snapshot, Option<Vec<u8>>),
        limit: usize,
    ) -> Result<Self, Status> {
        let mut page = Self { revision: snapshot.revision(), entries: Vec::new(), next: None, remaining: None };
        loop {
            let range = snapshot.range(&selection.prefix, start.as_deref()).take(CONVERTED);
            let (keys, mut entries): (Vec<Vec<u8>>, Vec<Arc<Entry>>) =
                range.map(|(key, entry)| (key.to_vec(), Arc::clone(entry))).unzip();
            let Some(last) = keys.last().cloned() else { return Ok(page) };
            present::show(call.core, call.resource, &mut entries).await?;
            for (key, entry) in keys.iter().zip(entries).filter(|(key, entry)| selection.matches(key, entry)) {
                if page.entries.len() == limit {
                    page.more(selection, start.as_deref().unwrap_or_default());
                    return Ok(page);
                }
                page.entries.push(entry);
                start = Some(key.clone());
            }
            start = Some(last);
        }
    }

    /// Notes where the next page begins: after the key `last`.
    fn more(&mut self, selection: &Selection, last: &[u8]) {
        self.next = page_token::write(selection, self.revision, last, self.remaining);
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if let Some(next) = &self.next {
            metadata["continue"] = next.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }

    async fn parse(&self, resource: &Resource) -> Result<Vec<Value>, Status> {
        let mut objects = Vec::with_capacity(self.entries.len());
        for entries in self.entries.chunks(PARSED) {
            for entry in entries {
                objects.push(objects::parse(resource, &entry.value.body, Some(entry.mod_revision))?);
            }
            tokio::task::yield_now().await;
        }
        Ok(objects)
    }

    /// The whole page as a table, of which only a few objects are in memory at a time.
    async fn table(&self, call: &Call<'_>, include: IncludeObject) -> Result<Value, Status> {
        let mut table = call.table(&[], self.metadata(), include);
        let mut rows = Vec::with_capacity(self.entries.len());
        for entries in self.entries.chunks(PARSED) {
            let parse = |e: &Arc<Entry>| objects::parse(call.resource, &e.value.body, Some(e.mod_revision));
            let objects = entries.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
            if let Value::Array(more) = call.table(&objects, Value::Null, include)["rows"].take() {
                rows.extend(more);
            }
            tokio::task::yield_now().await;
        }
        table["rows"] = Value::Array(rows);
        Ok(table)
    }

    async fn metadata_only(&self, resource: &Resource) -> Bytes {
        let mut out = self.head("PartialObjectMetadataList", "meta.k8s.io/v1", self.entries.len() * 512);
        for (position, entry) in self.entries.iter().enumerate() {
            if position > 0 {
                out.put_u8(b',');
            }
            if position % LOOKED_AT == LOOKED_AT - 1 {
                tokio::task::yield_now().await;
            }
            wire::put_metadata_only(&mut out, resource, &entry.value.body, Some(entry.mod_revision));
        }
        out.put_slice(b"]}");
        out.freeze()
    }

    fn head(&self, kind: &str, api_version: &str, room: usize) -> BytesMut {
        let metadata = self.metadata().to_string();
        let mut out = BytesMut::with_capacity(room + metadata.len() + 128);
        for part in
            [r#"{"kind":""#, kind, r#"","apiVersion":""#, api_version, r#"","metadata":"#, &metadata, r#","items":["#]
        {
            out.put_slice(part.as_bytes());
        }
        out
    }

    /// The plain list: in one piece when it is short, else piece by piece as the client reads.
    fn respond(self, call: &Call<'_>) -> Response<Body> {
        let resource = call.resource;
        let items: usize =
            self.entries.iter().map(|e| wire::item_len(resource, &e.value.body, e.mod_revision) + 1).sum();
        let mut out = self.head(&resource.list_kind, &resource.api_version(), items.min(CHUNK * 2));
        let total = out.len() + items.saturating_sub(1) + 2;
        if total < GZIP_FROM {
            put_items(&mut out, resource, &self.entries, &mut 0, usize::MAX);
            return respond::json(Accept { pretty: false, ..call.accept }, StatusCode::OK, out.freeze());
        }
        let pieces = Pieces { resource: Arc::clone(resource), entries: self.entries, at: 0, head: Some(out) };
        let packer = call.accept.gzip.then(Packer::new);
        let is_packed = packer.is_some();
        let stream = futures::stream::unfold((pieces, packer), |(mut pieces, mut packer)| async move {
            let bytes = match &mut packer {
                None => pieces.next()?,
                Some(packer) => packer.next(&mut pieces)?,
            };
            Some((Ok::<_, std::convert::Infallible>(bytes), (pieces, packer)))
        });
        let mut response = respond::plain(StatusCode::OK, call.accept.content_type(), Body::from_stream(stream));
        let headers = response.headers_mut();
        if is_packed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        } else {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(total));
        }
        response
    }
}

/// A long list, put together as the client reads it.
struct Pieces {
    resource: Arc<Resource>,
    entries: Vec<Arc<Entry>>,
    at: usize,
    /// What comes before the first item, until it has been sent.
    head: Option<BytesMut>,
}

impl Pieces {
    fn next(&mut self) -> Option<Bytes> {
        if self.head.is_none() && self.at > self.entries.len() {
            return None;
        }
        let mut out = self.head.take().unwrap_or_else(|| BytesMut::with_capacity(CHUNK + 4096));
        put_items(&mut out, &self.resource, &self.entries, &mut self.at, CHUNK);
        Some(out.freeze())
    }
}

/// Compresses pieces one by one.
struct Packer(Option<GzEncoder<Vec<u8>>>);

impl Packer {
    fn new() -> Self {
        Self(Some(GzEncoder::new(Vec::with_capacity(CHUNK), Compression::fast())))
    }

    fn next(&mut self, pieces: &mut Pieces) -> Option<Bytes> {
        loop {
            let encoder = self.0.as_mut()?;
            let Some(piece) = pieces.next() else { return self.0.take()?.finish().ok().map(Bytes::from) };
            encoder.write_all(&piece).ok()?;
            if encoder.get_ref().len() >= CHUNK / 4 {
                return Some(Bytes::from(std::mem::take(encoder.get_mut())));
            }
        }
    }
}

/// Appends items from `at` until `out` holds `enough` bytes; after the last one the list's end, and `at` is past all.
fn put_items(out: &mut BytesMut, resource: &Resource, entries: &[Arc<Entry>], at: &mut usize, enough: usize) {
    while let Some(entry) = entries.get(*at) {
        if out.len() >= enough {
            return;
        }
        if *at > 0 {
            out.put_u8(b',');
        }
        wire::put_item(out, resource, &entry.value.body, entry.mod_revision);
        *at += 1;
    }
    out.put_slice(b"]}");
    *at = entries.len() + 1;
}

/// The state that a list without a continue token shows.
async fn first_snapshot(call: &Call<'_>, options: &ListOptions) -> Result<Snapshot, Status> {
    let wanted = match options.version {
        Version::Unset => return call.core.latest().await,
        Version::Any => return Ok(call.core.store.snapshot()),
        Version::At(wanted) => wanted,
    };
    let current = call.core.reached(wanted).await?;
    // "resourceVersion set, match unset, limit set" means exactly that revision: the rule of old pagers.
    let exact =
        options.version_match == Some(VersionMatch::Exact) || (options.version_match.is_none() && options.limit > 0);
    if exact { page_token::at(call, wanted).await } else { Ok(current) }
}
