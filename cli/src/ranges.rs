//! Cutting the pods' address range into a part for each node.

use anyhow::{Context as _, Result, bail};
use std::net::Ipv4Addr;

/// The most addresses a node gets by default: a /18, 16,384.
const WIDEST_NODE_PREFIX: u8 = 18;

/// The fewest: a /28, 16.
const NARROWEST_NODE_PREFIX: u8 = 28;

/// An IPv4 range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub base: u32,
    pub prefix: u8,
}

impl Range {
    /// Parses `127.64.0.0/12`. `what` is the flag to name in the error.
    pub fn parse(what: &str, text: &str) -> Result<Self> {
        let (address, prefix) =
            text.split_once('/').with_context(|| format!("{what} {text}: not of the form a.b.c.d/n"))?;
        let address: Ipv4Addr = address.parse().with_context(|| format!("{what} {text}: not an IPv4 range"))?;
        let prefix: u8 = prefix.parse().with_context(|| format!("{what} {text}: not an IPv4 range"))?;
        if !(8..=30).contains(&prefix) {
            bail!("{what} {text}: the prefix must be between 8 and 30");
        }
        let base = u32::from(address);
        let mask = u32::MAX << (32 - prefix);
        if base & !mask != 0 {
            bail!(
                "{what} {text}: the address has bits set beyond the prefix; did you mean {}/{prefix}?",
                Ipv4Addr::from(base & mask)
            );
        }
        Ok(Self { base, prefix })
    }

    /// The prefix that each of `nodes` nodes gets, with room for at least as many more to join.
    pub fn node_prefix(self, nodes: u16) -> Result<u8> {
        let parts = u32::from(nodes).saturating_mul(2).next_power_of_two();
        let bits = u8::try_from(parts.trailing_zeros()).unwrap_or(u8::MAX);
        let prefix = self.prefix.saturating_add(bits).max(WIDEST_NODE_PREFIX);
        if prefix > NARROWEST_NODE_PREFIX {
            bail!("--cluster-cidr is too small for {nodes} nodes: give it a shorter prefix");
        }
        Ok(prefix)
    }

    /// The prefix that each node gets where several servers give them out, which must be the same on all: 64 nodes,
    /// more where that would be too many addresses for one, fewer where it would be too few.
    pub fn common_node_prefix(self) -> Result<u8> {
        if self.prefix >= NARROWEST_NODE_PREFIX {
            bail!("--cluster-cidr is too small for several nodes: give it a shorter prefix");
        }
        Ok(self.prefix.saturating_add(6).clamp(WIDEST_NODE_PREFIX, NARROWEST_NODE_PREFIX))
    }

    /// The range of the node with this index.
    pub fn part(self, node_prefix: u8, index: u16) -> Self {
        Self { base: self.base + (u32::from(index) << (32 - node_prefix)), prefix: node_prefix }
    }

    pub fn overlaps(self, other: Self) -> bool {
        let mask = u32::MAX << (32 - self.prefix.min(other.prefix));
        self.base & mask == other.base & mask
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_the_default_range() {
        let range = Range::parse("x", "127.64.0.0/12").unwrap();
        assert_eq!(range.node_prefix(1).unwrap(), 18);
        assert_eq!(range.common_node_prefix().unwrap(), 18);
        assert_eq!(Range::parse("x", "10.0.0.0/22").unwrap().common_node_prefix().unwrap(), 28);
        assert!(Range::parse("x", "10.0.0.0/28").unwrap().common_node_prefix().is_err());
        assert_eq!(range.part(18, 0).to_string(), "127.64.0.0/18");
        assert_eq!(range.part(18, 1).to_string(), "127.64.64.0/18");
        assert_eq!(range.node_prefix(1000).unwrap(), 23);
    }

    #[test]
    fn small_ranges_leave_room_for_another_node() {
        let range = Range::parse("x", "127.130.4.0/22").unwrap();
        assert_eq!(range.node_prefix(1).unwrap(), 23);
        assert!(range.node_prefix(500).is_err());
    }

    #[test]
    fn refuses_what_is_no_range() {
        for text in ["", "127.0.0.1", "127.0.0.1/33", "127.0.0.1/12", "::1/64", "a/12", "10.0.0.0/0"] {
            assert!(Range::parse("x", text).is_err(), "{text}");
        }
    }

    #[test]
    fn overlap() {
        let a = Range::parse("x", "127.64.0.0/12").unwrap();
        assert!(a.overlaps(Range::parse("x", "127.65.0.0/16").unwrap()));
        assert!(!a.overlaps(Range::parse("x", "127.96.0.0/12").unwrap()));
    }
}
