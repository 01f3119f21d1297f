//! Address ranges. IPv4 only.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 range such as `127.96.0.0/12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    base: u32,
    bits: u8,
}

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 range such as 127.96.0.0/12")]
pub struct CidrError(String);

impl Cidr {
    /// 127.96.0.0/12.
    pub const DEFAULT_SERVICES: Self = Self { base: u32::from_be_bytes([127, 96, 0, 0]), bits: 12 };

    /// A range as objects of the API may say: of any size. `None` for what is no IPv4 range.
    pub(crate) fn of_any_size(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let bits: u8 = bits.parse().ok().filter(|bits| *bits <= 32)?;
        let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        Some(Self { base: u32::from(address.parse::<Ipv4Addr>().ok()?) & mask, bits })
    }

    /// Number of addresses, less the network's own and the broadcast address; 0 for ranges smaller than four.
    #[must_use]
    pub fn usable(self) -> u32 {
        let size = 1_u64 << (32 - u32::from(self.bits));
        u32::try_from(size.saturating_sub(2)).unwrap_or(u32::MAX)
    }

    /// The `n`th usable address, from 0.
    #[must_use]
    pub fn nth(self, n: u32) -> Option<Ipv4Addr> {
        (n < self.usable()).then(|| Ipv4Addr::from(self.base + 1 + n))
    }

    /// The inverse of [`Cidr::nth`].
    #[must_use]
    pub fn position(self, ip: Ipv4Addr) -> Option<u32> {
        let position = u32::from(ip).checked_sub(self.base)?.checked_sub(1)?;
        (position < self.usable()).then_some(position)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        Self::of_any_size(text).filter(|cidr| (8..=30).contains(&cidr.bits)).ok_or_else(|| CidrError(text.into()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_count_their_usable_addresses() {
        let cidr: Cidr = "10.96.0.9/29".parse().unwrap();
        assert_eq!(cidr.to_string(), "10.96.0.8/29");
        assert_eq!(cidr.usable(), 6);
        assert_eq!(cidr.nth(0), Some(Ipv4Addr::new(10, 96, 0, 9)));
        assert_eq!(cidr.nth(6), None);
        assert_eq!(cidr.position(Ipv4Addr::new(10, 96, 0, 14)), Some(5));
        assert_eq!(cidr.position(Ipv4Addr::new(10, 96, 0, 15)), None);
        assert_eq!(cidr.position(Ipv4Addr::new(10, 96, 0, 8)), None);
        for (any, usable) in [("0.0.0.0/0", u32::MAX - 1), ("10.0.0.0/31", 0), ("10.0.0.7/32", 0)] {
            assert_eq!(Cidr::of_any_size(any).unwrap().usable(), usable, "{any}");
        }
        assert_eq!(Cidr::of_any_size("fd00::/64"), None);
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "::/64", "10.0.0.0/31"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
