//! Nodes: their pod ranges, whether they live, and what becomes of the pods of those that do not.

pub(crate) mod eviction;
pub(crate) mod ipam;
pub(crate) mod lifecycle;
mod taints;
#[cfg(test)]
mod tests;
