//! Conversion webhooks: `ConversionReview` over HTTPS (`apiextensions-apiserver/pkg/apiserver/conversion`).

use super::present::{restore_metadata, same_object};
use crate::core::Core;
use crate::hook::{Endpoint, Target};
use api::Status;
use api::crd::Definition;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a webhook may take, as in Kubernetes.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const MAX_ANSWER: usize = 32 << 20;
/// Objects in one request.
const BATCH: usize = 500;

/// `objects` in the version `wanted`, in their order.
///
/// # Errors
/// 500 that says what the webhook did, or did not.
pub(super) async fn convert(
    core: &Core,
    definition: &Definition,
    (client, reviews): (&Value, &[String]),
    objects: Vec<Value>,
    wanted: &str,
) -> Result<Vec<Value>, Status> {
    let mut converted = Vec::with_capacity(objects.len());
    let mut rest = objects;
    while !rest.is_empty() {
        let later = rest.split_off(rest.len().min(BATCH));
        let from = rest[0]["apiVersion"].as_str().unwrap_or_default().to_owned();
        let batch = batch(core, (client, reviews), &rest, wanted).await.map_err(|why| {
            let place = format!("{from}, Kind={}", definition.kind);
            Status::internal(format_args!("conversion webhook for {place} {why}"))
        })?;
        converted.extend(batch);
        rest = later;
    }
    Ok(converted)
}

async fn batch(
    core: &Core,
    (client, reviews): (&Value, &[String]),
    objects: &[Value],
    wanted: &str,
) -> Result<Vec<Value>, String> {
    let uid = uuid::Uuid::new_v4().to_string();
    let version = reviews.iter().find(|review| matches!(review.as_str(), "v1" | "v1beta1"));
    let version = version.ok_or("failed: no supported conversion review version")?;
    let api_version = format!("apiextensions.k8s.io/{version}");
    let request = json!({"uid": uid, "desiredAPIVersion": wanted, "objects": objects});
    let review = json!({"kind": "ConversionReview", "apiVersion": api_version, "request": request});
    let bundle = client.get("caBundle").and_then(Value::as_str).unwrap_or_default();
    let endpoint = Endpoint::new(Target::of(client), bundle).answering(MAX_ANSWER);
    let answer = endpoint.post(core, Bytes::from(review.to_string()), TIMEOUT).await;
    let answer = answer.map_err(|why| format!("failed: {why}"))?;
    let answer = serde_json::from_slice(&answer).map_err(|error| format!("failed: the answer is no JSON: {error}"))?;
    let converted = converted(answer, &api_version, &uid).map_err(|why| format!("failed: {why}"))?;
    if converted.len() != objects.len() {
        return Err(format!("returned {} objects, expected {}", converted.len(), objects.len()));
    }
    let checked = objects.iter().zip(converted).enumerate().map(|(index, (original, mut object))| {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        if version != wanted {
            return Err(format!(
                "returned invalid converted object at index {index}: invalid groupVersion (expected {wanted}, received {version})"
            ));
        }
        same_object(original, &object).map_err(|why| format!("returned invalid converted object at index {index}: {why}"))?;
        restore_metadata(original, &mut object);
        Ok(object)
    });
    checked.collect()
}

/// The objects of a webhook's answer.
fn converted(mut answer: Value, api_version: &str, uid: &str) -> Result<Vec<Value>, String> {
    let found = (answer["apiVersion"].as_str().unwrap_or_default(), answer["kind"].as_str().unwrap_or_default());
    if found != (api_version, "ConversionReview") {
        return Err(format!(
            "expected webhook response of {api_version}, Kind=ConversionReview, got {}, Kind={}",
            found.0, found.1
        ));
    }
    let response = answer.get_mut("response").filter(|response| response.is_object());
    let Some(response) = response else { return Err("no response provided".into()) };
    if response["uid"] != uid {
        return Err(format!("expected response.uid={uid:?}, got {}", response["uid"]));
    }
    let status = response["result"]["status"].as_str().unwrap_or_default();
    if status != "Success" {
        let message = response["result"]["message"].as_str().unwrap_or_default();
        return Err(if message.is_empty() {
            format!("response.result.status was '{status}', not 'Success'")
        } else {
            message.to_owned()
        });
    }
    match response["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::converted;
    use serde_json::json;

    #[test]
    fn answers_that_lie_are_told_as_kubernetes_tells_them() {
        let answer = |response: serde_json::Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
        let read = |response| converted(answer(response), "apiextensions.k8s.io/v1", "u");
        let good = json!({"uid": "u", "result": {"status": "Success"}, "convertedObjects": [{"a": 1}]});
        assert_eq!(read(good).unwrap(), [json!({"a": 1})]);
        assert_eq!(read(json!({"uid": "x"})).unwrap_err(), "expected response.uid=\"u\", got \"x\"");
        let failed = json!({"uid": "u", "result": {"status": "Failure", "message": "no"}});
        assert_eq!(read(failed).unwrap_err(), "no");
        assert_eq!(
            read(json!({"uid": "u", "result": {}})).unwrap_err(),
            "response.result.status was '', not 'Success'"
        );
        assert!(converted(json!({"kind": "Pod"}), "apiextensions.k8s.io/v1", "u").unwrap_err().contains("Kind=Pod"));
        assert_eq!(read(json!(null)).unwrap_err(), "no response provided");
    }
}
