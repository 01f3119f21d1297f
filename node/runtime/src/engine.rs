//! The Wasm engines: one flavor each with and without fuel, pooled where the address space can
//! be reserved, created when the first module needs them. Knows nothing of containers.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::ticker::Ticker;
use crate::{Flavor, link};

/// Linear memories get 4 GiB of address space each, so that 32-bit guests need no bounds checks.
const MEMORY_RESERVATION: u64 = 4 << 30;
const MEMORY_GUARD: u64 = 32 << 20;
/// Stack of a guest, host calls included, and the part of it that Wasm code may use.
const ASYNC_STACK: usize = 256 << 10;
const WASM_STACK: usize = 128 << 10;
/// Fuel is rare: its pool is small.
const FUEL_POOL: u32 = 1_000;

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
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(8))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(2))
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

/// The engines of one flavor. Native code is the same for both.
pub(crate) struct EngineSet {
    flavor: Flavor,
    ticker: Arc<Ticker>,
    /// The one that everything runs on, if it can: pooled, unless the pool could not be reserved.
    pub main: LinkedEngine,
    /// For modules that do not fit a slot of the pool.
    roomy: OnceLock<LinkedEngine>,
    creating: Mutex<()>,
}

impl EngineSet {
    fn new(flavor: Flavor, instances: u32, ticker: Arc<Ticker>) -> wasmtime::Result<Self> {
        let mut config = base_config(flavor);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)));
        let main = match LinkedEngine::new(&config) {
            Ok(engine) => engine,
            Err(error) => {
                tracing::warn!(
                    %instances, error = format!("{error:#}"),
                    "no address space for a pool of Wasm instances; starts will be slower"
                );
                LinkedEngine::new(&base_config(flavor))?
            }
        };
        ticker.add(&main.engine);
        Ok(Self { flavor, ticker, main, roomy: OnceLock::new(), creating: Mutex::new(()) })
    }

    /// An engine that allocates on demand, for modules too large for the pool.
    pub(crate) fn roomy(&self) -> wasmtime::Result<&LinkedEngine> {
        if let Some(engine) = self.roomy.get() {
            return Ok(engine);
        }
        let _creating = self.creating.lock();
        if self.roomy.get().is_none() {
            let engine = LinkedEngine::new(&base_config(self.flavor))?;
            self.ticker.add(&engine.engine);
            let _ = self.roomy.set(engine);
        }
        Ok(self.roomy.get().expect("set just now, under the lock"))
    }

    /// Names the kind of native code these engines run: host CPU features, settings, version.
    pub(crate) fn compatibility(&self) -> String {
        compatibility(&self.main.engine)
    }
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
        Self {
            instances,
            ticker,
            plain: OnceLock::new(),
            fuel: OnceLock::new(),
            creating: Mutex::new(()),
        }
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
        let (cell, instances) = match flavor {
            Flavor::Plain => (&self.plain, self.instances),
            Flavor::Fuel => (&self.fuel, self.instances.min(FUEL_POOL)),
        };
        if let Some(set) = cell.get() {
            return Ok(set.clone());
        }
        let _creating = self.creating.lock();
        if let Some(set) = cell.get() {
            return Ok(set.clone());
        }
        let set = Arc::new(EngineSet::new(flavor, instances, self.ticker.clone())?);
        let _ = cell.set(set.clone());
        Ok(set)
    }
}
