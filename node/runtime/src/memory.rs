//! The memory cap of a container: one budget over all linear memories and tables of all its
//! live instances. Going over is an error of its own, not a refusal that a guest could ignore.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wasmtime::{ResourceLimiter, Result};

/// Bytes that one table element costs the host.
const TABLE_ELEMENT: u64 = 8;

/// Memory beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("memory limit exceeded: {wanted} bytes wanted, {limit} allowed")]
pub(crate) struct OutOfMemory {
    pub wanted: u64,
    pub limit: u64,
}

/// What all instances of one container share.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    limit: u64,
    used: AtomicU64,
    peak: AtomicU64,
}

impl MemoryBudget {
    pub(crate) fn new(limit: Option<u64>) -> Arc<Self> {
        Arc::new(Self { limit: limit.unwrap_or(u64::MAX), used: AtomicU64::new(0), peak: AtomicU64::new(0) })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }

    fn take(&self, bytes: u64) -> Result<(), OutOfMemory> {
        let wanted = self.used.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if wanted > self.limit {
            self.used.fetch_sub(bytes, Relaxed);
            return Err(OutOfMemory { wanted, limit: self.limit });
        }
        self.peak.fetch_max(wanted, Relaxed);
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Relaxed);
    }
}

/// One store's part of the budget, given back when the store goes.
#[derive(Debug)]
pub(crate) struct StoreMemory {
    budget: Arc<MemoryBudget>,
    taken: u64,
    /// The growth asked for last: taken back if the engine then fails to do it.
    last: u64,
}

impl StoreMemory {
    pub(crate) fn new(budget: Arc<MemoryBudget>) -> Self {
        Self { budget, taken: 0, last: 0 }
    }

    fn grow(&mut self, bytes: u64) -> Result<bool> {
        self.budget.take(bytes)?;
        self.taken += bytes;
        self.last = bytes;
        Ok(true)
    }

    fn undo(&mut self) {
        self.budget.give_back(self.last);
        self.taken -= self.last;
        self.last = 0;
    }
}

impl Drop for StoreMemory {
    fn drop(&mut self) {
        self.budget.give_back(self.taken);
    }
}

impl ResourceLimiter for StoreMemory {
    fn memory_growing(&mut self, now: usize, wanted: usize, max: Option<usize>) -> Result<bool> {
        self.last = 0;
        if max.is_some_and(|max| wanted > max) {
            return Ok(false);
        }
        self.grow(wanted.saturating_sub(now) as u64)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> Result<()> {
        self.undo();
        Ok(())
    }

    fn table_growing(&mut self, now: usize, wanted: usize, max: Option<usize>) -> Result<bool> {
        self.last = 0;
        if max.is_some_and(|max| wanted > max) {
            return Ok(false);
        }
        self.grow((wanted.saturating_sub(now) as u64).saturating_mul(TABLE_ELEMENT))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> Result<()> {
        self.undo();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_share_one_budget_and_give_back() {
        let budget = MemoryBudget::new(Some(1000));
        let mut one = StoreMemory::new(budget.clone());
        let mut two = StoreMemory::new(budget.clone());
        assert!(one.memory_growing(0, 600, None).unwrap());
        let error = two.memory_growing(0, 600, None).unwrap_err();
        assert_eq!(error.downcast_ref::<OutOfMemory>(), Some(&OutOfMemory { wanted: 1200, limit: 1000 }));
        drop(one);
        assert!(two.memory_growing(0, 600, None).unwrap());
        assert!(two.table_growing(0, 50, None).unwrap());
        assert_eq!((budget.used(), budget.peak()), (1000, 1000));
        drop(two);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn growth_that_fails_costs_nothing() {
        let budget = MemoryBudget::new(Some(1000));
        let mut store = StoreMemory::new(budget.clone());
        assert!(!store.memory_growing(0, 200, Some(100)).unwrap());
        store.memory_grow_failed(wasmtime::format_err!("type limit")).unwrap();
        assert_eq!(budget.used(), 0);
        assert!(store.memory_growing(0, 200, None).unwrap());
        store.memory_grow_failed(wasmtime::format_err!("mprotect")).unwrap();
        assert_eq!(budget.used(), 0);
    }
}
