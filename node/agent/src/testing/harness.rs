//! One agent on a fake API server, with everything below it real.

use std::sync::{Arc, OnceLock};

use network::{Cidr, Network};
use runtime::{CompilerCommand, Runtime};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::FakeApi;
use crate::{Agent, Config, ServiceSync};

pub const PODS: &str = "/api/v1/pods";
pub const NODE: &str = "n1";

/// The runtime of all tests in this process: its address space is too large to have many.
fn runtime() -> Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    let make = || {
        let dir = tempfile::tempdir().unwrap().keep();
        let compiler = CompilerCommand::libtest(std::env::current_exe().unwrap(), "testing::compile_child");
        let mut config = runtime::Config::new(dir, compiler);
        config.max_instances = 64;
        Runtime::new(config).unwrap()
    };
    RUNTIME.get_or_init(make).clone()
}

pub struct Harness {
    pub api: FakeApi,
    pub dir: tempfile::TempDir,
    pub agent: Arc<Agent>,
    network: Arc<Network>,
    range: Cidr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    pods: u32,
}

impl Harness {
    pub async fn start() -> Self {
        Self::with_pods(100).await
    }

    pub async fn with_pods(pods: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let api = FakeApi::new();
        let bits: u32 = rand::random();
        let octets = bits.to_be_bytes();
        let range = Cidr::new([127, 64 + (octets[0] & 15), octets[1], octets[2]].into(), 24);
        let network = Network::new(network::Config::default());
        let (agent, stop, task) = launch(&api, &dir, &network, range, pods);
        let harness = Self { api, dir, agent, network, range, stop, task, pods };
        harness.api.wait("the node", |api| api.get("/api/v1/nodes", "", NODE)).await;
        harness
    }

    /// Stops the agent as a crash would (its guests are gone) and starts another.
    pub async fn restart(&mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
        (self.agent, self.stop, self.task) = launch(&self.api, &self.dir, &self.network, self.range, self.pods);
    }

    /// Makes `wat` an image.
    pub fn image(&self, name: &str, wat: &str) {
        let bytes = wat::parse_str(wat).unwrap();
        self.image_bytes(name, &bytes);
    }

    pub fn image_bytes(&self, name: &str, bytes: &[u8]) {
        open_images(&self.dir).import_bytes(name, bytes).unwrap();
    }

    /// Creates a pod bound to the node; `spec` needs no `nodeName`.
    pub fn pod(&self, name: &str, mut spec: Value) {
        spec["nodeName"] = json!(NODE);
        spec["terminationGracePeriodSeconds"] = json!(2);
        let metadata = json!({"name": name, "namespace": "default", "labels": {"app": name}});
        self.api.create(
            PODS,
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec,
            "status": {"phase": "Pending"}}),
        );
    }

    pub async fn until(&self, name: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        self.api.wait(&format!("{name} {what}"), |api| api.get(PODS, "default", name).filter(|pod| check(pod))).await
    }

    pub async fn until_phase(&self, name: &str, phase: &str) -> Value {
        self.until(name, phase, |pod| pod["status"]["phase"] == phase).await
    }

    pub async fn until_waiting(&self, name: &str, reason: &str) -> Value {
        // It may have passed by the time this looks.
        let waits = |pod: &Value| container(pod)["state"]["waiting"]["reason"] == reason;
        self.api.wait(&format!("{name} {reason}"), |api| api.ever(PODS, "default", name, waits)).await
    }

    pub async fn until_event(&self, reason: &str) -> Value {
        let find = |api: &FakeApi| api.list("/api/v1/events").into_iter().find(|e| e["reason"] == reason);
        self.api.wait(reason, find).await
    }

    pub async fn until_gone(&self, name: &str) {
        self.api.wait(name, |api| api.get(PODS, "default", name).is_none().then_some(())).await;
    }

    /// `kubectl logs`; `query` without the question mark. Status code and text.
    pub async fn logs(&self, pod: &str, container: &str, query: &str) -> (u16, String) {
        use http_body_util::BodyExt;
        use tower::ServiceExt;
        let uri = format!("/containerLogs/default/{pod}/{container}?{query}");
        let request = http::Request::get(uri).body(axum::body::Body::empty()).unwrap();
        let response = self.agent.router().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }
}

fn open_images(dir: &tempfile::TempDir) -> images::ImageStore {
    images::ImageStore::open(images::Config::new(dir.path().join("images"))).unwrap()
}

fn launch(
    api: &FakeApi,
    dir: &tempfile::TempDir,
    network: &Arc<Network>,
    range: Cidr,
    pods: u32,
) -> (Arc<Agent>, CancellationToken, JoinHandle<()>) {
    let client = api.client();
    let services = ServiceSync::new(client.clone(), Arc::clone(network));
    let data = dir.path().join("agent");
    let mut config = Config::new(NODE, client, data, runtime(), Arc::clone(network), open_images(dir));
    config.services = Some(Arc::clone(&services));
    config.pod_cidr = Some(range);
    config.capacity.pods = pods;
    let agent = Arc::new(Agent::new(config));
    let stop = CancellationToken::new();
    let task = tokio::spawn({
        let (agent, stop) = (Arc::clone(&agent), stop.clone());
        async move {
            tokio::join!(agent.run(stop.clone()), services.run(stop));
        }
    });
    (agent, stop, task)
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The first container's status.
pub fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

/// The status of a pod's condition.
pub fn condition<'a>(pod: &'a Value, type_: &str) -> &'a str {
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|c| c["type"] == type_).and_then(|c| c["status"].as_str()).unwrap_or_default()
}
