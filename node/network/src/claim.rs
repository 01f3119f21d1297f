//! Which process of this host uses which address range.
//!
//! Loopback addresses are shared by everything on a host, so two clusters with the same ranges would hand out the
//! same addresses twice. A [`Claim`] is a listening socket on a range's first address (which is never given to a pod
//! or Service): the kernel lets one process have it, and takes it back when the process ends, however it ends.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener};

use crate::Cidr;

/// The port of the claiming sockets; nothing ever talks to it.
const CLAIM_PORT: u16 = 64_443;

/// The exclusive use of a range among the processes of this host, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    range: Cidr,
    _socket: TcpListener,
}

/// Why a range could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("another process on this host uses the address range {0}")]
    Taken(Cidr),
    #[error("every /{prefix} address range of {within} is in use by another process on this host")]
    NoneFree { within: Cidr, prefix: u8 },
    #[error("cannot bind an address of the range {range}")]
    Bind {
        range: Cidr,
        #[source]
        source: io::Error,
    },
}

impl Claim {
    /// Claims exactly `range`. Only ranges of the same size see each other: claim what your cluster as a whole uses.
    ///
    /// # Errors
    /// [`ClaimError::Taken`] if another process (or another claim of this one) has it.
    pub fn exactly(range: Cidr) -> Result<Self, ClaimError> {
        let address = SocketAddr::V4(SocketAddrV4::new(range.first(), CLAIM_PORT));
        match TcpListener::bind(address) {
            Ok(socket) => Ok(Self { range, _socket: socket }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(ClaimError::Taken(range)),
            Err(source) => Err(ClaimError::Bind { range, source }),
        }
    }

    /// Claims the first range of `prefix` bits inside `within` that no other process has.
    ///
    /// # Errors
    /// [`ClaimError::NoneFree`] if all are taken.
    pub fn first_free(within: Cidr, prefix: u8) -> Result<Self, ClaimError> {
        for range in within.subranges(prefix) {
            match Self::exactly(range) {
                Err(ClaimError::Taken(_)) => {}
                other => return other,
            }
        }
        Err(ClaimError::NoneFree { within, prefix })
    }

    #[must_use]
    pub fn range(&self) -> Cidr {
        self.range
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::testing::random_range;

    #[test]
    fn a_range_belongs_to_one() {
        let range = random_range();
        let first = Claim::exactly(range).unwrap();
        assert!(matches!(Claim::exactly(range), Err(ClaimError::Taken(taken)) if taken == range));
        drop(first);
        Claim::exactly(range).unwrap();
    }

    #[test]
    fn picks_the_first_free_one() {
        let within = random_range();
        let first = Claim::first_free(within, within.prefix() + 1).unwrap();
        let second = Claim::first_free(within, within.prefix() + 1).unwrap();
        assert_ne!(first.range(), second.range());
        assert!(matches!(Claim::first_free(within, within.prefix() + 1), Err(ClaimError::NoneFree { .. })));
    }
}
