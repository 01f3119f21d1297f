//! Service account tokens for projected volumes, from the TokenRequest API. A pod's tokens are kept, and asked for anew at
//! 80 % of their lives, as the kubelet's token manager does.

use std::time::Duration;

use api::k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};
use bytes::Bytes;
use tokio::time::Instant;

use crate::pod::{self, PodContext};

const DEFAULT_SECONDS: i64 = 3600;
/// However long a token lives, it is replaced after a day.
const LONGEST_USE: Duration = Duration::from_secs(86_400);

/// The tokens of one pod.
#[derive(Default)]
pub struct Tokens(Vec<Token>);

struct Token {
    audience: Option<String>,
    seconds: i64,
    text: Bytes,
    stale_at: Instant,
}

impl Tokens {
    /// When the first of them is to be replaced.
    pub fn stale_at(&self) -> Option<Instant> {
        self.0.iter().map(|token| token.stale_at).min()
    }

    /// The token for `source`; sources that ask for the same share one. `None` when this cluster has no token API or no
    /// such account: the pod runs without.
    pub async fn get(
        &mut self,
        context: &PodContext,
        object: &Pod,
        source: &ServiceAccountTokenProjection,
    ) -> Result<Option<Bytes>, String> {
        let seconds = source.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
        let at = self.0.iter().position(|token| token.audience == source.audience && token.seconds == seconds);
        if let Some(token) = at.and_then(|at| self.0.get(at)).filter(|token| Instant::now() < token.stale_at) {
            return Ok(Some(token.text.clone()));
        }
        let Some(text) = request(context, object, source.audience.as_deref(), seconds).await? else { return Ok(None) };
        let text = Bytes::from(text);
        let life = crate::container::stop::seconds(seconds) * 4 / 5;
        let stale_at = Instant::now() + life.min(LONGEST_USE);
        let token = Token { audience: source.audience.clone(), seconds, text: text.clone(), stale_at };
        match at {
            Some(at) => self.0[at] = token,
            None => self.0.push(token),
        }
        Ok(Some(text))
    }
}

async fn request(
    context: &PodContext,
    object: &Pod,
    audience: Option<&str>,
    seconds: i64,
) -> Result<Option<String>, String> {
    let account = pod::spec(object).service_account_name.as_deref().unwrap_or("default");
    let audiences: Vec<&str> = audience.into_iter().collect();
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
        Ok(answer) => Ok(Some(answer["status"]["token"].as_str().unwrap_or_default().to_owned())),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405 | 501) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
