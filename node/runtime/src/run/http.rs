//! An HTTP component: a fresh instance per request, a bounded number at once, a bounded queue
//! before them. A trap costs its own request; memory or fuel beyond the container's limit end
//! the container.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::{HyperIncomingBody, HyperOutgoingBody};
use wasmtime_wasi_http::{Error, WasiHttpView};

use crate::blueprint::Blueprint;
use crate::container::{BodyError, EndOnDrop, ResponseBody, Shared};
use crate::module::{Place, Program};
use crate::state::{ComponentState, settle_fuel};
use crate::{Exit, ExitReason, HttpLimits, StartError, Stream};

/// A store, and what is to be instantiated in it.
type Instance = (Store<ComponentState>, ProxyPre<ComponentState>);
type Head = oneshot::Sender<Result<Response<HyperOutgoingBody>, ErrorCode>>;

pub(crate) struct HttpServer {
    shared: Arc<Shared>,
    blueprint: Blueprint,
    limits: HttpLimits,
    slots: Arc<Semaphore>,
    queued: AtomicU32,
    instances: AtomicU32,
    requests: TaskTracker,
    /// An end that one request brings upon the whole container.
    fatal: watch::Sender<Option<Exit>>,
    span: Span,
}

impl HttpServer {
    pub(crate) fn new(shared: Arc<Shared>, blueprint: Blueprint, limits: &HttpLimits, span: Span) -> Arc<Self> {
        // With a budget of fuel one request runs at a time: each starts with what is left.
        let concurrent = if blueprint.fuel.is_some() { 1 } else { limits.max_concurrent.max(1) };
        Arc::new(Self {
            shared,
            blueprint,
            limits: limits.clone(),
            slots: Arc::new(Semaphore::new(concurrent as usize)),
            queued: AtomicU32::new(0),
            instances: AtomicU32::new(0),
            requests: TaskTracker::new(),
            fatal: watch::channel(None).0,
            span,
        })
    }

    pub(crate) fn instances(&self) -> u32 {
        self.instances.load(Relaxed)
    }

    /// The container's own task: tries one instance, so that a component that can't even start
    /// ends at once, then waits for a reason to end.
    pub(crate) async fn supervise(self: Arc<Self>, first: Instance) {
        let end = EndOnDrop(self.shared.clone());
        let exit = match self.shared.run(try_out(first)).await {
            Err(exit) => exit,
            Ok(()) => self.reason_to_end().await,
        };
        self.shared.kill.cancel();
        self.requests.close();
        self.requests.wait().await;
        self.shared.end(exit);
        drop(end);
    }

    async fn reason_to_end(&self) -> Exit {
        let mut fatal = self.fatal.subscribe();
        let mut stop = self.shared.stop.subscribe();
        let drained = async {
            let _ = stop.wait_for(Option::is_some).await;
            self.requests.close();
            self.requests.wait().await;
        };
        tokio::select! {
            biased;
            () = self.shared.kill.cancelled() => Exit::killed(),
            exit = fatal.wait_for(Option::is_some) => {
                exit.ok().and_then(|exit| exit.clone()).unwrap_or_else(Exit::killed)
            }
            () = drained => Exit::code(0),
        }
    }

    fn closed(&self) -> bool {
        self.shared.stop.borrow().is_some() || self.shared.kill.is_cancelled() || self.shared.exit.borrow().is_some()
    }

