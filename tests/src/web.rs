//! HTTP to guests: pods and Services, by address.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// GET on a connection of its own.
pub async fn get(address: &str, path: &str) -> Result<(StatusCode, String)> {
    send(Request::get(path), address, Bytes::new()).await
}

/// POST on a connection of its own.
pub async fn post(address: &str, path: &str, body: impl Into<Bytes>) -> Result<(StatusCode, String)> {
    send(Request::post(path), address, body.into()).await
}

async fn send(request: http::request::Builder, address: &str, body: Bytes) -> Result<(StatusCode, String)> {
    let exchange = async {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request.header("host", address).body(Full::new(body))?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        driver.abort();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::time::timeout(Duration::from_secs(20), exchange).await.context("no answer in 20 s")?
}
