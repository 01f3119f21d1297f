//! Which process of this host uses which address range.
//!
//! Loopback addresses are shared by everything on a host, so two clusters with the same ranges would hand out the
//! same addresses twice. A [`Claim`] is a listening socket on a range's first address (which is never given to a pod
//! or Service): the kernel lets one process have it, and takes it back when the process ends, however it ends.
//!
//! A range of /16 or wider has a socket on each /16 in it, so that wide ranges of different sizes see each other; a
//! narrower one looks whether the /16 around it is claimed. Not seen: a wide claim does not notice an earlier narrow one
//! inside it, nor do narrow ones of different sizes notice each other.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use crate::Cidr;

/// The ports of the claiming sockets, of wide and of narrow ranges; nothing ever talks to them.
const WIDE_PORT: u16 = 64_443;
const NARROW_PORT: u16 = 64_444;
const BLOCK: u8 = 16;
/// On loopback a free address answers (by refusing) at once; the claimed one may have a full backlog.
const LOOK: Duration = Duration::from_millis(200);

/// The exclusive use of a range among the processes of this host, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    range: Cidr,
    _sockets: Vec<TcpListener>,
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
    /// Claims exactly `range`; at most 256 /16s of it are guarded.
    ///
    /// # Errors
    /// [`ClaimError::Taken`] if another process (or another claim of this one) has it.
    pub fn exactly(range: Cidr) -> Result<Self, ClaimError> {
        let addresses: Vec<SocketAddr> = if range.prefix() <= BLOCK {
            range.subranges(BLOCK).take(256).map(|block| socket(block.first(), WIDE_PORT)).collect()
        } else {
            let around = socket(Cidr::new(range.first(), BLOCK).first(), WIDE_PORT);
            match TcpStream::connect_timeout(&around, LOOK) {
                Err(error) if error.kind() != io::ErrorKind::TimedOut => {}
                _ => return Err(ClaimError::Taken(range)),
            }
            vec![socket(range.first(), NARROW_PORT)]
        };
        let bind = |address| match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(ClaimError::Taken(range)),
            other => other.map_err(|source| ClaimError::Bind { range, source }),
        };
        let sockets = addresses.into_iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Self { range, _sockets: sockets })
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

fn socket(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(address, port))
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

    #[test]
    fn wide_ranges_of_any_size_see_each_other_and_narrow_ones_see_them() {
        // Outside the default ranges and those of other tests; nobody else claims there.
        let wide: Cidr = "127.80.0.0/13".parse().unwrap();
        let claim = Claim::exactly(wide).unwrap();
        for overlapping in ["127.82.0.0/16", "127.84.0.0/14", "127.80.0.0/12", "127.83.5.0/24"] {
            let claimed = Claim::exactly(overlapping.parse().unwrap());
            assert!(matches!(claimed, Err(ClaimError::Taken(_))), "{overlapping}");
        }
        let beside = Claim::first_free("127.80.0.0/12".parse().unwrap(), 16).unwrap();
        assert_eq!(beside.range().to_string(), "127.88.0.0/16");
        drop(claim);
        Claim::exactly(wide).unwrap();
    }
}
