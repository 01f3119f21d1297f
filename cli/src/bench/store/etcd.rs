//! An etcd of its own, on free loopback ports, and the one request that is measured: `KV/Put`, framed by hand over
//! HTTP/2, so that no client library slows etcd down.

use anyhow::{Context as _, Result, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};

/// How long etcd may take to start.
const LIMIT: Duration = Duration::from_secs(30);

/// Connections that the writers share.
const CONNECTIONS: usize = 8;

type Http = Client<HttpConnector, Full<Bytes>>;

/// A running etcd.
pub struct Etcd {
    clients: Vec<Http>,
    next: AtomicUsize,
    url: String,
    _child: Child,
}

impl Etcd {
    /// Starts `binary` with its data in `dir`; `None` when there is no such program.
    pub async fn start(binary: &Path, dir: &Path) -> Result<Option<Self>> {
        let (client, peer) = (free_port()?, free_port()?);
        let (url, peer_url) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let child = Command::new(binary)
            .arg("--data-dir")
            .arg(dir.join("etcd"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}")])
            .args(["--quota-backend-bytes", "8589934592", "--logger", "zap", "--log-level", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot start {}", binary.display())),
        };
        let mut connector = HttpConnector::new();
        // Without it a lone writer waits 40 ms for a delayed acknowledgement.
        connector.set_nodelay(true);
        let client = || Client::builder(TokioExecutor::new()).http2_only(true).build(connector.clone());
        let clients = (0..CONNECTIONS).map(|_| client()).collect();
        let etcd = Self { clients, next: AtomicUsize::new(0), url, _child: child };
        let ready = async {
            while let Err(error) = etcd.put("ready").await {
                tracing::debug!(%error, "etcd is not there yet");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, ready).await.context("etcd does not answer")?;
        Ok(Some(etcd))
    }

    /// Writes 1 KiB to `key`.
    pub fn put(&self, key: &str) -> impl Future<Output = Result<()>> + Send + use<> {
        let client = self.clients[self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS].clone();
        let request = http::Request::post(format!("{}/etcdserverpb.KV/Put", self.url))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(put_request(key.as_bytes(), &[b'x'; 1_024])));
        async move {
            let response = client.request(request?).await?;
            // An error before the answer stands in the headers, one after it in the trailers.
            let status = response.headers().get("grpc-status").cloned();
            let body = response.into_body().collect().await?;
            let status = status.or_else(|| body.trailers()?.get("grpc-status").cloned());
            match status {
                Some(status) if status == "0" => Ok(()),
                status => bail!("etcd answered with the gRPC status {status:?}"),
            }
        }
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// `PutRequest { 1: key, 2: value }` in one uncompressed gRPC frame.
fn put_request(key: &[u8], value: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(key.len() + value.len() + 16);
    for (tag, bytes) in [(0x0A, key), (0x12, value)] {
        message.put_u8(tag);
        varint(&mut message, bytes.len());
        message.put_slice(bytes);
    }
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

fn varint(out: &mut BytesMut, mut number: usize) {
    while number >= 0x80 {
        out.put_u8((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_framed_as_grpc_wants_it() {
        let value = [b'v'; 200];
        let frame = put_request(b"key", &value);
        assert_eq!(frame[..5], [0, 0, 0, 0, 208]);
        assert_eq!(frame[5..10], [0x0A, 3, b'k', b'e', b'y']);
        assert_eq!(frame[10..13], [0x12, 0xC8, 1]);
        assert_eq!(frame[13..], value);
    }
}
