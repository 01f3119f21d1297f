//! One check of a probe, and the HTTP call of a lifecycle hook: plain sockets to the pod's address.
//! Knows nothing of thresholds or of what follows from a failure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use api::k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe, TCPSocketAction};
use api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Bytes of an answer's body that end up in an event.
const MAX_BODY: usize = 10 * 1024;

/// What is to be done, with everything looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Http { address: Address, port: u16, path: String, headers: Vec<(String, String)> },
    Tcp { address: Address, port: u16 },
}

/// Where to: the pod, unless the probe names a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Pod,
    Host(String),
}

/// Why a probe can't be run at all.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ActionError {
    #[error("exec {0} are not in this version of Skiff: the container counts as if there were none")]
    Exec(&'static str),
    #[error("gRPC probes are not in this version of Skiff: the container counts as if there were none")]
    Grpc,
    #[error("HTTPS {0} are not in this version of Skiff")]
    Https(&'static str),
    #[error("couldn't find port {0:?} in the container")]
    Port(String),
    #[error("no action given")]
    None,
}

impl Action {
    pub fn of_probe(probe: &Probe, container: &Container) -> Result<Self, ActionError> {
        if let Some(get) = &probe.http_get {
            Self::http(get, container, "probes")
        } else if let Some(tcp) = &probe.tcp_socket {
            Self::tcp(tcp, container)
        } else if probe.exec.is_some() {
            Err(ActionError::Exec("probes"))
        } else if probe.grpc.is_some() {
            Err(ActionError::Grpc)
        } else {
            Err(ActionError::None)
        }
    }

    /// `what` names the user of the action in errors.
    pub fn http(get: &HTTPGetAction, container: &Container, what: &'static str) -> Result<Self, ActionError> {
        if get.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https")) {
            return Err(ActionError::Https(what));
        }
        let path = get.path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let headers = get.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect();
        Ok(Action::Http { address: host(get.host.as_deref()), port: port(&get.port, container)?, path, headers })
    }

    fn tcp(tcp: &TCPSocketAction, container: &Container) -> Result<Self, ActionError> {
        Ok(Action::Tcp { address: host(tcp.host.as_deref()), port: port(&tcp.port, container)? })
    }

    /// Performs the action; the error is worded as the kubelet's events are.
    pub async fn run(&self, pod_ip: IpAddr, timeout: Duration) -> Result<(), String> {
        match self {
            Action::Tcp { address, port } => match tokio::time::timeout(timeout, connect(address, pod_ip, *port)).await
            {
                Ok(result) => result.map(drop),
                Err(_) => Err(format!("dial tcp {}: i/o timeout", authority(address, pod_ip, *port))),
            },
            Action::Http { address, port, path, headers } => {
                let url = format!("http://{}{path}", authority(address, pod_ip, *port));
                let work = get(address, pod_ip, *port, path, headers);
                match tokio::time::timeout(timeout, work).await {
                    Ok(Ok(status)) if (200..400).contains(&status) => Ok(()),
                    Ok(Ok(status)) => Err(format!("HTTP probe failed with statuscode: {status}")),
                    Ok(Err(error)) => Err(format!("Get \"{url}\": {error}")),
                    Err(_) => Err(format!(
                        "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
                    )),
                }
            }
        }
    }
}

fn host(host: Option<&str>) -> Address {
    host.filter(|h| !h.is_empty()).map_or(Address::Pod, |h| Address::Host(h.to_owned()))
}

fn port(port: &IntOrString, container: &Container) -> Result<u16, ActionError> {
    match port {
        IntOrString::Int(number) => {
            u16::try_from(*number).ok().filter(|p| *p > 0).ok_or_else(|| ActionError::Port(number.to_string()))
        }
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|p| p.name.as_deref() == Some(name))
            .and_then(|p| u16::try_from(p.container_port).ok())
            .or_else(|| name.parse().ok())
            .ok_or_else(|| ActionError::Port(name.clone())),
    }
}

fn authority(address: &Address, pod_ip: IpAddr, port: u16) -> String {
    match address {
        Address::Pod => SocketAddr::new(pod_ip, port).to_string(),
        Address::Host(host) => format!("{host}:{port}"),
    }
}

async fn connect(address: &Address, pod_ip: IpAddr, port: u16) -> Result<TcpStream, String> {
    let result = match address {
        Address::Pod => TcpStream::connect((pod_ip, port)).await,
        Address::Host(host) => TcpStream::connect((host.as_str(), port)).await,
    };
    result.map_err(|error| {
        let text = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {}: {text}", authority(address, pod_ip, port))
    })
}

async fn get(
    address: &Address,
    pod_ip: IpAddr,
    port: u16,
    path: &str,
    headers: &[(String, String)],
) -> Result<u16, String> {
    let stream = connect(address, pod_ip, port).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let mut request = Request::get(path)
        .header(header::USER_AGENT, "kube-probe/1.36")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close");
    let mut host = authority(address, pod_ip, port);
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("host") {
            host.clone_from(value);
        } else {
            request = request.header(name, value);
        }
    }
    let request = request.header(header::HOST, host).body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        // Read a little, so that a server which writes before it looks doesn't see a reset.
        let _ = Limited::new(response.into_body(), MAX_BODY).collect().await;
        Ok(status)
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        result = &mut exchange => result,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn action(probe: serde_json::Value) -> Result<Action, ActionError> {
        let container = serde_json::from_value(json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}));
        Action::of_probe(&serde_json::from_value(probe).unwrap(), &container.unwrap())
    }

    #[test]
    fn looks_up_ports_and_refuses_what_is_not_there() {
        let expected = Action::Http { address: Address::Pod, port: 8080, path: "/healthz".into(), headers: vec![] };
        assert_eq!(action(json!({"httpGet": {"port": "web", "path": "healthz"}})), Ok(expected));
        assert_eq!(action(json!({"tcpSocket": {"port": "none"}})), Err(ActionError::Port("none".into())));
        assert_eq!(action(json!({"exec": {"command": ["true"]}})), Err(ActionError::Exec("probes")));
        assert_eq!(action(json!({"grpc": {"port": 1}})), Err(ActionError::Grpc));
        assert!(matches!(action(json!({"httpGet": {"port": 1, "scheme": "HTTPS"}})), Err(ActionError::Https(_))));
    }

    async fn serve(answer: &'static str) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn judges_by_status_code() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let limit = Duration::from_secs(60);
        let check = async |port| {
            let get = Action::Http { address: Address::Pod, port, path: "/".into(), headers: vec![] };
            get.run(ip, limit).await
        };
        let good = serve("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(check(good).await, Ok(()));
        let bad = serve("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(check(bad).await.unwrap_err(), "HTTP probe failed with statuscode: 500");
        assert_eq!(Action::Tcp { address: Address::Pod, port: good }.run(ip, limit).await, Ok(()));
        let error = check(1).await.unwrap_err();
        assert_eq!(error, "Get \"http://127.0.0.1:1/\": dial tcp 127.0.0.1:1: connect: connection refused");
    }

    #[tokio::test]
    async fn a_silent_server_times_out() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let get = Action::Http { address: Address::Pod, port, path: "/".into(), headers: vec![] };
        let error = get.run([127, 0, 0, 1].into(), Duration::from_millis(20)).await.unwrap_err();
        assert!(error.ends_with("(Client.Timeout exceeded while awaiting headers)"), "{error}");
    }
}
