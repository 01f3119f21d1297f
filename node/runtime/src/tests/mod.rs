//! Guests in WAT through the public interface. This test binary is its own compiler process.

mod commands;
mod http;
mod limits;
mod loading;
mod network;
mod panics;
mod pools;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::{
    CompilerCommand, Config, Container, ContainerSpec, Exit, Flavor, LoadError, Module, Output, Runtime, Stream,
    compile_child_test,
};

/// Nothing here takes long; this only keeps a bug from hanging the tests.
const PATIENCE: Duration = Duration::from_secs(180);

/// Not a test of its own: what the runtimes below start as their compiler.
#[test]
fn compile_child() {
    compile_child_test();
}

/// What a guest printed.
#[derive(Default)]
pub(crate) struct Recorder {
    out: Mutex<Vec<u8>>,
    err: Mutex<Vec<u8>>,
}

impl Output for Recorder {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let buffer = match stream {
            Stream::Stdout => &self.out,
            Stream::Stderr => &self.err,
        };
        buffer.lock().extend_from_slice(bytes);
    }
}

impl Recorder {
    pub(crate) fn out(&self) -> String {
        String::from_utf8(self.out.lock().clone()).unwrap()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8(self.err.lock().clone()).unwrap()
    }
}

pub(crate) struct Harness {
    pub dir: tempfile::TempDir,
    pub runtime: Arc<Runtime>,
    pub output: Arc<Recorder>,
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let compiler = CompilerCommand::libtest(std::env::current_exe().unwrap(), "tests::compile_child");
        let mut config = Config::new(dir.path().join("cache"), compiler);
        config.max_instances = 32;
        config.worker_threads = 2;
        change(&mut config);
        let runtime = Runtime::new(config).unwrap();
        Self { dir, runtime, output: Arc::new(Recorder::default()) }
    }

    pub(crate) async fn load_bytes(&self, wasm: &[u8], flavor: Flavor) -> Result<Arc<Module>, LoadError> {
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(wasm)));
        let path = self.dir.path().join(&digest[7..]);
        std::fs::write(&path, wasm).unwrap();
        self.runtime.load(&path, &digest, flavor).await
    }

    pub(crate) async fn load(&self, wat: &str) -> Result<Arc<Module>, LoadError> {
        self.load_bytes(&wat::parse_str(wat).unwrap(), Flavor::Plain).await
    }

    pub(crate) fn spec(&self) -> ContainerSpec {
        ContainerSpec::new("guest", self.output.clone())
    }

    pub(crate) async fn start(&self, wat: &str, change: impl FnOnce(&mut ContainerSpec)) -> Container {
        let mut spec = self.spec();
        change(&mut spec);
        let flavor = if spec.fuel.is_some() { Flavor::Fuel } else { Flavor::Plain };
        let module = self.load_bytes(&wat::parse_str(wat).unwrap(), flavor).await.unwrap();
        self.runtime.start(module, spec).unwrap()
    }

    pub(crate) async fn run(&self, wat: &str, change: impl FnOnce(&mut ContainerSpec)) -> Exit {
        let container = self.start(wat, change).await;
        end_of(&container).await
    }
}

pub(crate) async fn end_of(container: &Container) -> Exit {
    tokio::time::timeout(PATIENCE, container.wait()).await.expect("the guest ends")
}

/// Waits until `done`, looking again whenever the scheduler comes round.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    tokio::time::timeout(PATIENCE, async {
        while !done() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it happens in time");
}

/// A preview-1 command with the usual imports; `body` is the content of `_start`, `more` further
/// definitions.
pub(crate) fn command(body: &str, more: &str) -> String {
    format!(
        r#"(module $test
            (import "wasi_snapshot_preview1" "fd_write"
                (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
            (memory (export "memory") 1)
            ;; Prints `length` bytes from `at` to `fd`.
            (func $print (param $fd i32) (param $at i32) (param $length i32)
                (i32.store (i32.const 0) (local.get $at))
                (i32.store (i32.const 4) (local.get $length))
                (drop (call $fd_write
                    (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
            {more}
            (func $_start (export "_start") {body}))"#
    )
}
