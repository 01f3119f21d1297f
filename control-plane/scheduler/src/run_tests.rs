//! The whole scheduler against a small API server in the same process, in paused time.

use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::*;

#[derive(Default)]
struct State {
    version: u64,
    nodes: Vec<Value>,
    pods: Vec<Value>,
    /// Path and stream of each watch.
    watches: Vec<(String, mpsc::UnboundedSender<Bytes>)>,
    events: Vec<Value>,
    /// How many bindings to answer with an error.
    refuse_bindings: usize,
    expire_watches: bool,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The API server.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

impl Fake {
    fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let path = head.uri.path().to_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let mut state = self.0.lock().unwrap();
        if query.contains("watch=true") {
            return state.watch(path);
        }
        match path.rsplit('/').next().unwrap() {
            "binding" => state.bind(&path, &body),
            "events" => {
                state.events.push(body.clone());
                answer(StatusCode::CREATED, &body)
            }
            "status" => {
                let name = path.rsplit('/').nth(1).unwrap().to_owned();
                let mut pod = state.pod(&name);
                if pod["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                    return answer(StatusCode::CONFLICT, &status(409));
                }
                pod["status"]["conditions"] = body["status"]["conditions"].clone();
                state.set(pod.clone());
                answer(StatusCode::OK, &pod)
            }
            "nodes" => state.list(&state.nodes),
            "pods" => state.list(&state.pods),
            _ => answer(StatusCode::NOT_FOUND, &status(404)),
        }
    }

    fn set_node(&self, name: &str, cpu: &str) {
        let room = json!({"cpu": cpu, "memory": "4Gi", "pods": "10"});
        let node = json!({"metadata": {"name": name}, "status": {"allocatable": room}});
        self.0.lock().unwrap().set(node);
    }

    fn set_pod(&self, name: &str, mut spec: Value) {
        spec["schedulerName"] = spec.get("schedulerName").cloned().unwrap_or("default-scheduler".into());
        let metadata = json!({"name": name, "namespace": "default", "uid": format!("uid-{name}")});
        self.0.lock().unwrap().set(json!({"metadata": metadata, "spec": spec, "status": {}}));
    }

    fn delete_pod(&self, name: &str) {
        let mut state = self.0.lock().unwrap();
        let mut pod = state.pod(name);
        state.version += 1;
        pod["metadata"]["resourceVersion"] = state.version.to_string().into();
        state.pods.retain(|other| other["metadata"]["name"] != name);
        state.tell("DELETED", &pod);
    }

    fn drop_watches(&self) {
        self.0.lock().unwrap().watches.clear();
    }

    fn node_of(&self, name: &str) -> Option<String> {
        let pod = self.0.lock().unwrap().pod(name);
        pod["spec"]["nodeName"].as_str().map(str::to_owned)
    }

    fn events_of(&self, name: &str) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let about = state.events.iter().filter(|event| event["involvedObject"]["name"] == name);
        about
            .map(|event| format!("{} {} {}", text(event, "type"), text(event, "reason"), text(event, "message")))
            .collect()
    }

    /// Wait, for at most a minute of paused time.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}");
            sleep(Duration::from_millis(1)).await;
        }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn status(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "Nope", "code": code})
}

fn answer(code: StatusCode, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string())).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}

impl State {
    fn list(&self, items: &[Value]) -> Answer {
        let metadata = json!({"resourceVersion": self.version.to_string()});
        answer(StatusCode::OK, &json!({"metadata": metadata, "items": items}))
    }

