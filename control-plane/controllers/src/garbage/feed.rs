//! Feeds the graph: from the shared informers where there is one, else from a metadata watch per resource; follows
//! discovery as CRDs come and go.

use super::discovery::{Catalog, Served};
use super::graph::{Graph, Object};
use super::{Collector, key};
use crate::context::{Context, Informers, each_informer};
use crate::frame::access::{Access, Kind};
use crate::frame::informer::{Change, Informer};
use crate::frame::queue::Queue;
use crate::frame::reflector::{Depth, Sink, reflect};
use crate::frame::runner::{Reconciler, run};
use crate::k8s::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, warn};

/// How often discovery is asked for new kinds.
const REDISCOVER: Duration = Duration::from_secs(30);
/// After an unknown kind asked for it: owners of unknown kinds come in bursts, and one look serves them all.
const SETTLE: Duration = Duration::from_secs(1);
/// Never collected, as in Kubernetes: they expire.
const IGNORED: [&str; 2] = ["events", "events.events.k8s.io"];
/// What comes and goes with these is another set of kinds.
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Where changes of one resource go.
struct Intake {
    served: Arc<Served>,
    graph: Arc<Mutex<Graph>>,
    queue: Arc<Queue>,
    synced: watch::Sender<bool>,
    /// Has discovery asked again; only where the objects are definitions of kinds.
    refresh: Option<Arc<Notify>>,
}

impl Intake {
    fn put(&self, meta: &ObjectMeta) {
        self.rediscover();
        let Some(uid) = meta.uid.as_deref() else { return };
        let look = self.graph.lock().put(uid, Object::new(&self.served, meta));
        self.enqueue(&look);
    }

    fn rediscover(&self) {
        if let Some(refresh) = &self.refresh {
            refresh.notify_one();
        }
    }

    fn remove(&self, uid: &str) {
        self.rediscover();
        let look = self.graph.lock().remove(uid);
        self.enqueue(&look);
    }

    fn enqueue(&self, uids: &[String]) {
        for uid in uids {
            self.queue.add(key(uid));
        }
    }
}

type Meta = PartialObjectMeta<DynamicObject>;

impl Sink<Meta> for Intake {
    fn replaced(&self, items: Vec<Meta>, _: u64) {
        let listed: HashSet<_> = items.iter().filter_map(|item| item.metadata.uid.clone()).collect();
        let gone = self.graph.lock().uids_of(&self.served);
        for uid in gone.iter().filter(|uid| !listed.contains(*uid)) {
            self.remove(uid);
        }
        for item in &items {
            self.put(&item.metadata);
        }
        self.synced.send_replace(true);
    }

    fn applied(&self, item: Meta) {
        self.put(&item.metadata);
    }

    fn deleted(&self, item: Meta) {
        self.remove(item.metadata.uid.as_deref().unwrap_or_default());
    }
}

pub struct Feed {
    access: Access,
    graph: Arc<Mutex<Graph>>,
    queue: Arc<Queue>,
    catalog: Arc<Mutex<Arc<Catalog>>>,
    refresh: Arc<Notify>,
    informers: Informers,
    /// What the informers bring already.
    shared: HashSet<ApiResource>,
    token: CancellationToken,
}

impl Feed {
    pub fn new(context: &Context, graph: Arc<Mutex<Graph>>, queue: Arc<Queue>) -> Self {
        let mut shared = HashSet::new();
        each_informer!(&context.informers, informer => attach(informer, &graph, &queue, &mut shared));
        Self {
            access: context.access.clone(),
            graph,
            queue,
            catalog: Arc::default(),
            refresh: Arc::default(),
            informers: context.informers.clone(),
            shared,
            token: context.token.clone(),
        }
    }

    pub fn catalog(&self) -> Arc<Mutex<Arc<Catalog>>> {
        Arc::clone(&self.catalog)
    }

    /// Notify it to have discovery asked again soon.
    pub fn refresher(&self) -> Arc<Notify> {
        Arc::clone(&self.refresh)
    }

    /// Starts the watches, and the collector once all of them have their first list.
    pub fn start(self, context: &Context, tasks: &mut JoinSet<()>, collector: Arc<Collector>, queue: Arc<Queue>) {
        let entry = context.ledger.entry(Collector::NAME);
        let clock = context.clock.clone();
        let task = async move {
            let token = self.token.clone();
            let informers = self.informers.clone();
            let mut watches = JoinSet::new();
            let mut running = HashMap::new();
            let ready = token.run_until_cancelled(async {
                self.informers.synced().await;
                self.first_watches(&mut running, &mut watches).await;
            });
            if ready.await.is_none() {
                return;
            }
            drop(informers);
            for key in collector.keys() {
                queue.add(key);
            }
            let follow = self.follow(running, &mut watches);
            tokio::select! {
                () = follow => {}
                () = run(collector, queue, entry, clock, token) => {}
            }
        };
        tasks.spawn(task.instrument(tracing::info_span!("controller", name = Collector::NAME)));
    }

