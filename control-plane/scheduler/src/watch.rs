//! Lists and watches one kind for ever, and hands what it sees to the scheduler in small, already
//! decoded views. Level-triggered: whenever the watch cannot go on, everything is listed anew.

use std::time::Duration;

use futures::TryStreamExt;
use kube::Client;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::node::{Node, WireNode};
use crate::pod::{SeenPod, WirePod};

/// Objects per page of a list.
const PAGE: u32 = 500;
/// The server ends a watch after this many seconds; it is then continued. Less than client
/// libraries' usual limit of 295.
const WATCH_SECONDS: u32 = 290;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A kind that the scheduler watches.
pub(crate) trait Watched: DeserializeOwned + Clone + Send + 'static {
    const PATH: &'static str;
    type View: Send + 'static;

    fn resource_version(&self) -> &str;
    fn view(self) -> Self::View;
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Change<V> {
    /// This is all there is.
    All(Vec<V>),
    Set(V),
    Gone(V),
}

impl Watched for WirePod {
    const PATH: &'static str = "/api/v1/pods";
    type View = SeenPod;

    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }

    fn view(self) -> SeenPod {
        self.into()
    }
}

impl Watched for WireNode {
    const PATH: &'static str = "/api/v1/nodes";
    type View = Node;

    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }

    fn view(self) -> Node {
        self.into()
    }
}

#[derive(Deserialize)]
struct Page<T> {
    metadata: PageMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Why a list or watch ended before its time.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The place where the watch stood is gone: list anew.
    #[error("the resource version has expired")]
    Expired,
    #[error("the request cannot be built")]
    Request(#[from] kube::core::request::Error),
    #[error("the API server did not answer")]
    Api(#[source] kube::Error),
    /// Nobody listens any more.
    #[error("stopped")]
    Stopped,
}

impl From<kube::Error> for Ended {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 410 => Self::Expired,
            other => Self::Api(other),
        }
    }
}

/// Watch `T` until nobody listens.
pub(crate) async fn watch<T: Watched>(client: Client, changes: mpsc::Sender<Change<T::View>>) {
    let mut pause = FIRST_PAUSE;
    let mut place: Option<String> = None;
    loop {
        let before = place.clone();
        let ended = match follow::<T>(&client, &changes, &mut place).await {
            Ok(()) => {
                pause = FIRST_PAUSE;
                continue;
            }
            Err(ended) => ended,
        };
        if before != place {
            pause = FIRST_PAUSE;
        }
        match ended {
            Ended::Stopped => return,
            Ended::Expired => {
                tracing::debug!(path = T::PATH, "watch expired, listing anew");
                place = None;
            }
            Ended::Request(_) | Ended::Api(_) => {
                tracing::warn!(path = T::PATH, error = %ended, source = ?source(&ended), "watch interrupted");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = changes.closed() => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn source(ended: &Ended) -> Option<String> {
    std::error::Error::source(ended).map(ToString::to_string)
}

/// List unless there is a place to go on from, then watch until the server ends it.
async fn follow<T: Watched>(
    client: &Client,
    changes: &mpsc::Sender<Change<T::View>>,
    place: &mut Option<String>,
) -> Result<(), Ended> {
    let from = match place {
        Some(from) => from.clone(),
        None => {
            let (items, version) = list::<T>(client).await?;
            let views = items.into_iter().map(T::view).collect();
            send(changes, Change::All(views)).await?;
            place.insert(version).clone()
        }
    };
    let parameters = WatchParams { timeout: Some(WATCH_SECONDS), ..WatchParams::default() };
    let request = Request::new(T::PATH).watch(&parameters, &from)?;
    let mut events = std::pin::pin!(client.request_events::<T>(request).await?);
    loop {
        let event = tokio::select! {
            event = events.try_next() => event?,
            () = changes.closed() => return Err(Ended::Stopped),
        };
        let Some(event) = event else { return Ok(()) };
        let (version, change) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                (object.resource_version().to_owned(), Some(Change::Set(object.view())))
            }
            WatchEvent::Deleted(object) => (object.resource_version().to_owned(), Some(Change::Gone(object.view()))),
            WatchEvent::Bookmark(bookmark) => (bookmark.metadata.resource_version, None),
            WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
        };
        if let Some(change) = change {
            send(changes, change).await?;
        }
        *place = Some(version);
    }
}

async fn list<T: Watched>(client: &Client) -> Result<(Vec<T>, String), Ended> {
    let mut parameters = ListParams::default().limit(PAGE);
    let mut items = Vec::new();
    loop {
        let request = Request::new(T::PATH).list(&parameters)?;
        let mut page: Page<T> = client.request(request).await?;
        items.append(&mut page.items);
        match page.metadata.next.filter(|next| !next.is_empty()) {
            Some(next) => parameters.continue_token = Some(next),
            None => return Ok((items, page.metadata.resource_version)),
        }
    }
}

async fn send<V>(changes: &mpsc::Sender<Change<V>>, change: Change<V>) -> Result<(), Ended> {
    changes.send(change).await.map_err(|_| Ended::Stopped)
}
