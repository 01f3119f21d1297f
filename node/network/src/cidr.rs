//! IPv4 address ranges.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A range of IPv4 addresses in CIDR notation. The address is always the range's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    first: u32,
    prefix: u8,
}

/// Why a text is not a [`Cidr`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct ParseCidrError(String);

impl Cidr {
    /// The range of `address` with a prefix of `prefix` bits (0 to 32); lower bits of the address are cleared.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self { first: u32::from(address) & mask(prefix), prefix }
    }

    /// The number of leading bits all addresses share.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first address: the network's own.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        Ipv4Addr::from(self.first)
    }

    /// How many addresses the range has.
    #[must_use]
    pub fn size(self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    /// The address `index` places after the first; `None` beyond the range's end.
    #[must_use]
    pub fn nth(self, index: u64) -> Option<Ipv4Addr> {
        let offset = u32::try_from(index).ok().filter(|_| index < self.size())?;
        Some(Ipv4Addr::from(self.first + offset))
    }

    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == self.first
    }

    /// Whether any address belongs to both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.first()) || other.contains(self.first())
    }

    /// The ranges of `prefix` bits inside this one, in order; none if `prefix` is shorter than its own.
    pub fn subranges(self, prefix: u8) -> impl Iterator<Item = Self> {
        let count = if (self.prefix..=32).contains(&prefix) { 1_u64 << (prefix - self.prefix) } else { 0 };
        let step = 1_u64 << (32 - u32::from(prefix.min(32)));
        (0..count).filter_map(move |index| Some(Self::new(self.nth(index * step)?, prefix)))
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first(), self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let prefix: u8 = prefix.parse().ok().filter(|bits| *bits <= 32)?;
            Some(Self::new(address.parse().ok()?, prefix))
        };
        parse().ok_or_else(|| ParseCidrError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        let cidr: Cidr = "127.64.3.9/24".parse().unwrap();
        assert_eq!(cidr.to_string(), "127.64.3.0/24");
        assert_eq!(cidr.size(), 256);
        for bad in ["", "127.0.0.1", "127.0.0.1/33", "127.0.0/8", "::1/8", "1.2.3.4/-1"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn knows_its_members() {
        let cidr: Cidr = "127.64.0.0/12".parse().unwrap();
        assert!(cidr.contains(Ipv4Addr::new(127, 79, 255, 255)));
        assert!(!cidr.contains(Ipv4Addr::new(127, 80, 0, 0)));
        assert_eq!(cidr.nth(0), Some(cidr.first()));
        assert_eq!(cidr.nth(cidr.size()), None);
        assert_eq!("0.0.0.0/0".parse::<Cidr>().unwrap().size(), 1 << 32);
        assert!(!cidr.overlaps("127.96.0.0/12".parse().unwrap()));
        assert!(cidr.overlaps("127.0.0.0/8".parse().unwrap()));
    }

    #[test]
    fn splits_into_subranges() {
        let cidr: Cidr = "127.64.0.0/14".parse().unwrap();
        let parts: Vec<String> = cidr.subranges(16).map(|part| part.to_string()).collect();
        assert_eq!(parts, ["127.64.0.0/16", "127.65.0.0/16", "127.66.0.0/16", "127.67.0.0/16"]);
        assert_eq!(cidr.subranges(8).count(), 0);
    }
}
