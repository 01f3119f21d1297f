//! TCP sockets of guests: the `tcp-socket` resource of `wasi:sockets` 0.2 as a state machine over
//! the pod's network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network};
use wasmtime_wasi::p2::bindings::sockets::tcp::{self, ShutdownType, TcpSocket};
use wasmtime_wasi::p2::pipe::AsyncReadStream;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, OutputStream, Pollable, SocketResult, StreamError, StreamResult,
};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};

use crate::host::dial;
use crate::host::sockets::{SocketsView, error_code, ours, theirs};
use crate::{BoxIo, Connection, GuestListener};

/// Bytes that a guest may hand over at once, and how many such chunks wait for the peer.
const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 4;
/// How long a peer may take to read a chunk once the guest's end is gone.
const LINGER: Duration = Duration::from_secs(30);
/// Connections accepted before the guest asks for them.
const BACKLOG: usize = 128;

/// A guest's TCP socket.
pub(crate) struct PodSocket {
    family: IpAddressFamily,
    state: State,
    options: Options,
}

enum State {
    Fresh,
    Binding(SocketAddr),
    Bound(SocketAddr),
    Connecting(AbortOnDropJoinHandle<io::Result<Connection>>),
    /// The connection is made, or refused, and the guest has not asked yet.
    Answered(io::Result<Connection>),
    Connected {
        local: SocketAddr,
        peer: SocketAddr,
        finish: CancellationToken,
    },
    ListenStarted(Listening),
    Listening(Listening),
    Closed,
}

struct Listening {
    local: SocketAddr,
    accepted: mpsc::Receiver<Connection>,
    next: Option<Connection>,
    /// Accepts in the background; ends with the socket.
    _task: AbortOnDropJoinHandle<()>,
}

/// What guests may set and read back. Our streams have no use for most of it.
#[derive(Clone, Copy)]
struct Options {
    keep_alive: bool,
    idle_time: u64,
    interval: u64,
    count: u32,
    hop_limit: u8,
    receive_buffer: u64,
    send_buffer: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_alive: false,
            idle_time: 7_200_000_000_000,
            interval: 75_000_000_000,
            count: 9,
            hop_limit: 64,
            receive_buffer: CHUNK as u64,
            send_buffer: CHUNK as u64,
        }
    }
}

impl PodSocket {
    pub(crate) fn new(family: IpAddressFamily) -> Self {
        Self { family, state: State::Fresh, options: Options::default() }
    }

    fn takes(&self, ip: IpAddr) -> bool {
        matches!((self.family, ip), (IpAddressFamily::Ipv4, IpAddr::V4(_)) | (IpAddressFamily::Ipv6, IpAddr::V6(_)))
    }
}

#[async_trait::async_trait]
impl Pollable for PodSocket {
    async fn ready(&mut self) {
        match &mut self.state {
            State::Connecting(attempt) => {
                let answer = attempt.await;
                self.state = State::Answered(answer);
            }
            State::Listening(listening) if listening.next.is_none() => {
                listening.next = listening.accepted.recv().await;
            }
            _ => {}
        }
    }
}

/// Splits a connection into the two streams that the guest gets.
fn streams(io: BoxIo, finish: CancellationToken) -> (DynInputStream, DynOutputStream) {
    let (read, write) = tokio::io::split(io);
    let (queue, chunks) = mpsc::channel(CHUNKS);
    // Not tied to the guest's life: what a guest has written before it ends is still delivered.
    tokio::spawn(pump(chunks, write, finish).in_current_span());
    (Box::new(AsyncReadStream::new(read)), Box::new(Sender { queue }))
}

async fn pump(mut chunks: mpsc::Receiver<Bytes>, mut io: WriteHalf<BoxIo>, finish: CancellationToken) {
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = chunks.recv() => chunk,
            () = finish.cancelled() => None,
        };
        let Some(chunk) = chunk else { break };
        let mut written = pin!(io.write_all(&chunk));
        loop {
            match timeout(LINGER, &mut written).await {
                Ok(Ok(())) => break,
                Ok(Err(_)) => return,
                // Nobody is left to wait for a peer that does not read.
                Err(_) if chunks.is_closed() => return,
                Err(_) => {}
            }
        }
    }
    let _ = io.shutdown().await;
}

/// The guest's end of [`pump`].
struct Sender {
    queue: mpsc::Sender<Bytes>,
}

#[async_trait::async_trait]
impl Pollable for Sender {
    async fn ready(&mut self) {
        let _ = self.queue.reserve().await;
    }
}

#[async_trait::async_trait]
impl OutputStream for Sender {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.queue.try_send(bytes).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StreamError::trap("write without permission"),
            mpsc::error::TrySendError::Closed(_) => StreamError::Closed,
        })
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.queue.is_closed() {
            return Err(StreamError::Closed);
        }
        Ok(if self.queue.capacity() > 0 { CHUNK } else { 0 })
    }
}

