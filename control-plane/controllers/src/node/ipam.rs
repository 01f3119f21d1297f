//! Gives each node a pod range out of the cluster's.

use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::events::{Note, Recorder};
use crate::frame::informer::{Change, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::core::v1::Node;
use crate::{Config, Error, Next};
use async_trait::async_trait;
use serde_json::json;
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::task::JoinSet;

/// An IPv4 range that is cut into equal ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    base: u32,
    prefix: u8,
    node_prefix: u8,
}

impl Pool {
    pub fn new((address, prefix): (Ipv4Addr, u8), node_prefix: u8) -> Self {
        let prefix = prefix.min(32);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        Self { base: u32::from(address) & mask, prefix, node_prefix: node_prefix.clamp(prefix, 32) }
    }

    /// How many nodes can have a range.
    pub fn len(self) -> u32 {
        1u32.checked_shl(u32::from(self.node_prefix - self.prefix)).unwrap_or(u32::MAX)
    }

    fn range(self, index: u32) -> String {
        let size = 1u64 << (32 - self.node_prefix);
        let start = u64::from(self.base) + u64::from(index) * size;
        format!("{}/{}", Ipv4Addr::from(u32::try_from(start).unwrap_or(u32::MAX)), self.node_prefix)
    }

    /// The indexes that a range covers, if it lies in the pool.
    fn covers(self, range: &str) -> Option<std::ops::RangeInclusive<u32>> {
        let (address, prefix) = range.split_once('/')?;
        let start = u64::from(u32::from(address.parse::<Ipv4Addr>().ok()?));
        let prefix: u32 = prefix.parse().ok().filter(|p| *p <= 32)?;
        let end = start + (1u64 << (32 - prefix)) - 1;
        let (base, size) = (u64::from(self.base), 1u64 << (32 - self.node_prefix));
        let last = u64::from(self.len()) - 1;
        if end < base || start > base + (last + 1) * size - 1 {
            return None;
        }
        let index = |at: u64| u32::try_from((at.saturating_sub(base) / size).min(last)).unwrap_or(u32::MAX);
        Some(index(start)..=index(end))
    }

    /// The first range that none of `used` overlaps.
    pub fn first_free<'a>(self, used: impl Iterator<Item = &'a str>) -> Option<String> {
        let taken: HashSet<u32> = used.filter_map(|range| self.covers(range)).flatten().collect();
        (0..self.len()).find(|index| !taken.contains(index)).map(|index| self.range(index))
    }
}

struct Controller {
    access: Access,
    nodes: Informer<Node>,
    events: Recorder,
    pool: Pool,
}

pub(crate) fn start(config: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let nodes = context.informers.nodes.wanted();
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    nodes.on_change(move |change| {
        if let Change::Added(node) | Change::Updated { new: node, .. } = change
            && range(node).is_none()
        {
            signal.add(Key::of(node.as_ref()));
        }
    });
    let controller = Controller {
        access: context.access.clone(),
        nodes,
        events: context.events.named("cidrAllocator"),
        pool: Pool::new(config.cluster_cidr, config.node_cidr_mask),
    };
    context.spawn(tasks, Arc::new(controller), queue);
}

fn range(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref().filter(|range| !range.is_empty())
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "node-ipam-controller";
    /// One at a time: no range is given twice.
    const WORKERS: usize = 1;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(node) = self.nodes.get(key).filter(|n| range(n).is_none()) else { return Ok(Next::Signal) };
        let nodes = self.nodes.all();
        let Some(free) = self.pool.first_free(nodes.iter().filter_map(|n| range(n))) else {
            self.events.record(node.as_ref(), Note::normal("CIDRNotAvailable", "Node status is now: CIDRNotAvailable"));
            return Ok(Next::After(std::time::Duration::from_secs(30)));
        };
        // Unconditional but for the UID: heartbeats do not matter, and the range cannot change once it is set.
        let patch = json!({
            "metadata": {"uid": node.metadata.uid},
            "spec": {"podCIDR": free, "podCIDRs": [free]}});
        match self.access.patch::<Node>(key, &patch).await {
            Ok(written) => self.nodes.learn(written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(Next::Signal)
    }

    fn keys(&self) -> Vec<Key> {
        self.nodes.keys()
    }
}
