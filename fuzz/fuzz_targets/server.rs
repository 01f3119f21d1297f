//! Requests to a whole server, one after the other, on a store in memory. No answer blames the server, all errors are Statuses
//! with the code of the answer, and nobody takes long.
#![no_main]

use apiserver::fuzzing::Server;
use bytes::Bytes;
use http::{Method, Request, Uri};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use skiff_fuzz::soon;
use std::cell::RefCell;
use tokio::runtime::{Builder, Runtime};

/// Requests after which a new server is made, so that an input that fails does so again soon after the start.
const LIFE: u32 = 5_000;

struct World {
    runtime: Runtime,
    server: Server,
    left: u32,
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let server = runtime.block_on(Server::start()).expect("a server");
        Self { runtime, server, left: LIFE }
    }
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

const TYPES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
];

// Requests with a NUL between them: `METHOD TYPE URI`, and the body on the lines below.
fuzz_target!(|data: &[u8]| {
    WORLD.with_borrow_mut(|world| {
        for text in data.split(|byte| *byte == 0).take(8) {
            one(world, text);
        }
    });
});

fn one(world: &mut World, text: &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (line, body) = (&text[..end], text.get(end + 1..).unwrap_or_default());
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let method = match words.next() {
        Some(b"POST") => Method::POST,
        Some(b"PUT") => Method::PUT,
        Some(b"PATCH") => Method::PATCH,
        Some(b"DELETE") => Method::DELETE,
        _ => Method::GET,
    };
    let kind = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse::<usize>().ok()).unwrap_or(0);
    let Some(uri) = words.next().and_then(|word| Uri::try_from(word).ok()) else { return };
    // Watches and logs have no end.
    if uri.query().is_some_and(|query| query.contains("atch") || query.contains('%') || query.contains("follow"))
        || uri.path().contains("/watch/")
        || uri.path().ends_with("/log")
    {
        return;
    }
    world.left -= 1;
    if world.left == 0 {
        *world = World::new();
    }
    let request = Request::builder()
        .method(&method)
        .uri(&uri)
        .header("content-type", TYPES[kind % TYPES.len()])
        .body(Bytes::copy_from_slice(body));
    let Ok(request) = request else { return };
    let answer = soon("a request", || world.runtime.block_on(world.server.send(request)));
    let (status, body) = answer;
    let code = status.as_u16();
    assert!(code < 500 || code == 501 || code == 504 || blameless(&body), "{code} {}", String::from_utf8_lossy(&body));
    if code >= 400 && uri.path().starts_with("/api") {
        let told: Value = serde_json::from_slice(&body).expect("an error is JSON");
        assert_eq!((told["kind"].as_str(), told["code"].as_u64()), (Some("Status"), Some(code.into())), "{told}");
    }
}

/// What Kubernetes itself answers with a 500: patches and configurations that fit no kind.
fn blameless(body: &[u8]) -> bool {
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    told["reason"].is_null() && told["message"].is_string()
}