    fn watch(&mut self, path: String) -> Answer {
        if std::mem::take(&mut self.expire_watches) {
            return answer(StatusCode::GONE, &status(410));
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watches.push((path, sender));
        let frames = futures::stream::unfold(receiver, |mut receiver| async {
            let bytes: Bytes = receiver.recv().await?;
            Some((Ok::<_, Infallible>(http_body::Frame::data(bytes)), receiver))
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    }

    fn pod(&self, name: &str) -> Value {
        let pod = self.pods.iter().find(|pod| pod["metadata"]["name"] == name);
        pod.cloned().unwrap_or(Value::Null)
    }

    fn set(&mut self, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let objects = if object.get("spec").is_some() { &mut self.pods } else { &mut self.nodes };
        let name = object["metadata"]["name"].clone();
        match objects.iter_mut().find(|other| other["metadata"]["name"] == name) {
            Some(known) => *known = object.clone(),
            None => objects.push(object.clone()),
        }
        self.tell("MODIFIED", &object);
    }

    fn tell(&mut self, type_: &str, object: &Value) {
        let kind = if object.get("spec").is_some() { "pods" } else { "nodes" };
        let line = format!("{}\n", json!({"type": type_, "object": object}));
        for (path, sender) in &self.watches {
            if path.ends_with(kind) {
                let _ = sender.send(Bytes::from(line.clone()));
            }
        }
    }

    fn bind(&mut self, path: &str, body: &Value) -> Answer {
        if self.refuse_bindings > 0 {
            self.refuse_bindings -= 1;
            return answer(StatusCode::INTERNAL_SERVER_ERROR, &status(500));
        }
        let mut pod = self.pod(path.rsplit('/').nth(1).unwrap());
        if pod.is_null() {
            return answer(StatusCode::NOT_FOUND, &status(404));
        }
        if pod["spec"]["nodeName"].is_string() {
            return answer(StatusCode::CONFLICT, &status(409));
        }
        pod["spec"]["nodeName"] = body["target"]["name"].clone();
        self.set(pod);
        answer(StatusCode::CREATED, &json!({"kind": "Status", "status": "Success"}))
    }
}

fn start(fake: &Fake) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let stop = CancellationToken::new();
    let config = Config { client: fake.client(), name: "default-scheduler".into() };
    (stop.clone(), tokio::spawn(run(config, stop)))
}

fn requesting(cpu: &str) -> Value {
    json!({"containers": [{"resources": {"requests": {"cpu": cpu}}}]})
}

#[tokio::test(start_paused = true)]
async fn pods_get_nodes_and_events_tell() {
    let fake = Fake::default();
    fake.set_node("n1", "4");
    fake.set_pod("before", requesting("1"));
    let (stop, task) = start(&fake);
    fake.until("listed", |fake| fake.node_of("before").is_some()).await;
    fake.set_pod("after", requesting("1"));
    fake.until("watched", |fake| fake.node_of("after").is_some()).await;
    fake.until("told", |fake| !fake.events_of("after").is_empty()).await;
    assert_eq!(fake.events_of("after"), ["Normal Scheduled Successfully assigned default/after to n1"]);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unschedulable_pod_says_why_and_goes_when_there_is_room() {
    let fake = Fake::default();
    fake.set_node("n1", "1");
    fake.set_pod("first", requesting("1"));
    let (stop, _task) = start(&fake);
    fake.until("first", |fake| fake.node_of("first").is_some()).await;
    fake.set_pod("second", requesting("1"));
    fake.until("told", |fake| !fake.events_of("second").is_empty()).await;
    let message = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
                   1 No preemption victims found for incoming pod.";
    assert_eq!(fake.events_of("second"), [format!("Warning FailedScheduling {message}")]);
    let condition = |fake: &Fake| fake.0.lock().unwrap().pod("second")["status"]["conditions"][0].clone();
    fake.until("condition", |fake| condition(fake)["message"] == message).await;
    assert_eq!(condition(&fake)["reason"], "Unschedulable");
    assert_eq!(condition(&fake)["status"], "False");
    fake.delete_pod("first");
    fake.until("second", |fake| fake.node_of("second").is_some()).await;
    fake.set_pod("third", requesting("2"));
    fake.until("third refused", |fake| !fake.events_of("third").is_empty()).await;
    fake.set_node("n2", "4");
    fake.until("third", |fake| fake.node_of("third").as_deref() == Some("n2")).await;
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_lost_or_expired_watch_is_made_good() {
    let fake = Fake::default();
    fake.set_node("n1", "4");
    let (stop, _task) = start(&fake);
    fake.set_pod("one", requesting("1"));
    fake.until("one", |fake| fake.node_of("one").is_some()).await;
    fake.0.lock().unwrap().expire_watches = true;
    fake.drop_watches();
    fake.set_pod("two", requesting("1"));
    fake.delete_pod("one");
    fake.0.lock().unwrap().expire_watches = true;
    fake.until("watching again", |fake| fake.0.lock().unwrap().watches.len() == 2).await;
    fake.set_pod("three", requesting("3"));
    fake.until("three", |fake| fake.node_of("three").is_some()).await;
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_failed_binding_is_tried_again() {
    let fake = Fake::default();
    fake.set_node("n1", "1");
    fake.0.lock().unwrap().refuse_bindings = 2;
    fake.set_pod("p", requesting("1"));
    let (stop, _task) = start(&fake);
    fake.until("bound", |fake| fake.node_of("p").is_some()).await;
    fake.until("told", |fake| fake.events_of("p").len() == 3).await;
    assert_eq!(fake.events_of("p")[0], "Warning FailedScheduling binding rejected: no");
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn other_schedulers_pods_and_gated_ones_are_left_alone() {
    let fake = Fake::default();
    fake.set_node("n1", "4");
    fake.set_pod("gated", json!({"schedulingGates": [{"name": "g"}]}));
    fake.set_pod("other", json!({"schedulerName": "other"}));
    fake.set_pod("ours", json!({}));
    let (stop, _task) = start(&fake);
    fake.until("ours", |fake| fake.node_of("ours").is_some()).await;
    assert_eq!((fake.node_of("gated"), fake.node_of("other")), (None, None));
    fake.set_pod("gated", json!({}));
    fake.until("gate open", |fake| fake.node_of("gated").is_some()).await;
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_burst_fills_the_nodes_and_never_beyond() {
    let fake = Fake::default();
    (0..5).for_each(|at| fake.set_node(&format!("n{at}"), "2"));
    let (stop, _task) = start(&fake);
    (0..30).for_each(|at| fake.set_pod(&format!("p{at}"), requesting("500m")));
    let bound = |fake: &Fake| (0..30).filter(|at| fake.node_of(&format!("p{at}")).is_some()).count();
    fake.until("twenty have room", |fake| bound(fake) == 20).await;
    fake.until("ten are refused", |fake| {
        (0..30)
            .filter(|at| fake.events_of(&format!("p{at}")).iter().any(|event| event.contains("Insufficient cpu")))
            .count()
            == 10
    })
    .await;
    assert_eq!(bound(&fake), 20);
    stop.cancel();
}
