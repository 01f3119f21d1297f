//! The Wasm engines: with and without fuel, pooled where the address space can be reserved,
//! created when somebody needs them. Knows nothing of containers.
//!
//! A pool costs two memory maps and some microseconds per slot when it is made, so there are two:
//! a small one for the first instances, and the rest when that one fills up.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::admission::{Admission, Slot};
use crate::ticker::Ticker;
use crate::{Flavor, link};

/// Linear memories get 4 GiB of address space each, so that 32-bit guests need no bounds checks.
const MEMORY_RESERVATION: u64 = 4 << 30;
const MEMORY_GUARD: u64 = 32 << 20;
/// Stack of a guest, host calls included, and the part of it that Wasm code may use.
const ASYNC_STACK: usize = 256 << 10;
const WASM_STACK: usize = 128 << 10;
/// Slots of the first pool.
const NEAR_SLOTS: u32 = 1_000;
/// Slots of a pool beyond those given out: one is given back a moment before it is empty.
const SPARE_SLOTS: u32 = 16;
/// Slots of the only pool with fuel. Unused slots cost maps too, so there is no second one.
const FUEL_SLOTS: u32 = 200;

/// The engine configuration that decides what native code looks like; compiler and runtime must
/// agree on it.
pub(crate) fn base_config(flavor: Flavor) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(flavor == Flavor::Fuel)
        .memory_reservation(MEMORY_RESERVATION)
        .memory_guard_size(MEMORY_GUARD)
        .memory_init_cow(true)
        .async_stack_size(ASYNC_STACK)
        .max_wasm_stack(WASM_STACK)
        .wasm_gc(false)
        .concurrency_support(false)
        .native_unwind_info(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config
}

fn pool(instances: u32) -> PoolingAllocationConfig {
    let instances = instances.saturating_add(SPARE_SLOTS);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(8))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(4))
        .total_stacks(instances)
        .max_memories_per_module(4)
        .max_tables_per_module(8)
        .max_component_instance_size(4 << 20);
    pool
}

/// An engine with the host's functions ready for linking.
pub(crate) struct LinkedEngine {
    pub engine: Engine,
    pub core: wasmtime::Linker<crate::state::CoreState>,
    pub component: wasmtime::component::Linker<crate::state::ComponentState>,
}

impl LinkedEngine {
    pub(crate) fn new(config: &Config) -> wasmtime::Result<Self> {
        let engine = Engine::new(config)?;
        let core = link::core(&engine)?;
        let component = link::component(&engine)?;
        Ok(Self { engine, core, component })
    }
}

/// The engines of one flavor. Native code is the same for all of them.
pub(crate) struct EngineSet {
    flavor: Flavor,
    ticker: Arc<Ticker>,
    /// For the first instances.
    pub near: LinkedEngine,
    near_room: Arc<Admission>,
    far_slots: u32,
    far: OnceLock<LinkedEngine>,
    far_begun: AtomicBool,
    /// For modules that do not fit a slot of a pool.
    roomy: OnceLock<LinkedEngine>,
    creating: Mutex<()>,
}

impl EngineSet {
    fn new(flavor: Flavor, instances: u32, ticker: Arc<Ticker>) -> wasmtime::Result<Self> {
        let near_slots = instances.min(match flavor {
            Flavor::Plain => NEAR_SLOTS,
            Flavor::Fuel => FUEL_SLOTS,
        });
        let near = pooled(flavor, near_slots)?;
        ticker.add(&near.engine);
        Ok(Self {
            flavor,
            ticker,
            near,
            near_room: Admission::exactly(near_slots),
            far_slots: instances - near_slots,
            far: OnceLock::new(),
            far_begun: AtomicBool::new(false),
            roomy: OnceLock::new(),
            creating: Mutex::new(()),
        })
    }

