//! The way to nodes that we cannot dial: the node asks `GET /apis/skiff.dev/v1/nodes/{name}/tunnel` with
//! `Upgrade: skiff-tunnel` (HTTP/1.1) and then serves HTTP/2 on that connection; we are its client.

use crate::core::Core;
use crate::user::{MASTERS, User};
use api::{Reason, Status};
use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;

pub(crate) const PROTOCOL: &str = "skiff-tunnel";
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Answers the upgrade and, once the connection is ours, makes it the node's link.
///
/// # Errors
/// 400 without the right `Upgrade`, 403 for anyone but the node itself and administrators.
pub(crate) fn accept(
    core: &Arc<Core>,
    node: &str,
    user: &User,
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
) -> Result<Response<Body>, Status> {
    if user.name != format!("system:node:{node}") && !user.is_in(MASTERS) {
        let why = format!("user {:?} may not open a tunnel for this node", user.name);
        return Err(Status::forbidden("skiff.dev", "nodes", node, why));
    }
    let asked = headers.get(header::UPGRADE).and_then(|v| v.to_str().ok());
    let (Some(PROTOCOL), Some(upgrade)) = (asked, upgrade) else {
        return Err(Status::new(
            Reason::BadRequest,
            format!("a tunnel is opened by HTTP/1.1 with \"Connection: Upgrade\" and \"Upgrade: {PROTOCOL}\""),
        ));
    };
    let (core, node) = (Arc::clone(core), node.to_owned());
    let span = tracing::info_span!("node_tunnel", %node);
    tokio::spawn(run(core, node, upgrade).instrument(span));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

async fn run(core: Arc<Core>, node: String, upgrade: OnUpgrade) {
    let io = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::warn!(%error, "the upgrade failed");
            return;
        }
    };
    let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .handshake::<_, Body>(io)
        .await;
    let (sender, connection) = match handshake {
        Ok(pair) => pair,
        Err(error) => {
            tracing::warn!(%error, "the node does not speak HTTP/2");
            return;
        }
    };
    let id = core.nodes.open(&node, sender);
    tracing::info!("tunnel open");
    tokio::select! {
        () = core.shutdown.cancelled() => {}
        result = connection => if let Err(error) = result { tracing::info!(%error, "tunnel broke") },
    }
    core.nodes.close(&node, id);
    tracing::info!("tunnel closed");
}
