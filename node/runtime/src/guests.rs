//! The threads that run guests, apart from everybody else's: a guest can only ever delay other
//! guests, and those by an epoch at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

use crate::RuntimeError;
use crate::admission::Admission;
use crate::ticker::Ticker;

/// Threads for blocking file operations of all guests together.
const BLOCKING_THREADS: usize = 64;

pub(crate) struct Guests {
    pub handle: Handle,
    pub ticker: Arc<Ticker>,
    pub admission: Arc<Admission>,
    /// Cancelled when the runtime goes: parent of every container's kill switch.
    pub all: CancellationToken,
    runtime: Mutex<Option<Runtime>>,
}

impl Guests {
    pub(crate) fn start(threads: usize, max_instances: u32) -> Result<Arc<Self>, RuntimeError> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => some,
        };
        let numbers = AtomicUsize::new(0);
        // After every single task the scheduler looks at the I/O driver, the timers and the
        // queue of tasks woken from elsewhere: with busy guests, a default runtime leaves them
        // waiting for tens of milliseconds.
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(BLOCKING_THREADS)
            .event_interval(1)
            .global_queue_interval(1)
            .thread_name_fn(move || format!("guest-{}", numbers.fetch_add(1, Ordering::Relaxed)))
            .enable_all()
            .build()
            .map_err(RuntimeError::Threads)?;
        Ok(Arc::new(Self {
            handle: runtime.handle().clone(),
            ticker: Ticker::start().map_err(RuntimeError::Threads)?,
            admission: Admission::new(max_instances),
            all: CancellationToken::new(),
            runtime: Mutex::new(Some(runtime)),
        }))
    }

    /// Ends all guests. Does not wait for them.
    pub(crate) fn stop(&self) {
        self.all.cancel();
        self.ticker.stop();
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}
