//! One plain HTTP GET, for showing a Service's answer and for measuring.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;

/// Most bytes of an answer that are read.
const MAX_BYTES: usize = 1 << 20;

/// Pause between two tries.
const RETRY: Duration = Duration::from_millis(10);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: http::StatusCode,
    pub body: String,
}

/// GETs an `http://` URL, again and again until somebody answers or `limit` is over.
pub async fn get(url: &str, limit: Duration) -> Result<Answer> {
    let uri: http::Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
    let mut last = None;
    let tries = async {
        loop {
            match request(&uri).await {
                Ok(answer) => return answer,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    match tokio::time::timeout(limit, tries).await {
        Ok(answer) => Ok(answer),
        Err(_) => Err(last.unwrap_or_else(|| anyhow::anyhow!("no answer")))
            .with_context(|| format!("{url} did not answer in {} s", limit.as_secs())),
    }
}

async fn request(uri: &http::Uri) -> Result<Answer> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client.get(uri.clone()).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
    let body = body.map_err(|e| anyhow::anyhow!("the answer broke off: {e}"))?.to_bytes();
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}
