//! Loading: what is refused and how it is said, the caches, the compiler's limits.

use std::time::Duration;

use super::{Harness, command, end_of};
use crate::{Flavor, LoadError};

async fn refused(harness: &Harness, wasm: &[u8]) -> LoadError {
    match harness.load_bytes(wasm, Flavor::Plain).await {
        Ok(_) => panic!("it loads"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn what_is_not_wasm_is_named() {
    let harness = Harness::new();
    for (bytes, says) in
        [(&b"\x7fELF\x02\x01"[..], "ELF"), (b"(module)", "WebAssembly text"), (b"", "empty"), (b"just text", "\\0asm")]
    {
        let error = refused(&harness, bytes).await;
        assert!(matches!(&error, LoadError::NotWasm(text) if text.contains(says)), "{error}");
    }
    let truncated = &wat::parse_str(command("", "")).unwrap()[..60];
    let error = refused(&harness, truncated).await;
    assert!(matches!(error, LoadError::NotWasm(_)), "{error}");
}

#[tokio::test]
async fn a_module_needs_an_entry_point() {
    let harness = Harness::new();
    let error = harness.load("(module (func (export \"run\")))").await.err().unwrap();
    assert!(matches!(&error, LoadError::NoEntryPoint(text) if text.contains("_start")), "{error}");
    let error = harness.load("(component)").await.err().unwrap();
    assert!(matches!(&error, LoadError::NoEntryPoint(text) if text.contains("wasi:cli/run")), "{error}");
}

#[tokio::test]
async fn unknown_imports_are_all_named() {
    let harness = Harness::new();
    let wat = r#"(module
        (import "env" "magic" (func))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (import "env" "memory" (memory 1))
        (func (export "_start")))"#;
    match harness.load(wat).await {
        Err(LoadError::UnknownImport { names }) => {
            assert_eq!(names, ["env::magic", "env::memory (memory)"]);
        }
        other => panic!("{:?}", other.err()),
    }
    let mistyped = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func (param i64)))
        (func (export "_start")))"#;
    match harness.load(mistyped).await {
        Err(LoadError::UnknownImport { names }) => {
            assert!(names[0].contains("wasi_snapshot_preview1::fd_write"), "{names:?}");
        }
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn invalid_wasm_says_what_is_wrong() {
    let harness = Harness::new();
    let error = harness.load(r#"(module (func (export "_start") i32.add drop))"#).await.err().unwrap();
    assert!(matches!(&error, LoadError::CompileFailed(text) if text.contains("type mismatch")), "{error}");
}

#[tokio::test]
async fn size_is_limited() {
    let harness = Harness::with(|config| config.compile_limits.max_module_bytes = 100);
    let wasm = wat::parse_str(command("", "")).unwrap();
    let error = refused(&harness, &wasm).await;
    let size = wasm.len() as u64;
    assert!(matches!(error, LoadError::TooLarge { size: s, limit: 100 } if s == size), "{error}");
}

#[tokio::test]
async fn a_missing_file_is_asked_for_again() {
    let harness = Harness::new();
    let path = harness.dir.path().join("later.wasm");
    let error = harness.runtime.load(&path, "sha256:later", Flavor::Plain).await.err().unwrap();
    assert!(matches!(error, LoadError::Read(_)), "{error}");
    std::fs::write(&path, wat::parse_str(command("", "")).unwrap()).unwrap();
    harness.runtime.load(&path, "sha256:later", Flavor::Plain).await.unwrap();
}

/// `functions` functions of `statements` statements each: as much work as one likes.
fn heavy(functions: u32, statements: u32) -> String {
    let body: String = (0..statements)
        .map(|i| format!("(local.set 0 (i32.xor (i32.mul (local.get 0) (i32.const {i})) (local.get 1)))"))
        .collect();
    let function = format!("(func (param i32 i32) (result i32) {body} (local.get 0))");
    let functions = function.repeat(functions as usize);
    format!(r#"(module (memory (export "memory") 1) (func (export "_start")) {functions})"#)
}

#[tokio::test]
async fn the_compiler_is_stopped_when_it_takes_too_long() {
    let harness = Harness::with(|config| config.compile_limits.wall_time = Duration::from_millis(20));
    let path = harness.dir.path().join("heavy.wasm");
    std::fs::write(&path, wat::parse_str(heavy(400, 400)).unwrap()).unwrap();
    let error = harness.runtime.load(&path, "sha256:heavy", Flavor::Plain).await.err().unwrap();
    assert!(matches!(&error, LoadError::CompileLimit(text) if text.contains("longer than")), "{error}");
    // The answer is remembered: nobody looks at the file again.
    std::fs::remove_file(&path).unwrap();
    let error = harness.runtime.load(&path, "sha256:heavy", Flavor::Plain).await.err().unwrap();
    assert!(matches!(error, LoadError::CompileLimit(_)), "{error}");
}

#[tokio::test]
async fn the_compiler_is_stopped_when_it_takes_too_much_memory() {
    let harness = Harness::with(|config| config.compile_limits.memory_bytes = 150 << 20);
    let error = refused(&harness, &wat::parse_str(heavy(1, 60_000)).unwrap()).await;
    assert!(matches!(&error, LoadError::CompileLimit(text) if text.contains("memory")), "{error}");
}

#[tokio::test]
async fn concurrent_loads_share_one_compilation() {
    let harness = Harness::new();
    let wat = command("", "");
    let loads = futures::future::join_all((0..8).map(|_| harness.load(&wat))).await;
    let first = loads[0].as_ref().unwrap();
    assert!(loads.iter().all(|module| std::sync::Arc::ptr_eq(module.as_ref().unwrap(), first)));
}

#[tokio::test]
async fn compiled_code_outlives_the_runtime_and_is_checked() {
    let harness = Harness::new();
    let wat = command("(call $proc_exit (i32.const 4))", "");
    harness.load(&wat).await.unwrap();
    let cache = harness.dir.path().join("cache");
    // A runtime that can't compile has to take it from the cache.
    let reopen = || {
        let mut config = crate::Config::new(&cache, crate::CompilerCommand::subcommand("/absent"));
        config.max_instances = 4;
        crate::Runtime::new(config).unwrap()
    };
    let wasm = wat::parse_str(&wat).unwrap();
    let digest = format!("sha256:{}", hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&wasm)));
    let path = harness.dir.path().join(&digest[7..]);
    let runtime = reopen();
    let module = runtime.load(&path, &digest, Flavor::Plain).await.unwrap();
    let container = runtime.start(module, harness.spec()).unwrap();
    assert_eq!(end_of(&container).await.code, 4);

    let code = std::fs::read_dir(&cache)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .flat_map(|entry| std::fs::read_dir(entry.path()).unwrap().flatten())
        .find(|entry| entry.path().extension().is_some_and(|extension| extension == "cwasm"))
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&code).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&code).unwrap();
    std::fs::write(&code, bytes).unwrap();
    let error = reopen().load(&path, &digest, Flavor::Plain).await.err().unwrap();
    assert!(matches!(&error, LoadError::CompileFailed(text) if text.contains("/absent")), "{error}");
}

#[tokio::test]
async fn modules_too_large_for_the_pool_still_run() {
    let harness = Harness::new();
    let wat = r#"(module (memory (export "memory") 1) (table 30000 funcref) (func (export "_start")))"#;
    assert_eq!(harness.run(wat, |_| {}).await.code, 0);
}

#[tokio::test]
async fn the_cache_in_memory_is_bounded() {
    let harness = Harness::with(|config| config.max_cached_modules = 2);
    let mut first = None;
    for code in 0..4 {
        let wat = command(&format!("(call $proc_exit (i32.const {code}))"), "");
        let module = harness.load(&wat).await.unwrap();
        first.get_or_insert_with(|| std::sync::Arc::downgrade(&module));
    }
    assert!(first.unwrap().upgrade().is_none(), "the oldest is gone");
}
