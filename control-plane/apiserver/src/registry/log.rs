//! `pods/log`: the kubelet's container log, streamed through.

use super::Call;
use crate::body;
use crate::nodes::LinkError;
use crate::objects;
use crate::peers;
use crate::respond;
use api::field::{Error as FieldError, Path};
use api::{Reason, Status, meta, time};
use axum::body::Body;
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;

/// What `kubectl logs` may say to the kubelet.
const PARAMETERS: [&str; 8] =
    ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"];
/// The longest error text that is taken over from a kubelet.
const ERROR_BYTES: usize = 64 * 1024;

pub(super) async fn log(call: &Call<'_>) -> Result<Response<Body>, Status> {
    check_options(call)?;
    let snapshot = call.core.latest().await?;
    let entry = snapshot.get(&call.key()).ok_or_else(|| call.not_found())?;
    let pod = objects::parse(call.resource, &entry.value.body, Some(entry.mod_revision))?;
    let container = container(call, &pod)?;
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if node.is_empty() {
        // Not scheduled: there is no log yet, which is no error.
        let mut nothing = Response::new(Body::empty());
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return Ok(nothing);
    }
    let path = kubelet_path(call, container);
    let response = peers::kubelet(call.core, node, &path).await.map_err(|error| unreachable(call, node, &error))?;
    if response.status().is_success() {
        return Ok(respond::plain(StatusCode::OK, "text/plain", response.into_body()));
    }
    Err(kubelet_error(call, &pod, container, response).await)
}

/// `ValidatePodLogOptions`.
fn check_options(call: &Call<'_>) -> Result<(), Status> {
    let mut errors = Vec::new();
    for (name, least, why) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        if let Some(value) = call.query.integer(name)?.filter(|value| *value < least) {
            errors.push(FieldError::invalid(&Path::new(name), value, why));
        }
    }
    if let Some(since) = call.query.text("sinceTime").filter(|since| time::parse(since).is_none()) {
        return Err(Status::bad_request(format!(
            "parsing time {since:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {since:?} as \"2006\""
        )));
    }
    if call.query.text("sinceSeconds").is_some() && call.query.text("sinceTime").is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::forbidden(&Path::new(""), why));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("", "PodLogOptions", call.name(), &errors)) }
}

fn unreachable(call: &Call<'_>, node: &str, error: &LinkError) -> Status {
    let why = match error {
        LinkError::Absent => format!("no connection to node {node:?}: the node is down or has not joined"),
        LinkError::Request(source) => source.to_string(),
        LinkError::Lost(source) => format!("the connection to node {node:?} broke: {source}"),
    };
    Status::new(Reason::ServiceUnavailable, format!("cannot get the log of pod {:?}: {why}", call.name()))
}

fn kubelet_path(call: &Call<'_>, container: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in PARAMETERS {
        for value in call.query.all(name) {
            query.append_pair(name, value);
        }
    }
    format!("/containerLogs/{}/{}/{container}?{}", call.namespace(), call.name(), query.finish())
}

/// The container that is meant (`podStrategy.LogLocation`).
pub(super) fn container<'p>(call: &Call<'_>, pod: &'p Value) -> Result<&'p str, Status> {
    let named = |list: &str| -> Vec<&'p str> {
        let containers =
            pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        containers.iter().filter_map(|c| c.get("name")?.as_str()).collect()
    };
    let (main, init, ephemeral) = (named("containers"), named("initContainers"), named("ephemeralContainers"));
    if let Some(wanted) = call.query.text("container") {
        let mut all = main.iter().chain(&init).chain(&ephemeral);
        return all
            .find(|name| **name == wanted)
            .copied()
            .ok_or_else(|| Status::bad_request(format!("container {wanted} is not valid for pod {}", call.name())));
    }
    match main.as_slice() {
        [only] => Ok(only),
        [] => Err(Status::bad_request(format!("a container name must be specified for pod {}", call.name()))),
        _ => {
            if let Some(preferred) = meta::annotation(pod, "kubectl.kubernetes.io/default-container")
                && let Some(found) = main.iter().find(|name| **name == preferred)
            {
                return Ok(found);
            }
            let mut message = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                call.name(),
                main.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            if !ephemeral.is_empty() {
                message.push_str(&format!(" or one of the ephemeral containers: [{}]", ephemeral.join(" ")));
            }
            Err(Status::bad_request(message))
        }
    }
}

/// The kubelet's own words where it has any, else what the pod's status tells.
async fn kubelet_error(call: &Call<'_>, pod: &Value, container: &str, response: Response<Body>) -> Status {
    let code = response.status();
    let text = body::read(&HeaderMap::new(), response.into_body(), ERROR_BYTES).await.unwrap_or_default();
    let text = message(String::from_utf8_lossy(&text).trim());
    if !text.is_empty() {
        return match code {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Status::bad_request(text),
            _ => Status::internal(text),
        };
    }
    match waiting_reason(pod, container) {
        Some(reason) => Status::bad_request(format!(
            "container {container:?} in pod {:?} is waiting to start: {reason}",
            call.name()
        )),
        None => Status::internal(format_args!("the kubelet answered {code}")),
    }
}

/// A kubelet says why as plain text or as a Status.
fn message(text: &str) -> String {
    let status = serde_json::from_str::<Value>(text).ok().filter(|value| value["kind"] == "Status");
    status.as_ref().and_then(|status| status["message"].as_str()).unwrap_or(text).to_owned()
}

fn waiting_reason<'p>(pod: &'p Value, container: &str) -> Option<&'p str> {
    let statuses = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    let all = statuses.iter().filter_map(|list| pod.get("status")?.get(*list)?.as_array()).flatten();
    let status = all.into_iter().find(|status| status["name"] == container)?;
    status.pointer("/state/waiting/reason").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn kubelets_may_answer_with_text_or_with_a_status() {
        assert_eq!(message("container is waiting"), "container is waiting");
        assert_eq!(message(r#"{"kind":"Status","message":"no such log","code":400}"#), "no such log");
        assert_eq!(message(r#"{"a":1}"#), r#"{"a":1}"#);
    }
}
