//! List, then watch, then list again when the history is gone: one kind's state kept in a [`Sink`].
//!
//! Guarantee: after `replaced`, the sink sees every change in order. It may see a change twice (after a
//! broken connection), never miss one.

use futures::StreamExt;
use kube::Client;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::{ObjectList, Request};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Items per page of a list.
const PAGE: u32 = 1000;
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LAST_WAIT: Duration = Duration::from_secs(30);

/// What of the objects to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    Whole,
    /// Whole, but only those with this name.
    Named(&'static str),
    /// `PartialObjectMetadata`.
    Metadata,
}

/// The field selector for objects called `name`.
fn called(name: &str) -> String {
    format!("metadata.name={name}")
}

/// Receives one kind's state.
pub trait Sink<T>: Send + Sync + 'static {
    /// The whole state as of `revision`.
    fn replaced(&self, items: Vec<T>, revision: u64);
    /// Added or modified.
    fn applied(&self, item: T);
    fn deleted(&self, item: T);
    /// Everything up to `revision` was seen.
    fn reached(&self, _revision: u64) {}
}

/// What carries an object's version.
pub trait Versioned {
    fn version(&self) -> Option<&str>;
}

impl<K: kube::Resource> Versioned for K {
    fn version(&self) -> Option<&str> {
        self.meta().resource_version.as_deref()
    }
}

/// A revision as a number. Kubernetes promises comparable ones (KEP-5504).
#[must_use]
pub fn revision(text: Option<&str>) -> u64 {
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

/// The endless task that keeps `sink` equal to the collection at `path`; ends with `token`.
pub async fn reflect<T>(client: Client, path: String, depth: Depth, sink: Arc<dyn Sink<T>>, token: CancellationToken)
where
    T: Versioned + Clone + DeserializeOwned + Send + 'static,
{
    let reflector = Reflector { client, request: Request::new(path), depth, sink };
    token.run_until_cancelled_owned(reflector.run()).await;
}

struct Reflector<T> {
    client: Client,
    request: Request,
    depth: Depth,
    sink: Arc<dyn Sink<T>>,
}

/// Why a watch ended.
enum End {
    /// The server closed it, as it does every few minutes.
    Closed,
    /// The history is gone: list again.
    Expired,
    Failed(kube::Error),
}

impl<T: Versioned + Clone + DeserializeOwned + Send + 'static> Reflector<T> {
    async fn run(self) {
        let mut wait = FIRST_WAIT;
        loop {
            let mut version = match self.list().await {
                Ok(version) => version,
                Err(error) => {
                    self.report("list", &error, wait);
                    sleep(wait).await;
                    wait = (wait * 2).min(LAST_WAIT);
                    continue;
                }
            };
            loop {
                let started = Instant::now();
                let end = self.watch(&mut version).await;
                if started.elapsed() > Duration::from_secs(5) {
                    wait = FIRST_WAIT;
                }
                match end {
                    End::Expired => break,
                    End::Closed if started.elapsed() > Duration::from_secs(1) => continue,
                    End::Closed => {}
                    End::Failed(error) => self.report("watch", &error, wait),
                }
                sleep(wait).await;
                wait = (wait * 2).min(LAST_WAIT);
            }
        }
    }

    fn report(&self, step: &'static str, error: &kube::Error, wait: Duration) {
        if wait > Duration::from_secs(1) {
            warn!(path = %self.request.url_path, %error, "cannot {step}");
        } else {
            debug!(path = %self.request.url_path, %error, "cannot {step}");
        }
    }

    /// Fills the sink; returns the version to watch from.
    async fn list(&self) -> Result<String, kube::Error> {
        let mut items = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let request = match self.depth {
                Depth::Whole => self.request.list(&params),
                Depth::Named(name) => self.request.list(&params.clone().fields(&called(name))),
                Depth::Metadata => self.request.list_metadata(&params),
            };
            let request = request.map_err(kube::Error::BuildRequest)?;
            let page: ObjectList<T> = self.client.request(request).await?;
            items.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => {
                    let version = page.metadata.resource_version.unwrap_or_default();
                    self.sink.replaced(items, revision(Some(&version)));
                    return Ok(version);
                }
            }
        }
    }

    async fn watch(&self, version: &mut String) -> End {
        let params = WatchParams::default();
        let request = match self.depth {
            Depth::Whole => self.request.watch(&params, version),
            Depth::Named(name) => self.request.watch(&params.fields(&called(name)), version),
            Depth::Metadata => self.request.watch_metadata(&params, version),
        };
        let events = match request.map_err(kube::Error::BuildRequest) {
            Ok(request) => self.client.request_events::<T>(request).await,
            Err(error) => Err(error),
        };
        let events = match events {
            Ok(events) => events,
            Err(error) => return ended(error),
        };
        let mut events = std::pin::pin!(events);
        loop {
            let item = match events.next().await {
                None => return End::Closed,
                Some(Err(error)) => return ended(error),
                Some(Ok(WatchEvent::Error(status))) => return ended(kube::Error::Api(status)),
                Some(Ok(WatchEvent::Bookmark(mark))) => {
                    *version = mark.metadata.resource_version;
                    self.sink.reached(revision(Some(version)));
                    continue;
                }
                Some(Ok(WatchEvent::Added(item) | WatchEvent::Modified(item))) => Change::Applied(item),
                Some(Ok(WatchEvent::Deleted(item))) => Change::Deleted(item),
            };
            match item {
                Change::Applied(item) => {
                    note(version, &item);
                    self.sink.applied(item);
                }
                Change::Deleted(item) => {
                    note(version, &item);
                    self.sink.deleted(item);
                }
            }
        }
    }
}

enum Change<T> {
    Applied(T),
    Deleted(T),
}

fn note<T: Versioned>(version: &mut String, item: &T) {
    if let Some(seen) = item.version() {
        seen.clone_into(version);
    }
}

fn ended(error: kube::Error) -> End {
    match &error {
        kube::Error::Api(status) if status.code == 410 || status.reason == "Expired" => End::Expired,
        _ => End::Failed(error),
    }
}
