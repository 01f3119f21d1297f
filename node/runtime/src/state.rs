//! What a store holds for its guest. One type for core modules, one for components, and what
//! both have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wasmtime::component::ResourceTable;
use wasmtime::{AsContext, Engine, Store, UpdateDeadline};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::admission::Admission;
use crate::host::outgoing::Outgoing;
use crate::host::pod::PodHost;
use crate::memory::{MemoryBudget, StoreMemory};
use crate::module::Place;
use crate::{GuestNetwork, Mount};

/// Epochs that a guest runs before it yields to the others.
const EPOCHS_PER_TURN: u64 = 1;

/// The part of a store that has nothing to do with the kind of guest.
pub(crate) struct Common {
    pub memory: StoreMemory,
    pub pod: Arc<PodHost>,
    pub fuel: Option<Arc<FuelGauge>>,
    /// Held for as long as the instance lives.
    pub _place: Place,
}

/// The store data of a preview-1 core module.
pub(crate) struct CoreState {
    pub wasi: WasiP1Ctx,
    pub common: Common,
}

impl CoreState {
    /// For a store in which nothing runs.
    pub(crate) fn blank() -> Self {
        let whole = Admission::exactly(1).enter(1).expect("room for one");
        Self {
            wasi: WasiCtx::builder().build_p1(),
            common: Common {
                memory: StoreMemory::new(MemoryBudget::new(None)),
                pod: PodHost::nobody(),
                fuel: None,
                _place: Place { _whole: whole, _near: None },
            },
        }
    }
}

/// The store data of a component.
pub(crate) struct ComponentState {
    pub wasi: WasiCtx,
    pub table: ResourceTable,
    pub http: WasiHttpCtx,
    pub outgoing: Outgoing,
    pub network: Arc<dyn GuestNetwork>,
    /// All mounts, while those that are made at the first look are not.
    pub unseen: Option<Arc<[Mount]>>,
    pub common: Common,
}

impl WasiView for ComponentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for ComponentState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Access to the common part.
pub(crate) trait StoreState: Send + 'static {
    fn common(&mut self) -> &mut Common;
    fn common_ref(&self) -> &Common;
}

impl StoreState for CoreState {
    fn common(&mut self) -> &mut Common {
        &mut self.common
    }

    fn common_ref(&self) -> &Common {
        &self.common
    }
}

impl StoreState for ComponentState {
    fn common(&mut self) -> &mut Common {
        &mut self.common
    }

    fn common_ref(&self) -> &Common {
        &self.common
    }
}

/// Fuel of a container's whole life.
#[derive(Debug)]
pub(crate) struct FuelGauge {
    limit: u64,
    left: AtomicU64,
}

impl FuelGauge {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, left: AtomicU64::new(limit) })
    }

    pub(crate) fn left(&self) -> u64 {
        self.left.load(Relaxed)
    }

    pub(crate) fn used(&self) -> u64 {
        self.limit - self.left()
    }

    fn set_left(&self, left: u64) {
        self.left.store(left.min(self.limit), Relaxed);
    }
}

/// A store with the limits of its container: memory, epochs and, on a fuel engine, fuel.
pub(crate) fn new_store<T: StoreState>(engine: &Engine, state: T) -> wasmtime::Result<Store<T>> {
    let fuel = state.common_ref().fuel.clone();
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.common().memory);
    store.set_epoch_deadline(EPOCHS_PER_TURN);
    match fuel {
        None => store.epoch_deadline_async_yield_and_update(EPOCHS_PER_TURN),
        Some(gauge) => {
            store.set_fuel(gauge.left())?;
            store.epoch_deadline_callback(move |cx| {
                gauge.set_left(cx.get_fuel().unwrap_or(0));
                Ok(UpdateDeadline::Yield(EPOCHS_PER_TURN))
            });
        }
    }
    Ok(store)
}

/// Writes down what a store's guest left of its fuel.
pub(crate) fn settle_fuel<T: StoreState>(store: &Store<T>) {
    if let Some(gauge) = &store.data().common_ref().fuel {
        gauge.set_left(store.as_context().get_fuel().unwrap_or(0));
    }
}
