//! Service account tokens for projected volumes, from the TokenRequest API.

use api::k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};
use tokio::time::Instant;

use crate::pod::{self, PodContext};

const DEFAULT_SECONDS: i64 = 3600;

/// A token, and when to ask for the next: at 80 % of its life, as the kubelet does.
pub struct Token {
    pub text: String,
    pub stale_at: Instant,
}

/// `None` when this cluster has no token API or no such account: the pod runs without.
pub async fn request(
    context: &PodContext,
    object: &Pod,
    source: &ServiceAccountTokenProjection,
) -> Result<Option<Token>, String> {
    let account = pod::spec(object).service_account_name.as_deref().unwrap_or("default");
    let seconds = source.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
    let audiences: Vec<&str> = source.audience.as_deref().into_iter().collect();
    let body = serde_json::json!({
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": seconds,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": context.name, "uid": context.uid},
        }
    });
    let uri = format!("/api/v1/namespaces/{}/serviceaccounts/{account}/token", context.namespace);
    let request = http::Request::post(uri)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .map_err(|e| e.to_string())?;
    match context.node.config.client.request::<serde_json::Value>(request).await {
        Ok(answer) => {
            let text = answer["status"]["token"].as_str().unwrap_or_default().to_owned();
            let life = crate::container::stop::seconds(seconds);
            Ok(Some(Token { text, stale_at: Instant::now() + life * 4 / 5 }))
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405 | 501) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