    async fn first_watches(&self, running: &mut HashMap<ApiResource, CancellationToken>, watches: &mut JoinSet<()>) {
        let mut wait = Duration::from_millis(20);
        let catalog = loop {
            match Catalog::read(&self.access).await {
                Ok(catalog) => break catalog,
                Err(error) => {
                    debug!(%error, "cannot discover yet");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(REDISCOVER);
                }
            }
        };
        let synced = self.adopt(catalog, running, watches);
        for mut synced in synced {
            // A kind that cannot be listed must not stop the collection of all others.
            let _ = tokio::time::timeout(REDISCOVER, synced.wait_for(|synced| *synced)).await;
        }
    }

    async fn follow(&self, mut running: HashMap<ApiResource, CancellationToken>, watches: &mut JoinSet<()>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(REDISCOVER) => {}
                () = self.refresh.notified() => tokio::time::sleep(SETTLE).await,
            }
            while watches.try_join_next().is_some() {}
            match Catalog::read(&self.access).await {
                Ok(catalog) => {
                    self.adopt(catalog, &mut running, watches);
                }
                Err(error) => warn!(%error, "discovery failed: new kinds are not collected yet"),
            }
        }
    }

    /// Starts and stops watches so that they fit the catalog.
    fn adopt(
        &self,
        catalog: Catalog,
        running: &mut HashMap<ApiResource, CancellationToken>,
        watches: &mut JoinSet<()>,
    ) -> Vec<watch::Receiver<bool>> {
        let wanted: HashMap<_, _> = catalog
            .preferred
            .iter()
            .filter(|served| served.watchable && !IGNORED.contains(&served.name().as_str()))
            .filter(|served| !self.shared.contains(&served.resource))
            .map(|served| (served.resource.clone(), served))
            .collect();
        running.retain(|resource, token| {
            let stays = wanted.contains_key(resource);
            if !stays {
                token.cancel();
            }
            stays
        });
        let mut synced = Vec::new();
        for (resource, served) in wanted {
            if running.contains_key(&resource) {
                continue;
            }
            let token = self.token.child_token();
            let intake = Intake {
                served: Arc::clone(served),
                graph: Arc::clone(&self.graph),
                queue: Arc::clone(&self.queue),
                synced: watch::Sender::new(false),
                refresh: (served.name() == DEFINITIONS).then(|| Arc::clone(&self.refresh)),
            };
            synced.push(intake.synced.subscribe());
            let span = tracing::info_span!("metadata", resource = %served.name());
            let sink: Arc<dyn Sink<Meta>> = Arc::new(intake);
            let client = self.access.client().clone();
            watches.spawn(reflect(client, served.path(None), Depth::Metadata, sink, token.clone()).instrument(span));
            running.insert(resource, token);
        }
        *self.catalog.lock() = Arc::new(catalog);
        synced
    }
}

/// Lets the graph hear what an informer hears, if the informer runs and hears all of its kind.
fn attach<K: Kind>(
    informer: &Informer<K>,
    graph: &Arc<Mutex<Graph>>,
    queue: &Arc<Queue>,
    shared: &mut HashSet<ApiResource>,
) {
    if !informer.is_wanted() || !informer.is_complete() {
        return;
    }
    let resource = ApiResource::erase::<K>(&());
    let namespaced = K::url_path(&(), Some("x")) != K::url_path(&(), None);
    let served = Served { resource: resource.clone(), namespaced, watchable: true, collection_deletable: true };
    let intake = Intake {
        served: Arc::new(served),
        graph: Arc::clone(graph),
        queue: Arc::clone(queue),
        synced: watch::Sender::new(true),
        refresh: None,
    };
    shared.insert(resource);
    informer.on_change(move |change| match change {
        Change::Deleted(object) => intake.remove(object.meta().uid.as_deref().unwrap_or_default()),
        Change::Added(object) => intake.put(object.meta()),
        Change::Updated { old, new } => {
            if old.meta().uid != new.meta().uid {
                intake.remove(old.meta().uid.as_deref().unwrap_or_default());
            }
            intake.put(new.meta());
        }
    });
}
