//! Modules in memory: one load per digest at a time, whoever asks; the least recently used go
//! when there are too many; a module that can't be loaded is not tried again at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::Instrument;

use crate::aot::{AotCache, Sealed};
use crate::compile::{Compiler, Kind};
use crate::engine::{EngineSet, Engines};
use crate::module::Module;
use crate::{Flavor, LoadError, ModuleKind};

/// How long a failure that lies in the module itself is remembered: it costs the compiler's
/// whole time limit to find out again.
const FAILURE_KEPT: Duration = Duration::from_secs(60);

type Key = (String, Flavor);
type Answer = Result<Arc<Module>, LoadError>;

/// See the module's documentation.
pub(crate) struct Loader {
    shared: Arc<Shelf>,
    known: Mutex<HashMap<Key, Entry>>,
    capacity: usize,
}

/// What a load needs.
struct Shelf {
    engines: Arc<Engines>,
    cache: AotCache,
    compiler: Compiler,
}

struct Entry {
    load: Shared<BoxFuture<'static, Answer>>,
    used: Instant,
}

impl Loader {
    pub(crate) fn new(engines: Arc<Engines>, cache: AotCache, compiler: Compiler, capacity: usize) -> Self {
        let shared = Arc::new(Shelf { engines, cache, compiler });
        Self { shared, known: Mutex::new(HashMap::new()), capacity: capacity.max(1) }
    }

    pub(crate) async fn load(&self, wasm: &Path, digest: &str, flavor: Flavor) -> Answer {
        let key = (digest.to_owned(), flavor);
        let load = self.entry(&key, wasm);
        let answer = load.clone().await;
        if let Err(error) = &answer
            && !in_the_module(error)
        {
            self.forget(&key, &load);
        }
        answer
    }

    /// The load in progress or done, or a new one.
    fn entry(&self, key: &Key, wasm: &Path) -> Shared<BoxFuture<'static, Answer>> {
        let now = Instant::now();
        let mut known = self.known.lock();
        if let Some(entry) = known.get_mut(key) {
            let failed = matches!(entry.load.peek(), Some(Err(_)));
            if !failed || now.duration_since(entry.used) < FAILURE_KEPT {
                if !failed {
                    entry.used = now;
                }
                return entry.load.clone();
            }
        }
        let load = self.begin(key.clone(), wasm.to_owned());
        known.insert(key.clone(), Entry { load: load.clone(), used: now });
        evict(&mut known, self.capacity);
        load
    }

    /// Runs as a task of its own: a caller that gives up does not stop it for the others.
    fn begin(&self, key: Key, wasm: PathBuf) -> Shared<BoxFuture<'static, Answer>> {
        let shelf = self.shared.clone();
        let span = tracing::info_span!("load", digest = %key.0, flavor = ?key.1);
        let task = tokio::spawn(async move { shelf.load(&wasm, &key.0, key.1).await }.instrument(span));
        let answer = async move {
            match task.await {
                Ok(answer) => answer,
                Err(error) => Err(LoadError::Cache(format!("the load was cut off: {error}"))),
            }
        };
        answer.boxed().shared()
    }

    fn forget(&self, key: &Key, load: &Shared<BoxFuture<'static, Answer>>) {
        let mut known = self.known.lock();
        if known.get(key).is_some_and(|entry| entry.load.ptr_eq(load)) {
            known.remove(key);
        }
    }
}

/// Whether trying again would give the same answer.
fn in_the_module(error: &LoadError) -> bool {
    !matches!(error, LoadError::Read(_) | LoadError::Cache(_))
}

/// Drops the modules unused for longest. Containers keep theirs alive; loads in progress stay.
fn evict(known: &mut HashMap<Key, Entry>, capacity: usize) {
    while known.len() > capacity {
        let oldest = known
            .iter()
            .filter(|(_, entry)| match entry.load.peek() {
                Some(Ok(module)) => Arc::strong_count(module) == 1,
                Some(Err(_)) => true,
                None => false,
            })
            .min_by_key(|(_, entry)| entry.used)
            .map(|(key, _)| key.clone());
        match oldest {
            Some(key) => known.remove(&key),
            None => return,
        };
    }
}

impl Shelf {
    async fn load(self: Arc<Self>, wasm: &Path, digest: &str, flavor: Flavor) -> Answer {
        let (shelf, name) = (self.clone(), digest.to_owned());
        let cached = blocking(move || shelf.cached(&name, flavor)).await?;
        let (engines, code) = match cached {
            (engines, Some(code)) => (engines, code),
            (engines, None) => {
                let code = self.compile(&engines, wasm, digest, flavor).await?;
                (engines, code)
            }
        };
        let name = digest.to_owned();
        let map = move || {
            Module::map(code, engines, name, flavor)
                .map(Arc::new)
                .map_err(|error| LoadError::CompileFailed(format!("{error:#}")))
        };
        blocking(map).await
    }

    fn cached(&self, digest: &str, flavor: Flavor) -> Result<(Arc<EngineSet>, Option<Sealed>), LoadError> {
        let engines =
            self.engines.get(flavor).map_err(|error| LoadError::CompileFailed(format!("no engine: {error:#}")))?;
        let code = self.cache.find(&engines.compatibility(), digest, flavor);
        Ok((engines, code))
    }

    async fn compile(
        self: &Arc<Self>,
        engines: &EngineSet,
        wasm: &Path,
        digest: &str,
        flavor: Flavor,
    ) -> Result<Sealed, LoadError> {
        let scratch = self.cache.scratch()?;
        let output = scratch.path().join("code");
        let began = Instant::now();
        let kind = self.compiler.compile(wasm, &output, scratch.path(), flavor).await?;
        tracing::info!(elapsed = ?began.elapsed(), ?kind, "compiled");
        let kind = match kind {
            ModuleKind::Command => Kind::Command,
            ModuleKind::CommandComponent => Kind::CommandComponent,
            ModuleKind::HttpComponent => Kind::HttpComponent,
        };
        let (shelf, engine, digest) = (self.clone(), engines.compatibility(), digest.to_owned());
        blocking(move || {
            let _scratch = scratch;
            shelf.cache.store(&output, &engine, &digest, flavor, kind)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(LoadError::Cache(format!("the load was cut off: {error}"))),
    }
}
