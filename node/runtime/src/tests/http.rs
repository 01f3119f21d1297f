//! HTTP components, with the example guest built from `guests/rust/hello-http`.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};

use super::{Harness, end_of, until};
use crate::{Container, ContainerSpec, ExitReason, Flavor, Module, ModuleKind};

fn guest(name: &str) -> Vec<u8> {
    let path = format!("{}/../../guests/prebuilt/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn hello(harness: &Harness, flavor: Flavor) -> Arc<Module> {
    harness.load_bytes(&guest("hello-http.wasm"), flavor).await.unwrap()
}

async fn serve(harness: &Harness, change: impl FnOnce(&mut ContainerSpec)) -> Container {
    let mut spec = harness.spec();
    change(&mut spec);
    let flavor = if spec.fuel.is_some() { Flavor::Fuel } else { Flavor::Plain };
    harness.runtime.start(hello(harness, flavor).await, spec).unwrap()
}

fn request(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "web").body(Full::default()).unwrap()
}

async fn get(container: &Container, path: &str) -> (StatusCode, String) {
    let response = container.handle(request(path)).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn requests_are_answered_each_in_a_fresh_instance() {
    let harness = Harness::new();
    assert_eq!(hello(&harness, Flavor::Plain).await.kind(), ModuleKind::HttpComponent);
    let container = serve(&harness, |spec| spec.env.push(("POD_NAME".into(), "web-1".into()))).await;
    for _ in 0..3 {
        let (status, body) = get(&container, "/").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert!(body.contains("web-1"), "{body}");
    }
    assert_eq!(container.exit(), None);
    until(|| container.stats().instances == 0).await;
    assert_eq!(container.stats().memory_bytes, 0);
}

#[tokio::test]
async fn a_crash_costs_its_own_request_only() {
    let harness = Harness::new();
    let container = serve(&harness, |_| {}).await;
    assert_eq!(get(&container, "/crash").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(harness.output.err().contains("wasm trap"), "{}", harness.output.err());
    assert_eq!(get(&container, "/healthz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_request_without_a_host_is_refused() {
    let harness = Harness::new();
    let container = serve(&harness, |_| {}).await;
    let response = container.handle(Request::new(Full::<Bytes>::default())).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_stopped_container_drains_and_ends_with_0() {
    let harness = Harness::new();
    let container = serve(&harness, |_| {}).await;
    assert_eq!(get(&container, "/").await.0, StatusCode::OK);
    container.signal_stop(Duration::from_secs(30));
    assert_eq!(end_of(&container).await.code, 0);
    assert_eq!(get(&container, "/").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_killed_container_answers_nothing_more() {
    let harness = Harness::new();
    let container = serve(&harness, |_| {}).await;
    container.kill();
    assert_eq!(end_of(&container).await.reason, ExitReason::Killed);
    assert_eq!(get(&container, "/").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn too_many_requests_are_turned_away() {
    let harness = Harness::with(|config| {
        config.http.max_concurrent = 1;
        config.http.max_queued = 1;
    });
    let container = serve(&harness, |_| {}).await;
    // A body without an end keeps its instance busy.
    let (body, rest) = futures::channel::mpsc::unbounded::<Bytes>();
    let rest = StreamBody::new(rest.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes))));
    let endless = container.handle(Request::post("/echo").header("host", "web").body(rest).unwrap()).await;
    assert_eq!(endless.status(), StatusCode::OK);
    let mut queued = pin!(get(&container, "/"));
    assert!(futures::poll!(&mut queued).is_pending());
    for _ in 0..3 {
        assert_eq!(get(&container, "/").await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    body.unbounded_send("the end".into()).unwrap();
    drop(body);
    assert_eq!(endless.into_body().collect().await.unwrap().to_bytes(), "the end");
    assert_eq!(queued.await.0, StatusCode::OK);
}

#[tokio::test]
async fn memory_and_fuel_belong_to_the_container_not_the_request() {
    let harness = Harness::new();
    let small = serve(&harness, |spec| spec.memory_limit_bytes = Some(64 << 10)).await;
    assert_eq!(end_of(&small).await.reason, ExitReason::OomKilled);

    let container = serve(&harness, |spec| spec.fuel = Some(3_000_000)).await;
    let mut answered = 0;
    while container.exit().is_none() && answered < 10_000 {
        if get(&container, "/").await.0 == StatusCode::OK {
            answered += 1;
        } else {
            break;
        }
    }
    assert!(answered > 0, "{:?}", container.exit());
    assert_eq!(end_of(&container).await.reason, ExitReason::FuelExhausted);
}

#[tokio::test]
async fn a_request_body_reaches_the_guest_and_comes_back() {
    let harness = Harness::new();
    let container = serve(&harness, |_| {}).await;
    let body = Bytes::from(vec![b'x'; 300_000]);
    let request = Request::post("/echo").header("host", "web").body(Full::new(body.clone())).unwrap();
    let response = container.handle(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
}

#[tokio::test]
async fn a_command_serves_no_http() {
    let harness = Harness::new();
    let container = harness.start(&super::command("", ""), |_| {}).await;
    assert_eq!(get(&container, "/").await.0, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn a_command_component_gets_arguments_and_environment() {
    let harness = Harness::new();
    let module = harness.load_bytes(&guest("cli-report-component.wasm"), Flavor::Plain).await.unwrap();
    assert_eq!(module.kind(), ModuleKind::CommandComponent);
    let mut spec = harness.spec();
    spec.args = vec!["report".into(), "first".into()];
    spec.env.push(("COLOR".into(), "blue".into()));
    let exit = end_of(&harness.runtime.start(module, spec).unwrap()).await;
    assert_eq!(exit.code, 0, "{exit:?}");
    let out = harness.output.out();
    assert!(out.contains("first") && out.contains("blue"), "{out}");
}

#[tokio::test]
async fn a_component_knows_its_pod_and_hears_the_shutdown_signal() {
    let harness = Harness::new();
    let module = harness.load_bytes(&guest("pod-aware.wasm"), Flavor::Plain).await.unwrap();
    let mut spec = harness.spec();
    spec.pod.namespace = "default".into();
    spec.pod.name = "aware-1".into();
    spec.pod.labels.insert("app".into(), "aware".into());
    let container = harness.runtime.start(module, spec).unwrap();
    until(|| harness.output.out().contains("label app=aware")).await;
    assert!(harness.output.out().contains("pod default/aware-1"));
    container.signal_stop(Duration::from_secs(30));
    assert_eq!(end_of(&container).await.code, 0);
    assert!(harness.output.out().contains("goodbye"), "{}", harness.output.out());
}
