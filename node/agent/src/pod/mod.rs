//! One pod on this node: its latest object, its record, and the signals between the parts that work
//! on it. Knows nothing of other pods.

pub mod record;
pub mod status;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{self, Container, ObjectReference, PodSpec};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::context::NodeContext;
use crate::events::EventType;
use crate::volumes::VolumeSet;
use record::{ContainerRecord, PodRecord};

pub use writer::write_loop;

/// The pod object as last seen.
#[derive(Clone, Debug)]
pub struct Seen {
    pub pod: Arc<v1::Pod>,
    /// It no longer exists in the API.
    pub gone: bool,
}

/// A pod's shared state; its one task and the kubelet API hold it.
pub struct PodContext {
    pub node: Arc<NodeContext>,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    seen: watch::Sender<Seen>,
    record: Mutex<PodRecord>,
    /// Counts the changes of the record that a reader of the status would notice.
    changes: watch::Sender<u64>,
    /// The value of `changes` that the API server is known to have.
    written: watch::Sender<u64>,
    pub net: Mutex<Option<Arc<network::PodNet>>>,
    pub volumes: Mutex<Option<Arc<VolumeSet>>>,
}

impl PodContext {
    /// A pod that has just been seen. `None` for an object without the fields every stored pod has.
    pub fn new(node: Arc<NodeContext>, pod: Arc<v1::Pod>) -> Option<Arc<Self>> {
        let meta = &pod.metadata;
        let (namespace, name, uid) = (meta.namespace.clone()?, meta.name.clone()?, meta.uid.clone()?);
        let record = PodRecord::new(pod.spec.as_ref()?);
        Some(Arc::new(Self {
            node,
            namespace,
            name,
            uid,
            seen: watch::Sender::new(Seen { pod, gone: false }),
            record: Mutex::new(record),
            changes: watch::Sender::new(0),
            written: watch::Sender::new(0),
            net: Mutex::new(None),
            volumes: Mutex::new(None),
        }))
    }

    /// The object as last seen.
    pub fn object(&self) -> Arc<v1::Pod> {
        Arc::clone(&self.seen.borrow().pod)
    }

    /// Follows the object.
    pub fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// A newer version of the object was seen. What others changed in its readiness is answered: a readiness gate
    /// decides on Ready, and a Ready that isn't ours is put right.
    pub fn observe(&self, pod: Arc<v1::Pod>) {
        let before = self.object();
        let answer = status::readiness(&before) != status::readiness(&pod);
        self.seen.send_modify(|seen| seen.pod = pod);
        if answer {
            self.publish();
        }
    }

    /// The object no longer exists.
    pub fn vanish(&self) {
        self.seen.send_modify(|seen| seen.gone = true);
    }

    pub fn is_gone(&self) -> bool {
        self.seen.borrow().gone
    }

    /// Reads the record.
    pub fn read<T>(&self, read: impl FnOnce(&PodRecord) -> T) -> T {
        read(&self.record.lock())
    }

    /// Changes the record and has the new status written.
    pub fn change<T>(&self, change: impl FnOnce(&mut PodRecord) -> T) -> T {
        let out = change(&mut self.record.lock());
        self.publish();
        out
    }

    /// Changes the record; whoever changes it next visibly will write this, too. For what is likely
    /// overtaken within milliseconds.
    pub fn change_quietly<T>(&self, change: impl FnOnce(&mut PodRecord) -> T) -> T {
        change(&mut self.record.lock())
    }

    /// As [`change`](Self::change), for one container.
    pub fn change_container<T>(&self, index: usize, change: impl FnOnce(&mut ContainerRecord) -> T) -> T {
        self.change(|record| change(&mut record.containers[index]))
    }

    /// Has the present status written, and wakes whoever follows the record.
    pub fn publish(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Wakes at each visible change of the record.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until the API server has everything that the record said at the call.
    pub async fn flush(&self) {
        let wanted = *self.changes.borrow();
        let mut written = self.written.subscribe();
        // The sender is in `self`: it can't be gone.
        let _ = written.wait_for(|n| *n >= wanted).await;
    }

    /// Resolves when the pod is to stop: deleted with a grace period, or gone altogether.
    pub async fn stop_requested(&self) {
        let mut seen = self.seen.subscribe();
        let _ = seen.wait_for(|s| s.gone || s.pod.metadata.deletion_timestamp.is_some()).await;
    }

    /// Resolves when the object no longer exists.
    pub async fn gone(&self) {
        let mut seen = self.seen.subscribe();
        let _ = seen.wait_for(|s| s.gone).await;
    }

    /// `podname_namespace(uid)`, as the kubelet's messages name pods.
    pub fn title(&self) -> String {
        format!("{}_{}({})", self.name, self.namespace, self.uid)
    }

    pub fn logs_dir(&self) -> PathBuf {
        crate::logs::pod_dir(&self.node.logs_dir(), &self.namespace, &self.name, &self.uid)
    }

    pub fn volumes_dir(&self) -> PathBuf {
        self.node.volumes_dir().join(&self.uid)
    }

    /// Records an event about the pod.
    pub fn event(&self, type_: EventType, reason: &'static str, message: impl Into<String>) {
        self.node.recorder.record(self.reference(None), type_, reason, message.into());
    }

    /// Records an event about one container.
    pub fn container_event(&self, index: usize, type_: EventType, reason: &'static str, message: impl Into<String>) {
        let field = self.read(|r| {
            let c = &r.containers[index];
            let list = if c.role == record::Role::App { "containers" } else { "initContainers" };
            format!("spec.{list}{{{}}}", c.name)
        });
        self.node.recorder.record(self.reference(Some(field)), type_, reason, message.into());
    }

    fn reference(&self, field_path: Option<String>) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.clone()),
            resource_version: self.seen.borrow().pod.metadata.resource_version.clone(),
            field_path,
        }
    }
}

/// The container at `index` in the record's order: init containers first.
pub fn container(pod: &v1::Pod, index: usize) -> Option<&Container> {
    let spec = pod.spec.as_ref()?;
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    inits.get(index).or_else(|| spec.containers.get(index.checked_sub(inits.len())?))
}

/// The pod's spec; every stored pod has one.
pub fn spec(pod: &v1::Pod) -> &PodSpec {
    static EMPTY: std::sync::OnceLock<PodSpec> = std::sync::OnceLock::new();
    pod.spec.as_ref().unwrap_or_else(|| EMPTY.get_or_init(PodSpec::default))
}