    /// Room in the first pool, if there is any left. Has the second made before it is needed.
    pub(crate) fn near_slot(self: &Arc<Self>, weight: u32) -> Option<Slot> {
        let slot = self.near_room.enter(weight).ok();
        let filling = self.near_room.used() > self.near_room.limit() / 2;
        if filling && self.far_slots > 0 && !self.far_begun.swap(true, Relaxed) {
            let engines = self.clone();
            let thread = std::thread::Builder::new().name("skiff-engine".to_owned());
            // Should it fail, whoever needs it tries again and reports it.
            let _ = thread.spawn(move || engines.far().map(drop));
        }
        slot
    }

    /// What comes after the first pool.
    pub(crate) fn far(&self) -> wasmtime::Result<&LinkedEngine> {
        match self.flavor {
            Flavor::Plain => self.create(&self.far, || pooled(self.flavor, self.far_slots)),
            Flavor::Fuel => self.roomy(),
        }
    }

    /// An engine that allocates on demand, for modules too large for the pools.
    pub(crate) fn roomy(&self) -> wasmtime::Result<&LinkedEngine> {
        self.create(&self.roomy, || LinkedEngine::new(&base_config(self.flavor)))
    }

    fn create<'a>(
        &self,
        cell: &'a OnceLock<LinkedEngine>,
        make: impl FnOnce() -> wasmtime::Result<LinkedEngine>,
    ) -> wasmtime::Result<&'a LinkedEngine> {
        if let Some(engine) = cell.get() {
            return Ok(engine);
        }
        let _creating = self.creating.lock();
        if cell.get().is_none() {
            let engine = make()?;
            self.ticker.add(&engine.engine);
            let _ = cell.set(engine);
        }
        Ok(cell.get().expect("set under the lock"))
    }

    /// Names the kind of native code these engines run: host CPU features, settings, version.
    pub(crate) fn compatibility(&self) -> String {
        compatibility(&self.near.engine)
    }
}

/// An engine with a pool, or without one where the address space is too small.
fn pooled(flavor: Flavor, instances: u32) -> wasmtime::Result<LinkedEngine> {
    let mut config = base_config(flavor);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)));
    LinkedEngine::new(&config).or_else(|error| {
        tracing::warn!(
            %instances, error = format!("{error:#}"),
            "no address space for a pool of Wasm instances; starts will be slower"
        );
        LinkedEngine::new(&base_config(flavor))
    })
}

/// See [`EngineSet::compatibility`].
pub(crate) fn compatibility(engine: &Engine) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Both flavors, each created on first use.
pub(crate) struct Engines {
    instances: u32,
    ticker: Arc<Ticker>,
    plain: OnceLock<Arc<EngineSet>>,
    fuel: OnceLock<Arc<EngineSet>>,
    creating: Mutex<()>,
}

impl Engines {
    pub(crate) fn new(instances: u32, ticker: Arc<Ticker>) -> Self {
        Self { instances, ticker, plain: OnceLock::new(), fuel: OnceLock::new(), creating: Mutex::new(()) }
    }

    /// Begins to make the plain engine, on a thread of its own.
    pub(crate) fn prepare(self: &Arc<Self>) {
        let engines = self.clone();
        let thread = std::thread::Builder::new().name("skiff-engine".to_owned());
        // Should it fail, the first load tries again and reports it.
        let _ = thread.spawn(move || engines.get(Flavor::Plain).map(drop));
    }

    /// The engines of `flavor`. The first call takes milliseconds: keep it off the I/O threads.
    pub(crate) fn get(&self, flavor: Flavor) -> wasmtime::Result<Arc<EngineSet>> {
        let cell = match flavor {
            Flavor::Plain => &self.plain,
            Flavor::Fuel => &self.fuel,
        };
        if let Some(set) = cell.get() {
            return Ok(set.clone());
        }
        let _creating = self.creating.lock();
        if let Some(set) = cell.get() {
            return Ok(set.clone());
        }
        let set = Arc::new(EngineSet::new(flavor, self.instances, self.ticker.clone())?);
        let _ = cell.set(set.clone());
        Ok(set)
    }
}
