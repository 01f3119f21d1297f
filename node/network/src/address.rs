//! Pod addresses: one pool for each node's range.
//!
//! Invariant: an address has one holder at a time, and rests for the quarantine after its last holder let go, so that
//! a late packet or a stale endpoint never reaches the wrong pod.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::Instant;

use crate::Cidr;

/// Why a pod got no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    #[error("node {node:?} has no pod address range yet")]
    NoRange { node: String },
    #[error("no free pod address in {range} of node {node:?}: {in_use} in use, {resting} not free again yet")]
    Exhausted { node: String, range: Cidr, in_use: usize, resting: usize },
}

/// Why a node's range was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("pod address range {range} of node {node:?} overlaps {other} of node {other_node:?}")]
    Overlap { node: String, range: Cidr, other_node: String, other: Cidr },
    #[error("pod address range {range} of node {node:?} lies outside the cluster's {cluster}")]
    Outside { node: String, range: Cidr, cluster: Cidr },
}

/// The ranges of all nodes of this process.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    by_node: HashMap<String, Pool>,
}

impl Pools {
    /// Gives `node` its range; a node that has another one goes on with the new one.
    pub(crate) fn add(&mut self, node: &str, range: Cidr) -> Result<(), RangeError> {
        for (other_node, pool) in &self.by_node {
            if other_node != node && pool.range.overlaps(range) {
                let (node, other_node) = (node.to_owned(), other_node.clone());
                return Err(RangeError::Overlap { node, range, other_node, other: pool.range });
            }
        }
        if self.by_node.get(node).is_none_or(|pool| pool.range != range) {
            self.by_node.insert(node.to_owned(), Pool::new(range));
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, node: &str) {
        self.by_node.remove(node);
    }

    pub(crate) fn take(&mut self, node: &str, now: Instant, quarantine: Duration) -> Result<Ipv4Addr, AttachError> {
        let pool = self.by_node.get_mut(node).ok_or_else(|| AttachError::NoRange { node: node.to_owned() })?;
        pool.take(now, quarantine).ok_or_else(|| AttachError::Exhausted {
            node: node.to_owned(),
            range: pool.range,
            in_use: pool.in_use,
            resting: pool.resting.len(),
        })
    }

    /// Returns an address; one of a range that the node no longer has is forgotten.
    pub(crate) fn give_back(&mut self, node: &str, address: Ipv4Addr, now: Instant) {
        if let Some(pool) = self.by_node.get_mut(node).filter(|pool| pool.range.contains(address)) {
            pool.give_back(address, now);
        }
    }
}

/// One range: addresses never used so far come first, then those that have rested, oldest first.
#[derive(Debug)]
struct Pool {
    range: Cidr,
    /// Index of the next address that was never given out.
    next: u64,
    resting: VecDeque<(Ipv4Addr, Instant)>,
    in_use: usize,
}

impl Pool {
    fn new(range: Cidr) -> Self {
        // The first address is the range's own (claims use it) and the last its broadcast address.
        Self { range, next: 1, resting: VecDeque::new(), in_use: 0 }
    }

    fn take(&mut self, now: Instant, quarantine: Duration) -> Option<Ipv4Addr> {
        let address = if self.next + 1 < self.range.size() {
            self.next += 1;
            self.range.nth(self.next - 1)?
        } else {
            self.resting.pop_front_if(|(_, since)| now.duration_since(*since) >= quarantine)?.0
        };
        self.in_use += 1;
        Some(address)
    }

    fn give_back(&mut self, address: Ipv4Addr, now: Instant) {
        self.in_use = self.in_use.saturating_sub(1);
        self.resting.push_back((address, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(30);

    fn pools(range: &str) -> Pools {
        let mut pools = Pools::default();
        pools.add("n1", range.parse().unwrap()).unwrap();
        pools
    }

    #[test]
    fn gives_each_address_once_and_never_first_or_last() {
        let mut pools = pools("127.64.0.0/29");
        let now = Instant::now();
        let all: Vec<u8> = (0..6).map(|_| pools.take("n1", now, REST).unwrap().octets()[3]).collect();
        assert_eq!(all, [1, 2, 3, 4, 5, 6]);
        let error = pools.take("n1", now, REST).unwrap_err();
        assert!(matches!(error, AttachError::Exhausted { in_use: 6, resting: 0, .. }), "{error}");
    }

    #[test]
    fn an_address_rests_before_it_is_used_again() {
        let mut pools = pools("127.64.0.0/30");
        let start = Instant::now();
        let first = pools.take("n1", start, REST).unwrap();
        pools.give_back("n1", first, start);
        let second = pools.take("n1", start, REST).unwrap();
        assert_ne!(first, second, "fresh addresses come first");
        let error = pools.take("n1", start + REST / 2, REST).unwrap_err();
        assert!(matches!(error, AttachError::Exhausted { in_use: 1, resting: 1, .. }), "{error}");
        assert_eq!(pools.take("n1", start + REST, REST).unwrap(), first);
    }

    #[test]
    fn ranges_do_not_overlap_and_may_change() {
        let mut pools = pools("127.64.0.0/24");
        let error = pools.add("n2", "127.64.0.128/25".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("overlaps 127.64.0.0/24"), "{error}");
        pools.add("n2", "127.64.1.0/24".parse().unwrap()).unwrap();
        let now = Instant::now();
        let old = pools.take("n2", now, REST).unwrap();
        pools.add("n2", "127.64.1.0/24".parse().unwrap()).unwrap();
        assert_ne!(pools.take("n2", now, REST).unwrap(), old, "the same range again changes nothing");
        pools.add("n2", "127.64.2.0/24".parse().unwrap()).unwrap();
        pools.give_back("n2", old, now);
        assert_eq!(pools.take("n2", now, REST).unwrap(), Ipv4Addr::new(127, 64, 2, 1));
        assert!(matches!(pools.take("n3", now, REST), Err(AttachError::NoRange { .. })));
    }
}
