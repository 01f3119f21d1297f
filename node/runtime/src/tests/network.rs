//! Sockets, name look-ups and outgoing HTTP over the pod's network: the host's functions called
//! as a guest would, with a network that lives in memory.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::bindings::sockets::instance_network::Host as _;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{Host as _, HostResolveAddressStream as _};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Network};
use wasmtime_wasi::p2::bindings::sockets::tcp::{HostTcpSocket, ShutdownType, TcpSocket};
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket::Host as _;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, Pollable, SocketError};
use wasmtime_wasi::sockets::WasiSocketsCtxView;
use wasmtime_wasi_http::WasiHttpHooks;

use crate::host::outgoing::Outgoing;
use crate::host::sockets::SocketsView;
use crate::host::tcp::PodSocket;
use crate::{BoxIo, Connection, GuestListener, GuestNetwork, Target};

const POD: &str = "127.64.0.9";
const CLIENT: &str = "127.64.0.10:4000";

/// One address, any port, streams in memory.
#[derive(Default)]
struct Memory {
    listeners: Mutex<HashMap<u16, mpsc::Sender<BoxIo>>>,
}

struct Listener {
    local: SocketAddr,
    accepted: tokio::sync::Mutex<mpsc::Receiver<BoxIo>>,
}

fn pod() -> IpAddr {
    POD.parse().unwrap()
}

#[async_trait::async_trait]
impl GuestNetwork for Memory {
    fn ip(&self) -> IpAddr {
        pod()
    }

    async fn connect(&self, target: Target, port: u16) -> io::Result<Connection> {
        assert!([Target::Ip(pod()), Target::Name("web".into())].contains(&target), "{target:?}");
        let listener = self.listeners.lock().get(&port).cloned();
        let (ours, theirs) = tokio::io::duplex(1024);
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        listener.ok_or_else(refused)?.send(Box::new(theirs)).await.map_err(|_| refused())?;
        let peer = SocketAddr::new(pod(), port);
        Ok(Connection { io: Box::new(ours), local: CLIENT.parse().unwrap(), peer })
    }

