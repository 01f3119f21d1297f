//! What the fuzz targets (`fuzz/`) hand hostile bytes to: the readers of requests, one by one, and a whole server without
//! a network. For nobody else.

use crate::config::Config;
use crate::core::Core;
use crate::local::LocalService;
use crate::negotiate::{self, Accept, Format};
use crate::pki::{AccountKey, Names, Pki};
use crate::registry;
use crate::request::{DeleteOptions, ListOptions, Query, RequestInfo, WriteOptions, duration};
use crate::user::User;
use api::{Kinds, Status, Verb};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// The syntax of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    Json,
    Yaml,
    Protobuf,
}

/// A body, decoded.
///
/// # Errors
/// 400 and 415.
pub fn body(syntax: Syntax, bytes: &[u8]) -> Result<Value, Status> {
    let format = match syntax {
        Syntax::Json => Format::Json,
        Syntax::Yaml => Format::Yaml,
        Syntax::Protobuf => Format::Protobuf,
    };
    crate::body::decode(format, bytes).map(|(value, _)| value)
}

/// A continue token, decoded and encoded again.
///
/// # Errors
/// 400.
pub fn continue_token(text: &str) -> Result<String, Status> {
    registry::rewritten_token(text)
}

/// A `timeout` parameter.
///
/// # Errors
/// 400.
pub fn timeout(text: &str) -> Result<Option<Duration>, Status> {
    duration::timeout(Some(text))
}

/// Everything that is read of a request before its body. The answer: what was refused.
pub fn head(kinds: &Kinds, method: &Method, uri: &Uri, headers: &HeaderMap) -> Vec<Status> {
    let mut refused = Vec::new();
    let mut note = |result: Result<(), Status>| refused.extend(result.err());
    let info = RequestInfo::parse(method, uri);
    let query = Query::of(uri);
    note(Accept::parse(headers).map(drop));
    note(negotiate::body_format(headers).map(drop));
    negotiate::aggregated_discovery(headers);
    note(duration::timeout(query.text("timeout")).map(drop));
    note(DeleteOptions::parse(&query, None).map(drop));
    for verb in [Verb::Create, Verb::Update, Verb::Patch] {
        note(WriteOptions::parse(&query, verb).map(drop));
    }
    let row = info.resource.as_ref().and_then(|asked| kinds.find(asked.group, asked.version, asked.plural));
    if let Some(row) = row {
        note(ListOptions::parse(&query, Verb::List, &row).map(drop));
        note(ListOptions::parse(&query, Verb::Watch, &row).map(drop));
    }
    refused
}

/// An API server with a store in memory, without a network. Its owner is a member of `system:masters`.
pub struct Server {
    service: LocalService,
}

impl Server {
    /// # Errors
    /// What stands in the way of the system's own objects.
    ///
    /// # Panics
    /// Never in practice: a store in memory opens, and keys can be made.
    pub async fn start() -> Result<Self, Status> {
        let store = store::Store::open(store::Options::memory()).expect("a store in memory opens");
        let config = Config::new(store);
        let core = Core::new(&config, SocketAddr::from(([127, 0, 0, 1], 6443)));
        let pki = Pki::ephemeral(&Names::new(None, &[])).expect("keys can be made");
        core.set_keys(pki, &AccountKey::generate().expect("keys can be made")).expect("the keys are good");
        crate::bootstrap::run(&core).await?;
        crate::crd::start(&core).await?;
        core.set_ready();
        Ok(Self { service: LocalService::new(core, User::component("system:admin")) })
    }

    /// One request and its whole answer.
    ///
    /// # Panics
    /// When the answer breaks off.
    pub async fn send(&self, request: Request<Bytes>) -> (StatusCode, Bytes) {
        let answer = self.service.send(request.map(http_body_util::Full::new)).await;
        let (parts, body): (_, Body) = answer.into_parts();
        (parts.status, body.collect().await.expect("an answer has an end").to_bytes())
    }
}