async fn accept(listener: Box<dyn GuestListener>, accepted: mpsc::Sender<Connection>) {
    loop {
        // Room first: connections beyond the backlog wait in the network, not here.
        let Ok(room) = accepted.reserve().await else { return };
        match listener.accept().await {
            Ok(connection) => room.send(connection),
            Err(error) => {
                tracing::debug!(%error, "accept for a guest");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

impl SocketsView<'_> {
    fn socket(&mut self, socket: &Resource<TcpSocket>) -> SocketResult<&mut PodSocket> {
        Ok(self.table.get_mut(&ours::<_, PodSocket>(socket))?)
    }

    fn options(&mut self, socket: &Resource<TcpSocket>) -> SocketResult<&mut Options> {
        Ok(&mut self.socket(socket)?.options)
    }

    fn bindable(&self, address: SocketAddr) -> Option<SocketAddr> {
        let pod = self.network.ip();
        let ip = address.ip();
        let ours = ip.is_unspecified() || ip == pod || dial::is_localhost(ip);
        ours.then(|| SocketAddr::new(pod, address.port()))
    }
}

fn positive(value: u64) -> SocketResult<u64> {
    if value == 0 { Err(ErrorCode::InvalidArgument.into()) } else { Ok(value) }
}

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

impl tcp::Host for SocketsView<'_> {}

impl tcp::HostTcpSocket for SocketsView<'_> {
    async fn start_bind(
        &mut self,
        socket: Resource<TcpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.table.get(&network)?;
        let address = SocketAddr::from(address);
        let bindable = self.bindable(address);
        let socket = self.socket(&socket)?;
        if !socket.takes(address.ip()) {
            return Err(ErrorCode::InvalidArgument.into());
        }
        match socket.state {
            State::Fresh => {
                socket.state = State::Binding(bindable.ok_or(ErrorCode::AddressNotBindable)?);
                Ok(())
            }
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn finish_bind(&mut self, socket: Resource<TcpSocket>) -> SocketResult<()> {
        let socket = self.socket(&socket)?;
        match socket.state {
            State::Binding(address) => {
                socket.state = State::Bound(address);
                Ok(())
            }
            _ => Err(ErrorCode::NotInProgress.into()),
        }
    }

    fn start_connect(
        &mut self,
        socket: Resource<TcpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.table.get(&network)?;
        let address = SocketAddr::from(address);
        let pod = self.network.clone();
        let socket = self.socket(&socket)?;
        let invalid = address.ip().is_unspecified() || address.port() == 0;
        if invalid || !socket.takes(address.ip()) {
            return Err(ErrorCode::InvalidArgument.into());
        }
        if !matches!(socket.state, State::Fresh | State::Bound(_)) {
            return Err(ErrorCode::InvalidState.into());
        }
        socket.state = State::Connecting(spawn(async move {
            let target = crate::Target::Ip(address.ip());
            dial::connect(pod.as_ref(), target, address.port()).await
        }));
        Ok(())
    }

    fn finish_connect(&mut self, socket: Resource<TcpSocket>) -> SocketResult<Streams> {
        let handle = ours::<_, PodSocket>(&socket);
        let socket = self.socket(&socket)?;
        if let State::Connecting(attempt) = &mut socket.state {
            match attempt.now_or_never() {
                Some(answer) => socket.state = State::Answered(answer),
                None => return Err(ErrorCode::WouldBlock.into()),
            }
        }
        let connection = match std::mem::replace(&mut socket.state, State::Closed) {
            State::Answered(Ok(connection)) => connection,
            State::Answered(Err(error)) => return Err(error_code(&error).into()),
            other => {
                socket.state = other;
                return Err(ErrorCode::NotInProgress.into());
            }
        };
        let finish = CancellationToken::new();
        let (local, peer) = (connection.local, connection.peer);
        socket.state = State::Connected { local, peer, finish: finish.clone() };
        let (input, output) = streams(connection.io, finish);
        let input = self.table.push_child(input, &handle)?;
        let output = self.table.push_child(output, &handle)?;
        Ok((input, output))
    }

    async fn start_listen(&mut self, socket: Resource<TcpSocket>) -> SocketResult<()> {
        let network = self.network.clone();
        let socket = self.socket(&socket)?;
        let State::Bound(address) = socket.state else {
            return Err(ErrorCode::InvalidState.into());
        };
        let listener = network.listen(address.port()).await.map_err(|error| error_code(&error))?;
        let (sender, accepted) = mpsc::channel(BACKLOG);
        let local = listener.local_addr();
        let task = spawn(accept(listener, sender).in_current_span());
        socket.state = State::ListenStarted(Listening { local, accepted, next: None, _task: task });
        Ok(())
    }

    fn finish_listen(&mut self, socket: Resource<TcpSocket>) -> SocketResult<()> {
        let socket = self.socket(&socket)?;
        match std::mem::replace(&mut socket.state, State::Closed) {
            State::ListenStarted(listening) => {
                socket.state = State::Listening(listening);
                Ok(())
            }
            other => {
                socket.state = other;
                Err(ErrorCode::NotInProgress.into())
            }
        }
    }

    fn accept(
        &mut self,
        socket: Resource<TcpSocket>,
    ) -> SocketResult<(Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let socket = self.socket(&socket)?;
        let State::Listening(listening) = &mut socket.state else {
            return Err(ErrorCode::InvalidState.into());
        };
        let connection = match listening.next.take() {
            Some(connection) => connection,
            None => listening.accepted.try_recv().map_err(|_| ErrorCode::WouldBlock)?,
        };
        let finish = CancellationToken::new();
        let accepted = PodSocket {
            family: socket.family,
            options: socket.options,
            state: State::Connected { local: connection.local, peer: connection.peer, finish: finish.clone() },
        };
        let (input, output) = streams(connection.io, finish);
        let accepted = self.table.push(accepted)?;
        let input = self.table.push_child(input, &accepted)?;
        let output = self.table.push_child(output, &accepted)?;
        Ok((theirs(&accepted), input, output))
    }

    fn local_address(&mut self, socket: Resource<TcpSocket>) -> SocketResult<IpSocketAddress> {
        match &self.socket(&socket)?.state {
            State::Bound(local)
            | State::Connected { local, .. }
            | State::ListenStarted(Listening { local, .. })
            | State::Listening(Listening { local, .. }) => Ok((*local).into()),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn remote_address(&mut self, socket: Resource<TcpSocket>) -> SocketResult<IpSocketAddress> {
        match &self.socket(&socket)?.state {
            State::Connected { peer, .. } => Ok((*peer).into()),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn is_listening(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<bool> {
        let socket = self.table.get(&ours::<_, PodSocket>(&socket))?;
        Ok(matches!(socket.state, State::Listening(_)))
    }

    fn address_family(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&ours::<_, PodSocket>(&socket))?.family)
    }

    fn set_listen_backlog_size(&mut self, socket: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.socket(&socket)?;
        positive(value).map(drop)
    }

    fn keep_alive_enabled(&mut self, socket: Resource<TcpSocket>) -> SocketResult<bool> {
        Ok(self.options(&socket)?.keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, socket: Resource<TcpSocket>, on: bool) -> SocketResult<()> {
        self.options(&socket)?.keep_alive = on;
        Ok(())
    }

    fn keep_alive_idle_time(&mut self, socket: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.options(&socket)?.idle_time)
    }

    fn set_keep_alive_idle_time(&mut self, socket: Resource<TcpSocket>, v: u64) -> SocketResult<()> {
        self.options(&socket)?.idle_time = positive(v)?;
        Ok(())
    }

    fn keep_alive_interval(&mut self, socket: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.options(&socket)?.interval)
    }

    fn set_keep_alive_interval(&mut self, socket: Resource<TcpSocket>, v: u64) -> SocketResult<()> {
        self.options(&socket)?.interval = positive(v)?;
        Ok(())
    }

    fn keep_alive_count(&mut self, socket: Resource<TcpSocket>) -> SocketResult<u32> {
        Ok(self.options(&socket)?.count)
    }

    fn set_keep_alive_count(&mut self, socket: Resource<TcpSocket>, v: u32) -> SocketResult<()> {
        positive(u64::from(v))?;
        self.options(&socket)?.count = v;
        Ok(())
    }

    fn hop_limit(&mut self, socket: Resource<TcpSocket>) -> SocketResult<u8> {
        Ok(self.options(&socket)?.hop_limit)
    }

    fn set_hop_limit(&mut self, socket: Resource<TcpSocket>, v: u8) -> SocketResult<()> {
        positive(u64::from(v))?;
        self.options(&socket)?.hop_limit = v;
        Ok(())
    }

    fn receive_buffer_size(&mut self, socket: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.options(&socket)?.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, socket: Resource<TcpSocket>, v: u64) -> SocketResult<()> {
        self.options(&socket)?.receive_buffer = positive(v)?;
        Ok(())
    }

    fn send_buffer_size(&mut self, socket: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.options(&socket)?.send_buffer)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<TcpSocket>, v: u64) -> SocketResult<()> {
        self.options(&socket)?.send_buffer = positive(v)?;
        Ok(())
    }

    fn subscribe(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        wasmtime_wasi::p2::subscribe(self.table, ours::<_, PodSocket>(&socket))
    }

    fn shutdown(&mut self, socket: Resource<TcpSocket>, how: ShutdownType) -> SocketResult<()> {
        let State::Connected { finish, .. } = &self.socket(&socket)?.state else {
            return Err(ErrorCode::InvalidState.into());
        };
        if matches!(how, ShutdownType::Send | ShutdownType::Both) {
            finish.cancel();
        }
        Ok(())
    }

    fn drop(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<()> {
        self.table.delete(Resource::<PodSocket>::new_own(socket.rep()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_reads_does_not_keep_an_ended_guests_connection() {
        let (queue, chunks) = mpsc::channel(1);
        let (stuck, _peer) = tokio::io::duplex(1);
        let pump = tokio::spawn(pump(chunks, tokio::io::split(Box::new(stuck) as BoxIo).1, CancellationToken::new()));
        queue.send(Bytes::from_static(b"more than fits")).await.unwrap();
        tokio::time::sleep(LINGER * 10).await;
        assert!(!pump.is_finished(), "a guest that lives may wait as long as it likes");
        drop(queue);
        pump.await.unwrap();
    }
}
