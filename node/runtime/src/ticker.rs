//! The clock that cuts guests: advances every engine's epoch once a millisecond while guests
//! run, and sleeps when none does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::{Engine, EngineWeak};

/// Length of an epoch: a guest runs this long, and as much again at worst, before it yields.
const TICK: Duration = Duration::from_millis(1);
/// Ticks without any guest before the clock stops. Starting it again costs a thread wake-up.
const IDLE_TICKS: u32 = 20;

#[derive(Default)]
pub(crate) struct Ticker {
    /// Guests being polled right now.
    running: AtomicUsize,
    parked: AtomicBool,
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
    engines: Mutex<Vec<EngineWeak>>,
}

impl Ticker {
    /// Starts the clock's thread, which lives until [`stop`](Self::stop).
    pub(crate) fn start() -> std::io::Result<Arc<Self>> {
        let ticker = Arc::new(Self::default());
        let shared = ticker.clone();
        let thread =
            thread::Builder::new().name("skiff-epoch".to_owned()).stack_size(64 << 10).spawn(move || shared.run())?;
        let _ = ticker.thread.set(thread.thread().clone());
        Ok(ticker)
    }

    pub(crate) fn add(&self, engine: &Engine) {
        self.engines.lock().push(engine.weak());
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Keeps the clock going until the answer is dropped.
    pub(crate) fn running(&self) -> Running<'_> {
        self.running.fetch_add(1, SeqCst);
        if self.parked.load(SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
        Running(self)
    }

    fn run(&self) {
        let mut idle = 0;
        // A guest that still runs when the end has come would never be cut again.
        while !self.stopped.load(SeqCst) || self.running.load(SeqCst) > 0 {
            if self.running.load(SeqCst) > 0 {
                idle = 0;
            } else {
                idle += 1;
            }
            if idle > IDLE_TICKS {
                self.park();
                idle = 0;
                continue;
            }
            thread::sleep(TICK);
            self.tick();
        }
    }

    /// Announces the nap before looking once more, so that no wake-up is lost.
    fn park(&self) {
        self.parked.store(true, SeqCst);
        while self.running.load(SeqCst) == 0 && !self.stopped.load(SeqCst) {
            thread::park();
        }
        self.parked.store(false, SeqCst);
    }

    fn tick(&self) {
        self.engines.lock().retain(|engine| match engine.upgrade() {
            Some(engine) => {
                engine.increment_epoch();
                true
            }
            None => false,
        });
    }
}

/// A guest is being polled.
pub(crate) struct Running<'a>(&'a Ticker);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}
