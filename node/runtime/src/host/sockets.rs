//! `wasi:sockets` 0.2 over the pod's network: creating sockets and looking up names. The kernel's
//! sockets never appear: a guest's socket is a value here, its streams come from
//! [`GuestNetwork`]. UDP stays denied.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use futures::FutureExt;
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::tcp::TcpSocket;
use wasmtime_wasi::p2::bindings::sockets::{ip_name_lookup, network, tcp_create_socket};
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError, SocketResult};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;

use crate::GuestNetwork;
use crate::host::dial;
use crate::host::tcp::PodSocket;
use crate::state::ComponentState;

/// Marker for the linker.
pub(crate) struct PodSockets;

impl HasData for PodSockets {
    type Data<'a> = SocketsView<'a>;
}

pub(crate) struct SocketsView<'a> {
    pub network: &'a Arc<dyn GuestNetwork>,
    pub table: &'a mut ResourceTable,
}

pub(crate) fn view(state: &mut ComponentState) -> SocketsView<'_> {
    SocketsView { network: &state.network, table: &mut state.table }
}

/// The resources in the bindings have wasmtime-wasi's types; the table holds ours under the same
/// number. Nothing but this module and `tcp` looks at them, since the whole interface is ours.
pub(crate) fn ours<B, T>(resource: &Resource<B>) -> Resource<T>
where
    B: 'static,
    T: 'static,
{
    Resource::new_borrow(resource.rep())
}

pub(crate) fn theirs<T, B>(resource: &Resource<T>) -> Resource<B>
where
    T: 'static,
    B: 'static,
{
    Resource::new_own(resource.rep())
}

/// An I/O error in the words of `wasi:sockets`.
pub(crate) fn error_code(error: &io::Error) -> ErrorCode {
    match error.kind() {
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            ErrorCode::RemoteUnreachable
        }
        io::ErrorKind::NotFound => ErrorCode::NameUnresolvable,
        _ => ErrorCode::from(error),
    }
}

impl network::Host for SocketsView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?;
        Ok(error.downcast_ref::<io::Error>().map(error_code))
    }
}

impl network::HostNetwork for SocketsView<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        self.table.delete(network)?;
        Ok(())
    }
}

impl tcp_create_socket::Host for SocketsView<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        match (family, self.network.ip()) {
            (IpAddressFamily::Ipv4, IpAddr::V4(_)) | (IpAddressFamily::Ipv6, IpAddr::V6(_)) => {}
            _ => return Err(ErrorCode::NotSupported.into()),
        }
        let socket = self.table.push(PodSocket::new(family))?;
        Ok(theirs(&socket))
    }
}

/// An answer from the resolver, perhaps still on its way.
enum Lookup {
    Asked(AbortOnDropJoinHandle<io::Result<Vec<IpAddr>>>),
    Answered(std::vec::IntoIter<IpAddr>),
    Failed(ErrorCode),
}

impl Lookup {
    fn answer(&mut self, answer: io::Result<Vec<IpAddr>>) {
        *self = match answer {
            Ok(addresses) if addresses.is_empty() => Self::Failed(ErrorCode::NameUnresolvable),
            Ok(addresses) => Self::Answered(addresses.into_iter()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Self::Failed(ErrorCode::TemporaryResolverFailure),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Failed(ErrorCode::NameUnresolvable),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Failed(ErrorCode::AccessDenied),
            Err(_) => Self::Failed(ErrorCode::PermanentResolverFailure),
        };
    }
}

#[async_trait::async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        if let Self::Asked(answer) = self {
            let answer = answer.await;
            self.answer(answer);
        }
    }
}

impl ip_name_lookup::Host for SocketsView<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<ip_name_lookup::ResolveAddressStream>> {
        self.table.get(&network)?;
        if name.is_empty() || name.len() > 255 {
            return Err(ErrorCode::InvalidArgument.into());
        }
        let pod = self.network.clone();
        let answer = wasmtime_wasi::runtime::spawn(async move { dial::resolve(pod.as_ref(), &name).await });
        let lookup = self.table.push(Lookup::Asked(answer))?;
        Ok(theirs(&lookup))
    }
}

impl ip_name_lookup::HostResolveAddressStream for SocketsView<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ip_name_lookup::ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        let lookup: &mut Lookup = self.table.get_mut(&ours(&stream))?;
        if let Lookup::Asked(answer) = lookup
            && let Some(answer) = answer.now_or_never()
        {
            lookup.answer(answer);
        }
        match lookup {
            Lookup::Asked(_) => Err(ErrorCode::WouldBlock.into()),
            Lookup::Answered(addresses) => Ok(addresses.next().map(IpAddress::from)),
            Lookup::Failed(code) => Err(SocketError::from(*code)),
        }
    }

    fn subscribe(
        &mut self,
        stream: Resource<ip_name_lookup::ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        wasmtime_wasi::p2::subscribe(self.table, ours::<_, Lookup>(&stream))
    }

    fn drop(&mut self, stream: Resource<ip_name_lookup::ResolveAddressStream>) -> wasmtime::Result<()> {
        self.table.delete(Resource::<Lookup>::new_own(stream.rep()))?;
        Ok(())
    }
}
