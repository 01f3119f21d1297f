//! `/skiff/v1/…`: history and the store's operations, for administrators and the command line.
//!
//! History shows every object of every namespace, Secrets among them: the paths are non-resource URLs that RBAC rules
//! over, and nobody but `system:masters` has them without a rule of its own.

mod backup;

use crate::core::Core;
use crate::history::documents::RestoreRequest;
use crate::history::{self, Chatter, ManagedFields, Named, Patch};
use crate::negotiate::Accept;
use crate::registry::{method_not_allowed, unknown_path};
use crate::request::Query;
use crate::user::User;
use crate::{body, respond};
use api::Status;
use axum::body::Body;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde::Serialize;
use std::sync::Arc;
use tracing::Instrument as _;

const PREFIX: &str = "/skiff/v1/";
/// Bytes of a request's document.
const DOCUMENT_BYTES: usize = 64 << 10;
/// Writes of an object's life that are told where nobody says how many.
const DEFAULT_LIMIT: i64 = 100;

pub(crate) fn concerns(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// # Errors
/// 404 for unknown paths, 405 for other methods, and what the operation says.
pub(crate) async fn serve(
    core: &Arc<Core>,
    user: &Arc<User>,
    parts: &Parts,
    query: &Query<'_>,
    body: Body,
) -> Result<Response<Body>, Status> {
    let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let read = matches!(parts.method, Method::GET | Method::HEAD);
    match (path, read, parts.method == Method::POST) {
        ("history/diff", true, _) => document(parts, &history::diff(core, question(query)).await?),
        ("history/log", true, _) => {
            let limit = query.integer("limit")?.unwrap_or(DEFAULT_LIMIT);
            let limit = usize::try_from(limit).unwrap_or(1);
            document(parts, &history::life(core, &named(core, query)?, limit, patch(query)).await?)
        }
        ("history/object", true, _) => {
            let managed = if query.flag("managedFields") { ManagedFields::Show } else { ManagedFields::Hide };
            let at = query.text("revision").unwrap_or("now");
            document(parts, &history::object_at(core, &named(core, query)?, at, managed).await?)
        }
        ("history/restore", _, true) => {
            let bytes = body::read(&parts.headers, body, DOCUMENT_BYTES).await?;
            let request: RestoreRequest = serde_json::from_slice(&bytes)
                .map_err(|error| Status::bad_request(format!("this is no restore request: {error}")))?;
            let (core, user) = (Arc::clone(core), Arc::clone(user));
            document(parts, &to_the_end(async move { history::restore(&core, &user, &request).await }).await?)
        }
        ("store/stats", true, _) => document(parts, &history::stats(core)),
        ("store/compact", _, true) => {
            document(parts, &history::compact(core, query.text("to"), query.text("keep")).await?)
        }
        ("store/backup", true, _) => Ok(backup::backup(core)),
        ("store/restore", _, true) => backup::restore(core, user, parts, query, body).await,
        (
            "history/diff" | "history/log" | "history/object" | "history/restore" | "store/stats" | "store/compact"
            | "store/backup" | "store/restore",
            ..,
        ) => Err(method_not_allowed()),
        _ => Err(unknown_path()),
    }
}

fn document(parts: &Parts, document: &impl Serialize) -> Result<Response<Body>, Status> {
    let value = serde_json::to_value(document).map_err(Status::internal)?;
    Ok(respond::value(Accept::parse(&parts.headers)?, StatusCode::OK, &value))
}

fn question<'q>(query: &'q Query<'_>) -> history::Question<'q> {
    history::Question {
        from: query.text("from").unwrap_or("oldest"),
        to: query.text("to").unwrap_or("now"),
        namespace: query.text("namespace").unwrap_or_default(),
        kinds: query.all("kind").collect(),
        chatter: if query.flag("all") { Chatter::Show } else { Chatter::Hide },
        patch: patch(query),
    }
}

fn patch(query: &Query<'_>) -> Patch {
    if query.flag("patch") { Patch::Yes } else { Patch::No }
}

fn named(core: &Core, query: &Query<'_>) -> Result<Named, Status> {
    let text = |name| query.text(name).unwrap_or_default();
    Named::new(core, text("kind"), text("namespace"), text("name"))
}

/// What writes goes on when whoever asked for it has gone: half a restore is nobody's wish.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    tokio::spawn(work.in_current_span()).await.map_err(Status::internal)?
}
