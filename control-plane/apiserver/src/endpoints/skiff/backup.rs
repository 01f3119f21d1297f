//! A backup out of the running store, and back into it.

use super::{document, to_the_end};
use crate::core::Core;
use crate::history;
use crate::history::documents::API_VERSION;
use crate::request::Query;
use crate::respond;
use crate::user::User;
use api::{Reason, Status};
use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;
use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use store::Author;
use store::ops::{BackupError, BackupFile, RestoreError};

/// Bytes of a backup that is sent here.
const BACKUP_BYTES: u64 = 64 << 30;

/// The backup of one revision, made as it is sent.
pub(super) fn backup(core: &Core) -> Response<Body> {
    let backup = core.store.backup();
    let chunks = stream::iter(backup.map(Ok::<Bytes, Infallible>));
    respond::plain(StatusCode::OK, "application/octet-stream", Body::from_stream(chunks))
}

/// Takes a whole backup in and verifies it before the first write.
pub(super) async fn restore(
    core: &Arc<Core>,
    user: &User,
    parts: &Parts,
    query: &Query<'_>,
    body: Body,
) -> Result<Response<Body>, Status> {
    let backup = receive(body).await?;
    let info = *backup.info();
    let mut answer = json!({
        "kind": "StoreRestore", "apiVersion": API_VERSION,
        "backup": {
            "clusterID": info.cluster_id.to_string(), "revision": info.revision, "objects": info.count,
            "time": history::moment(info.created_ms),
        },
        "clusterID": core.store.cluster_id().to_string(),
        "dryRun": query.flag("dryRun"),
    });
    if !query.flag("dryRun") {
        let (server, author) = (Arc::clone(core), Author::new(&user.name));
        let done = to_the_end(async move {
            let done = server.store.restore(&backup, history::belongs_in_a_backup, &author).await;
            let done = done.map_err(|error| restore_status(&error))?;
            crate::admission::repair::repair(&server).await?;
            Ok(done)
        })
        .await?;
        answer["revision"] = core.store.revision().max(done.revision).into();
        answer["written"] = done.written.into();
        answer["deleted"] = done.deleted.into();
        answer["unchanged"] = done.unchanged.into();
    }
    document(parts, &answer)
}

async fn receive(mut body: Body) -> Result<BackupFile, Status> {
    let failed = |error: std::io::Error| {
        Status::internal(format_args!("the backup cannot be kept while it is verified: {error}"))
    };
    let mut file = tempfile::tempfile().map_err(failed)?;
    let mut left = BACKUP_BYTES;
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Status::bad_request(format!("the backup broke off: {error}; nothing was changed")))?;
        let Ok(data) = frame.into_data() else { continue };
        left = left.checked_sub(data.len() as u64).ok_or_else(|| Status::too_large(usize::MAX))?;
        file = tokio::task::spawn_blocking(move || file.write_all(&data).map(|()| file))
            .await
            .map_err(Status::internal)?
            .map_err(failed)?;
    }
    let verified = tokio::task::spawn_blocking(move || BackupFile::from_file(file)).await.map_err(Status::internal)?;
    verified.map_err(|error| restore_status(&RestoreError::Backup(error)))
}

fn restore_status(error: &RestoreError) -> Status {
    let text = with_sources(error);
    match error {
        RestoreError::Backup(BackupError::Io(_)) | RestoreError::Create(_) | RestoreError::Read(_) => {
            Status::internal(text)
        }
        RestoreError::Backup(_) | RestoreError::TooLarge { .. } => {
            Status::bad_request(format!("{text}; nothing was changed"))
        }
        RestoreError::Exists { .. } => Status::new(Reason::Conflict, text),
        RestoreError::Commit { .. } => Status::new(Reason::ServiceUnavailable, text),
    }
}

/// An error with what caused it.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
