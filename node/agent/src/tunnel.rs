//! The way to a node that nobody can dial: the agent dials the API server and serves its kubelet API
//! on that connection, as HTTP/2 with the roles turned round.

use std::time::Duration;

use axum::Router;
use http::{Request, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::service::TowerToHyperService;
use kube::client::Body;
use tokio_util::sync::CancellationToken;

use crate::context::NodeContext;

const PROTOCOL: &str = "skiff-tunnel";
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(15);
/// A dead connection is noticed after this and the time-out together.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_STREAMS: u32 = 1024;

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("request")]
    Request(#[from] http::Error),
    #[error("connecting")]
    Connect(#[from] kube::Error),
    #[error("the API server answered {0} instead of switching protocols")]
    Refused(StatusCode),
    #[error("the connection")]
    Connection(#[from] hyper::Error),
}

/// Keeps a tunnel open until cancelled, dialling again with back-off.
pub async fn keep(node: &NodeContext, router: Router, stop: CancellationToken) {
    let mut retry = FIRST_RETRY;
    loop {
        let begin = tokio::time::Instant::now();
        let result = tokio::select! {
            result = serve_once(node, router.clone()) => result,
            () = stop.cancelled() => return,
        };
        if let Err(error) = result {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the tunnel to the API server is down; it is dialled again");
        }
        if begin.elapsed() > LAST_RETRY {
            retry = FIRST_RETRY;
        }
        tokio::select! {
            () = tokio::time::sleep(retry) => {}
            () = stop.cancelled() => return,
        }
        retry = (retry * 2).min(LAST_RETRY);
    }
}

async fn serve_once(node: &NodeContext, router: Router) -> Result<(), TunnelError> {
    let request = Request::get(format!("/apis/skiff.dev/v1/nodes/{}/tunnel", node.name()))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, PROTOCOL)
        .body(Body::empty())?;
    let response = node.config.client.send(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(TunnelError::Refused(response.status()));
    }
    let connection = hyper::upgrade::on(response).await?;
    tracing::info!("the tunnel to the API server is up");
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .serve_connection(connection, TowerToHyperService::new(router))
        .await?;
    Ok(())
}
