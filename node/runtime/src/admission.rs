//! How many instances the process may hold. Each costs memory maps, and the kernel's limit on
//! those (`vm.max_map_count`) aborts the process when reached: admission stops below it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::StartError;

/// Maps that one instance with one memory costs at most, its slot in a pool included (measured):
/// two of the stack, four of a memory whose initial data lies in its middle.
const MAPS_PER_INSTANCE: u32 = 6;
/// Maps left for everything else in the process: modules, threads, allocator.
const MAPS_FOR_OTHERS: u32 = 4_000;
/// Linux' default, where /proc does not tell.
const DEFAULT_MAX_MAPS: u32 = 65_530;

#[derive(Debug)]
pub(crate) struct Admission {
    limit: u32,
    used: AtomicU32,
}

impl Admission {
    /// At most `wanted` instances, fewer if the kernel allows fewer.
    pub(crate) fn new(wanted: u32) -> Arc<Self> {
        let maps = std::fs::read_to_string("/proc/sys/vm/max_map_count")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(DEFAULT_MAX_MAPS);
        Self::with_maps(wanted, maps)
    }

    /// A limit that has nothing to do with the kernel.
    pub(crate) fn exactly(limit: u32) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU32::new(0) })
    }

    fn with_maps(wanted: u32, maps: u32) -> Arc<Self> {
        let possible = maps.saturating_sub(MAPS_FOR_OTHERS) / MAPS_PER_INSTANCE;
        Arc::new(Self { limit: wanted.min(possible).max(1), used: AtomicU32::new(0) })
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    pub(crate) fn used(&self) -> u32 {
        self.used.load(Relaxed)
    }

    /// Room for an instance of this weight (its number of memories, at least one).
    pub(crate) fn enter(self: &Arc<Self>, weight: u32) -> Result<Slot, StartError> {
        let before = self.used.fetch_add(weight, Relaxed);
        let slot = Slot { admission: self.clone(), weight };
        if before.saturating_add(weight) > self.limit {
            drop(slot);
            return Err(StartError::NodeFull { limit: self.limit });
        }
        Ok(slot)
    }
}

/// Room for one instance, given back on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Arc<Admission>,
    weight: u32,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.admission.used.fetch_sub(self.weight, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_below_the_kernels_limit() {
        assert_eq!(Admission::with_maps(12_000, 65_530).limit(), 10_255);
        assert_eq!(Admission::with_maps(100, 65_530).limit(), 100);
        assert_eq!(Admission::with_maps(100, 10).limit(), 1);
    }

    #[test]
    fn refuses_what_does_not_fit_and_takes_back() {
        let admission = Admission::with_maps(3, 65_530);
        let one = admission.enter(2).unwrap();
        assert!(matches!(admission.enter(2), Err(StartError::NodeFull { limit: 3 })));
        drop(one);
        let _all = admission.enter(3).unwrap();
        assert_eq!(admission.used(), 3);
    }
}
