//! Writes a pod's status to the API server: one patch in flight, changes in between folded into the
//! next, retried until it is there or the pod is gone.

use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::{PodCondition, PodStatus};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use kube::client::Body;

use super::PodContext;
use super::status::{self, Cleared, Context};

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

enum Outcome {
    Written,
    /// The object is gone. (Should another pod have its name by now, that is a conflict, and the
    /// watch is about to say so.)
    Obsolete,
    /// The API server refuses it: trying the same again is useless.
    Refused(String),
    Failed(String),
}

/// Runs for the pod's whole life.
pub async fn write_loop(pod: &PodContext) {
    let mut changes = pod.changes.subscribe();
    // A warm start is through before this is polled for the first time.
    if *changes.borrow() > 0 {
        changes.mark_changed();
    }
    let mut last: Option<u64> = None;
    let mut conditions: Vec<PodCondition> =
        pod.object().status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    loop {
        if changes.changed().await.is_err() {
            return;
        }
        let mut retry = FIRST_RETRY;
        loop {
            let generation = *changes.borrow_and_update();
            let object = pod.object();
            let context = Context {
                pod: &object,
                host_ip: pod.node.config.node_ip,
                now: pod.node.config.clock.now(),
                before: &conditions,
            };
            let status = pod.read(|record| status::compute(record, &context));
            let mark = fingerprint(&status);
            let known = last == Some(mark) && !status::is_overruled(&object, &status);
            if !known && !pod.is_gone() {
                // Boxed: who waits for the pod's next change need not hold the room for it.
                match Box::pin(send(pod, &object, &status)).await {
                    Outcome::Written => {
                        conditions = status.conditions.unwrap_or_default();
                        last = Some(mark);
                    }
                    Outcome::Obsolete => {}
                    Outcome::Refused(message) => {
                        tracing::warn!(message, "the API server refuses this pod's status");
                    }
                    Outcome::Failed(error) => {
                        tracing::debug!(error, "the pod's status could not be written; it is retried");
                        tokio::time::sleep(retry).await;
                        retry = (retry * 2).min(LAST_RETRY);
                        continue;
                    }
                }
            }
            pod.written.send_replace(generation);
            break;
        }
    }
}

/// Tells statuses apart: to know its last one, each pod would have to keep kilobytes.
fn fingerprint(status: &PodStatus) -> u64 {
    let mut hasher = DefaultHasher::new();
    // A status is plain data, and hashing takes everything: that cannot fail.
    let _ = serde_json::to_writer(Hashed(&mut hasher), status);
    hasher.finish()
}

struct Hashed<'a>(&'a mut DefaultHasher);

impl io::Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn send(pod: &PodContext, object: &api::k8s_openapi::api::core::v1::Pod, status: &PodStatus) -> Outcome {
    let stored = object.status.as_ref();
    let cleared = Cleared {
        pod_ips: stored.is_some_and(|s| s.pod_ip.is_some() && s.pod_ip != status.pod_ip),
        reason: stored.is_some_and(|s| s.reason.is_some()),
    };
    let body = status::patch(&pod.uid, status, cleared).to_string();
    let uri = format!("/api/v1/namespaces/{}/pods/{}/status", pod.namespace, pod.name);
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(uri)
        .header(header::CONTENT_TYPE, "application/strategic-merge-patch+json")
        .header(header::ACCEPT, "application/json")
        .body(Body::from(body.into_bytes()));
    let request = match request {
        Ok(request) => request,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let response = match pod.node.config.client.send(request).await {
        Ok(response) => response,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let code = response.status();
    // The answer is the whole pod, which the watch brings, too: only an error's text is of use.
    match code {
        code if code.is_success() => Outcome::Written,
        StatusCode::NOT_FOUND => Outcome::Obsolete,
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::UNPROCESSABLE_ENTITY => {
            Outcome::Refused(text(response).await)
        }
        _ => Outcome::Failed(format!("{code}: {}", text(response).await)),
    }
}

async fn text(response: http::Response<Body>) -> String {
    match response.into_body().collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).chars().take(1000).collect(),
        Err(error) => error.to_string(),
    }
}