    async fn listen(&self, port: u16) -> io::Result<Box<dyn GuestListener>> {
        let (sender, accepted) = mpsc::channel(8);
        if self.listeners.lock().insert(port, sender).is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let local = SocketAddr::new(pod(), port);
        Ok(Box::new(Listener { local, accepted: tokio::sync::Mutex::new(accepted) }))
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if name == "web" { Ok(vec![pod()]) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

#[async_trait::async_trait]
impl GuestListener for Listener {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    async fn accept(&self) -> io::Result<Connection> {
        let io = self.accepted.lock().await.recv().await;
        let io = io.ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok(Connection { io, local: self.local, peer: CLIENT.parse().unwrap() })
    }
}

/// A guest's side of things.
struct Guest {
    network: Arc<dyn GuestNetwork>,
    table: ResourceTable,
    capability: u32,
}

impl Guest {
    fn new(network: &Arc<Memory>) -> Self {
        let mut table = ResourceTable::new();
        let mut wasi = WasiCtx::builder().build();
        let capability =
            WasiSocketsCtxView { ctx: wasi.sockets(), table: &mut table }.instance_network().unwrap().rep();
        Self { network: network.clone(), table, capability }
    }

    fn view(&mut self) -> SocketsView<'_> {
        SocketsView { network: &self.network, table: &mut self.table }
    }

    fn capability(&self) -> Resource<Network> {
        Resource::new_borrow(self.capability)
    }

    fn socket(&mut self) -> u32 {
        self.view().create_tcp_socket(IpAddressFamily::Ipv4).unwrap().rep()
    }

    async fn ready(&mut self, socket: u32) {
        let socket = Resource::<PodSocket>::new_borrow(socket);
        self.table.get_mut(&socket).unwrap().ready().await;
    }

    async fn listen(&mut self, address: &str) -> Result<u32, SocketError> {
        let socket = self.socket();
        let network = self.capability();
        self.view().start_bind(tcp(socket), network, at(address)).await?;
        self.view().finish_bind(tcp(socket))?;
        self.view().start_listen(tcp(socket)).await?;
        self.view().finish_listen(tcp(socket))?;
        Ok(socket)
    }

    async fn connect(&mut self, address: &str) -> Result<(u32, Streams), SocketError> {
        let socket = self.socket();
        let network = self.capability();
        self.view().start_connect(tcp(socket), network, at(address))?;
        self.ready(socket).await;
        let streams = self.view().finish_connect(tcp(socket))?;
        Ok((socket, streams))
    }

    async fn write(&mut self, stream: &Resource<DynOutputStream>, bytes: &'static [u8]) {
        let stream = self.table.get_mut(stream).unwrap();
        stream.blocking_write_and_flush(Bytes::from_static(bytes)).await.unwrap();
    }

    async fn read(&mut self, stream: &Resource<DynInputStream>) -> Vec<u8> {
        let stream = self.table.get_mut(stream).unwrap();
        let mut all = Vec::new();
        while let Ok(bytes) = stream.blocking_read(1024).await {
            all.extend_from_slice(&bytes);
        }
        all
    }
}

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

fn tcp(socket: u32) -> Resource<TcpSocket> {
    Resource::new_borrow(socket)
}

fn at(address: &str) -> IpSocketAddress {
    address.parse::<SocketAddr>().unwrap().into()
}

fn code<T>(result: Result<T, SocketError>) -> ErrorCode {
    match result {
        Ok(_) => panic!("it works"),
        Err(error) => *error.downcast_ref().expect("an error code, no trap"),
    }
}

#[tokio::test]
async fn two_guests_talk_over_the_pods_network() {
    let network = Arc::new(Memory::default());
    let (mut server, mut client) = (Guest::new(&network), Guest::new(&network));
    let listener = server.listen("0.0.0.0:80").await.unwrap();
    let local = server.view().local_address(tcp(listener)).unwrap();
    assert_eq!(SocketAddr::from(local), SocketAddr::new(pod(), 80), "bound on the pod's address");
    assert!(server.view().is_listening(tcp(listener)).unwrap());
    assert_eq!(code(server.view().accept(tcp(listener))), ErrorCode::WouldBlock);

    // "localhost" in the pod is the pod.
    let (connected, (input, output)) = client.connect("127.0.0.1:80").await.unwrap();
    server.ready(listener).await;
    let (accepted, server_input, server_output) = server.view().accept(tcp(listener)).unwrap();
    let peer = server.view().remote_address(Resource::new_borrow(accepted.rep())).unwrap();
    assert_eq!(SocketAddr::from(peer), CLIENT.parse().unwrap());

    client.write(&output, b"ping").await;
    client.view().shutdown(tcp(connected), ShutdownType::Send).unwrap();
    assert_eq!(server.read(&server_input).await, b"ping");
    server.write(&server_output, b"pong").await;
    server.view().shutdown(accepted, ShutdownType::Both).unwrap();
    assert_eq!(client.read(&input).await, b"pong");
}

#[tokio::test]
async fn sockets_refuse_what_they_should() {
    let network = Arc::new(Memory::default());
    let mut guest = Guest::new(&network);
    assert_eq!(code(guest.view().create_tcp_socket(IpAddressFamily::Ipv6)), ErrorCode::NotSupported);
    assert_eq!(code(guest.connect("127.64.0.9:81").await), ErrorCode::ConnectionRefused);
    assert_eq!(code(guest.connect("0.0.0.0:81").await), ErrorCode::InvalidArgument);
    assert_eq!(code(guest.listen("10.1.2.3:80").await), ErrorCode::AddressNotBindable);
    guest.listen("0.0.0.0:80").await.unwrap();
    assert_eq!(code(guest.listen("0.0.0.0:80").await), ErrorCode::AddressInUse);
    let fresh = guest.socket();
    assert_eq!(code(guest.view().accept(tcp(fresh))), ErrorCode::InvalidState);
    assert_eq!(code(guest.view().finish_connect(tcp(fresh))), ErrorCode::NotInProgress);
    assert_eq!(code(guest.view().set_hop_limit(tcp(fresh), 0)), ErrorCode::InvalidArgument);
    HostTcpSocket::drop(&mut guest.view(), Resource::new_own(fresh)).unwrap();
}

/// The first address of `name`, as a guest finds it.
async fn lookup(guest: &mut Guest, name: &str) -> Result<IpAddr, ErrorCode> {
    let capability = guest.capability();
    let stream = guest.view().resolve_addresses(capability, name.to_owned()).unwrap().rep();
    loop {
        match guest.view().resolve_next_address(Resource::new_borrow(stream)) {
            Ok(Some(IpAddress::Ipv4((a, b, c, d)))) => return Ok(IpAddr::from([a, b, c, d])),
            Ok(other) => panic!("{other:?}"),
            Err(error) => match *error.downcast_ref().expect("an error code") {
                ErrorCode::WouldBlock => tokio::task::yield_now().await,
                code => return Err(code),
            },
        }
    }
}

#[tokio::test]
async fn names_are_looked_up_in_the_pods_network() {
    let network = Arc::new(Memory::default());
    let mut guest = Guest::new(&network);
    assert_eq!(lookup(&mut guest, "web").await, Ok(pod()));
    assert_eq!(lookup(&mut guest, "localhost").await, Ok(pod()));
    assert_eq!(lookup(&mut guest, "10.0.0.1").await, Ok([10, 0, 0, 1].into()));
    assert_eq!(lookup(&mut guest, "nobody").await, Err(ErrorCode::NameUnresolvable));
}

#[tokio::test]
async fn outgoing_http_goes_through_the_pods_network() {
    let network = Arc::new(Memory::default());
    let listener = network.listen(80).await.unwrap();
    let server = tokio::spawn(async move {
        let mut connection = listener.accept().await.unwrap();
        let mut head = vec![0; 1024];
        let read = connection.io.read(&mut head).await.unwrap();
        head.truncate(read);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        connection.io.write_all(answer).await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let mut outgoing = Outgoing { network };
    let send = |outgoing: &mut Outgoing, uri: &str| {
        let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
        let request = http::Request::get(uri).header("host", "web").body(body).unwrap();
        Box::into_pin(outgoing.send_request(request, None, Box::new(async { Ok(()) })))
    };
    let (response, worker) = send(&mut outgoing, "http://web/path?q=1").await.unwrap();
    let worker = tokio::spawn(Box::into_pin(worker));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert!(server.await.unwrap().starts_with("GET /path?q=1 HTTP/1.1\r\n"));
    worker.abort();

    let refused = send(&mut outgoing, "http://web:81/").await.err().unwrap();
    assert!(matches!(refused, wasmtime_wasi_http::Error::ConnectionRefused), "{refused}");
}