    /// See [`Container::handle`](crate::Container::handle).
    pub(crate) async fn handle<B>(self: &Arc<Self>, request: Request<B>) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let request = request.map(|body| {
            let error = |error: B::Error| Error::InternalError(Some(error.into().to_string()));
            body.map_err(error).boxed_unsync()
        });
        match tokio::time::timeout(self.limits.head_timeout, self.serve(request)).await {
            Ok(Ok(response)) | Ok(Err(response)) => response,
            Err(_) => answer(StatusCode::GATEWAY_TIMEOUT, "the guest took too long\n"),
        }
    }

    async fn serve(
        self: &Arc<Self>,
        request: Request<HyperIncomingBody>,
    ) -> Result<Response<ResponseBody>, Response<ResponseBody>> {
        if request.uri().authority().is_none() && !request.headers().contains_key(http::header::HOST) {
            return Err(answer(StatusCode::BAD_REQUEST, "the request names no host\n"));
        }
        let permit = self.permit().await?;
        let place = self.place().map_err(|_| unavailable())?;
        let (head, answered) = oneshot::channel();
        let task = self.clone().request(request, head, place, permit).instrument(self.span.clone());
        let task = self.requests.track_future(task);
        let task = self.shared.guests.handle.spawn(task);
        // Until the head is there, a caller that goes away takes the request with it.
        let abort = AbortOnDrop(Some(task.abort_handle()));
        let answered = answered.await;
        abort.disarm();
        match answered {
            Ok(Ok(response)) => Ok(response.map(|body| body.map_err(BodyError::from).boxed_unsync())),
            Ok(Err(code)) => Err(self.failed(&format!("the guest answered with an error: {code:?}"))),
            Err(_) => Err(match task.await {
                Ok(Err(exit)) if exit.reason == ExitReason::Killed => unavailable(),
                Ok(Err(exit)) => self.failed(&exit.message),
                Ok(Ok(())) => self.failed("the guest ended without a response"),
                Err(_) => unavailable(),
            }),
        }
    }

    /// Room for one more instance in the process.
    fn place(&self) -> Result<(ProxyPre<ComponentState>, Place), StartError> {
        match self.blueprint.module.place(&self.shared.guests.admission)? {
            (Program::HttpComponent(pre), place) => Ok((pre.clone(), place)),
            _ => Err(StartError::Engine("no HTTP component".to_owned())),
        }
    }

    /// Room to run in, after a turn in the queue.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, Response<ResponseBody>> {
        if self.closed() {
            return Err(unavailable());
        }
        if let Ok(permit) = self.slots.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let queued = Counted::new(&self.queued);
        if queued.before >= self.limits.max_queued {
            return Err(unavailable());
        }
        let permit = self.slots.clone().acquire_owned().await.map_err(|_| unavailable())?;
        if self.closed() { Err(unavailable()) } else { Ok(permit) }
    }

    /// One request in an instance of its own, to the end of what the guest does with it.
    async fn request(
        self: Arc<Self>,
        request: Request<HyperIncomingBody>,
        head: Head,
        place: (ProxyPre<ComponentState>, Place),
        _permit: OwnedSemaphorePermit,
    ) -> Result<(), Exit> {
        let _counted = Counted::new(&self.instances);
        let result = self.shared.run(self.call(request, head, place)).await;
        if let Err(exit) = &result {
            match exit.reason {
                ExitReason::OomKilled | ExitReason::FuelExhausted => {
                    self.fatal.send_replace(Some(exit.clone()));
                }
                _ => {}
            }
        }
        result
    }

    async fn call(
        &self,
        request: Request<HyperIncomingBody>,
        head: Head,
        (pre, place): (ProxyPre<ComponentState>, Place),
    ) -> Result<(), Exit> {
        let mut store = self
            .blueprint
            .component_store(pre.engine(), place)
            .map_err(|error| Exit::host_failure(error.to_string()))?;
        let result = async {
            let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
            let out = store.data_mut().http().new_response_outparam(head)?;
            let proxy = pre.instantiate_async(&mut store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
        }
        .await;
        settle_fuel(&store);
        match result.map_err(|error| Exit::from_error(&error)) {
            // A guest may end its program once it has answered.
            Err(exit) if exit.reason == ExitReason::Completed => Ok(()),
            other => other,
        }
    }

    /// 500 for the caller; what happened goes to the container's log.
    fn failed(&self, message: &str) -> Response<ResponseBody> {
        let line = format!("{}\n", message.trim_end());
        self.blueprint.spec.output.write(Stream::Stderr, line.as_bytes());
        answer(StatusCode::INTERNAL_SERVER_ERROR, "the guest failed\n")
    }
}

/// Instantiates and lets go.
async fn try_out((mut store, pre): Instance) -> Result<(), Exit> {
    let result = pre.instantiate_async(&mut store).await;
    settle_fuel(&store);
    result.map(drop).map_err(|error| Exit::from_error(&error))
}

struct AbortOnDrop(Option<AbortHandle>);

impl AbortOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// One more, until dropped.
struct Counted<'a> {
    counter: &'a AtomicU32,
    before: u32,
}

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicU32) -> Self {
        Self { counter, before: counter.fetch_add(1, Relaxed) }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Relaxed);
    }
}

fn unavailable() -> Response<ResponseBody> {
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, "no guest is free\n");
    response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    response
}

/// An answer of the host's own.
pub(crate) fn answer(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}
