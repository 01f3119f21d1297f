//! Links to kubelets: in this process (a router), or over the connection that a node keeps open to us
//! (see [`tunnel`]). The API server never dials a node.

pub(crate) mod tunnel;

use axum::body::Body;
use http::{Request, Response};
use hyper::client::conn::http2::SendRequest;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use tower::ServiceExt as _;

/// Why a node did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("there is no connection to the node")]
    Absent,
    #[error("the request is none that can be sent")]
    Request(#[source] http::Error),
    #[error("the connection to the node broke")]
    Lost(#[source] hyper::Error),
}

#[derive(Clone)]
enum Link {
    Local(axum::Router),
    Tunnel { id: u64, sender: SendRequest<Body> },
}

/// All links, by the node's name. A newer link takes the place of an older one.
#[derive(Default)]
pub(crate) struct Links {
    by_node: Mutex<HashMap<String, Link>>,
    next_id: AtomicU64,
}

impl Links {
    /// A kubelet in this process.
    pub(crate) fn attach(&self, node: &str, router: axum::Router) {
        self.by_node.lock().insert(node.to_owned(), Link::Local(router));
    }

    /// The kubelet is gone.
    pub(crate) fn detach(&self, node: &str) {
        self.by_node.lock().remove(node);
    }

    /// Adds a tunnel; the number is for [`Links::close`].
    fn open(&self, node: &str, sender: SendRequest<Body>) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.by_node.lock().insert(node.to_owned(), Link::Tunnel { id, sender });
        id
    }

    /// Removes a tunnel, unless a newer one has taken its place.
    fn close(&self, node: &str, closed: u64) {
        let mut links = self.by_node.lock();
        if matches!(links.get(node), Some(Link::Tunnel { id, .. }) if *id == closed) {
            links.remove(node);
        }
    }

    /// Sends a request to the node's kubelet. The body of the answer streams.
    pub(crate) async fn send(&self, node: &str, request: Request<Body>) -> Result<Response<Body>, LinkError> {
        let link = self.by_node.lock().get(node).cloned().ok_or(LinkError::Absent)?;
        match link {
            Link::Local(router) => match router.oneshot(request).await {
                Ok(response) => Ok(response),
                Err(never) => match never {},
            },
            Link::Tunnel { mut sender, .. } => {
                let response = sender.send_request(request).await.map_err(LinkError::Lost)?;
                Ok(response.map(Body::new))
            }
        }
    }
}
