//! The handle to a running container.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

use crate::Exit;

/// An error while a body is streamed.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a guest's response.
pub type ResponseBody = UnsyncBoxBody<Bytes, BodyError>;

/// What a container has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// CPU time of the guest and of the host on its behalf, since start.
    pub cpu_time: Duration,
    /// Linear memories and tables now.
    pub memory_bytes: u64,
    /// The highest value of `memory_bytes` so far.
    pub memory_peak_bytes: u64,
    /// Fuel used since start; zero without a fuel limit.
    pub fuel_used: u64,
    /// Live instances: one for a command, one per request being served for HTTP.
    pub instances: u32,
    /// Time spent held back by the CPU limit.
    pub throttled: Duration,
}

/// A handle to a running container; clones are the same container. The container runs on when
/// all handles are gone.
#[derive(Clone)]
pub struct Container {}

impl Container {
    /// The end of the container; at once if it has ended already. Any number of waiters.
    pub async fn wait(&self) -> Exit {
        std::future::pending().await
    }

    /// The end, if it has ended.
    pub fn exit(&self) -> Option<Exit> {
        None
    }

    /// Asks the guest to end within `grace`: flips the shutdown signal of the `skiff:pod` world;
    /// an HTTP container takes no more requests and ends with code 0 when those it has are
    /// answered. Nothing is forced: see [`kill`](Self::kill).
    pub fn signal_stop(&self, grace: Duration) {
        let _ = grace;
    }

    /// Ends the container: a running guest at its next epoch (1 ms), one in a host call by
    /// dropping it. [`wait`](Self::wait) tells when it is gone.
    pub fn kill(&self) {}

    /// What it has used so far.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Serves one request with an HTTP component. Failures are answers: 503 when the queue is
    /// full or the container is stopping, 500 when the guest traps or gives no response, 504
    /// when it takes too long, 501 when this is no HTTP component.
    pub async fn handle<B>(&self, request: http::Request<B>) -> http::Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let _ = request;
        std::future::pending().await
    }
}
