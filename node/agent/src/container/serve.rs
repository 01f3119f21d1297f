//! Serves a `wasi:http` component on its container port: HTTP/1.1 and HTTP/2 with prior knowledge,
//! each request handed to the container. Bounded in connections, header sizes and idle time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::Container;
use hyper::header::{HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use network::Listener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::events::EventType;
use crate::pod::PodContext;

/// Where a component without any `containerPort` is served.
const DEFAULT_PORT: u16 = 8080;
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_HEADERS: usize = 100;
const MAX_BUFFER: usize = 64 * 1024;
const MAX_STREAMS: u32 = 128;

/// Binds the port on the pod's address; the error is fit for `RunContainerError`.
pub fn listen(pod: &PodContext, container: &Container) -> Result<Listener, String> {
    let declared = container
        .ports
        .iter()
        .flatten()
        .find(|p| matches!(p.protocol.as_deref(), None | Some("TCP")))
        .and_then(|p| u16::try_from(p.container_port).ok());
    if declared.is_none() {
        let message = format!(
            "Container {} declares no containerPort: its HTTP handler is served on port {DEFAULT_PORT}",
            container.name
        );
        pod.event(EventType::Normal, "DefaultPort", message);
    }
    let port = declared.unwrap_or(DEFAULT_PORT);
    let net = pod.net.lock().clone().ok_or("the pod has no network")?;
    net.listen(port).map_err(|error| format!("cannot listen on {}:{port}: {error}", net.ip()))
}

/// Serves until the container has ended; when the task is through, the port is free for the next run.
pub fn spawn(pod: &PodContext, listener: Listener, container: runtime::Container) -> JoinHandle<()> {
    let span = tracing::debug_span!("serve", namespace = pod.namespace, pod = pod.name);
    let limit = Arc::new(Semaphore::new(pod.node.config.max_connections_per_pod));
    tokio::spawn(
        async move {
            tokio::select! {
                _ = container.wait() => {}
                () = accept(&listener, &container, &limit) => {}
            }
        }
        .instrument(span),
    )
}

async fn accept(listener: &Listener, container: &runtime::Container, limit: &Arc<Semaphore>) {
    loop {
        let Ok(permit) = Arc::clone(limit).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {
                // Either the peer gave up or the pod is gone; in the second case the container ends.
                tokio::task::yield_now().await;
                continue;
            }
            Err(error) => {
                // Most likely out of file descriptors: give others time to close theirs.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let container = container.clone();
        tokio::spawn(
            async move {
                serve(stream, container).await;
                drop(permit);
            }
            .in_current_span(),
        );
    }
}

async fn serve(stream: tokio::net::TcpStream, container: runtime::Container) {
    let ended = container.clone();
    let Ok(local) = stream.local_addr() else { return };
    let service = service_fn(move |mut request| {
        name_host(&mut request, local);
        let container = container.clone();
        async move { Ok::<_, Infallible>(container.handle(request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_BUFFER);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => {
            if let Err(error) = result {
                tracing::debug!(%error, "a connection ended");
            }
        }
        _ = ended.wait() => {
            // Lets an answer that is being written get through, and closes idle connections.
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(HEADER_TIMEOUT, connection).await;
        }
    }
}

/// HTTP/1.0 demands no Host: such a request is for the address that it came to. (HTTP/1.1 does demand it: without
/// one the container answers 400.)
fn name_host<B>(request: &mut Request<B>, local: SocketAddr) {
    let is_named = request.headers().contains_key(HOST) || request.uri().authority().is_some();
    if request.version() == Version::HTTP_10
        && !is_named
        && let Ok(host) = HeaderValue::try_from(local.to_string())
    {
        request.headers_mut().insert(HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_request_without_a_host_is_for_the_pod() {
        let local = SocketAddr::from(([127, 64, 0, 5], 8080));
        let host = |version, own: Option<&str>| {
            let mut request = Request::get("/").version(version);
            if let Some(own) = own {
                request = request.header(HOST, own);
            }
            let mut request = request.body(()).unwrap();
            name_host(&mut request, local);
            request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned())
        };
        assert_eq!(host(Version::HTTP_10, None).as_deref(), Some("127.64.0.5:8080"));
        assert_eq!(host(Version::HTTP_10, Some("web")).as_deref(), Some("web"));
        assert_eq!(host(Version::HTTP_11, None), None);
    }
}
