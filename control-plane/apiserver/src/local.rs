//! The way of components in this process to the API: a tower service straight onto the handler, without TCP, TLS or
//! HTTP framing. The same code answers as for remote clients.

use crate::core::Core;
use crate::handler::{Caller, handle};
use crate::negotiate::{OWNERS, Owners};
use crate::user::User;
use axum::body::Body;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;

/// Requests in the name of one user. What `kube::Client::new` takes.
#[derive(Clone)]
pub struct LocalService {
    core: Arc<Core>,
    user: Arc<User>,
    owners: Owners,
}

impl LocalService {
    pub(crate) fn new(core: Arc<Core>, user: User) -> Self {
        Self { core, user: Arc::new(user), owners: Owners::Shown }
    }

    /// The same for a component that has no use for `managedFields`: it is not sent them.
    pub(crate) fn without_owners(self) -> Self {
        Self { owners: Owners::Hidden, ..self }
    }

    /// One request, with a body of any kind.
    pub async fn send<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        handle(&self.core, Caller::Local(Arc::clone(&self.user)), request.map(Body::new)).await
    }
}

impl<B> Service<Request<B>> for LocalService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (core, user) = (Arc::clone(&self.core), Arc::clone(&self.user));
        let mut request = request.map(Body::new);
        if self.owners == Owners::Hidden {
            request.headers_mut().insert(OWNERS, HeaderValue::from_static("none"));
        }
        Box::pin(async move { Ok(handle(&core, Caller::Local(user), request).await) })
    }
}
