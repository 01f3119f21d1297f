//! Commands: output, exit codes, environment, files, traps, stopping and killing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Harness, command, end_of, until};
use crate::{Access, Contents, Exit, ExitReason, Flavor, ModuleKind, Mount, StartError};

#[tokio::test]
async fn hello_goes_to_stdout_and_warnings_to_stderr() {
    let harness = Harness::new();
    let wat = command(
        "(call $print (i32.const 1) (i32.const 64) (i32.const 6))
         (call $print (i32.const 2) (i32.const 80) (i32.const 5))",
        r#"(data (i32.const 64) "hello\n") (data (i32.const 80) "oops\n")"#,
    );
    let exit = harness.run(&wat, |_| {}).await;
    assert_eq!(exit, Exit { code: 0, reason: ExitReason::Completed, message: String::new() });
    assert_eq!((harness.output.out().as_str(), harness.output.err().as_str()), ("hello\n", "oops\n"));
}

#[tokio::test]
async fn exit_codes_are_kept() {
    let harness = Harness::new();
    for (code, reason) in [(0, ExitReason::Completed), (1, ExitReason::Error), (255, ExitReason::Error)] {
        let exit = harness.run(&command(&format!("(call $proc_exit (i32.const {code}))"), ""), |_| {}).await;
        assert_eq!((exit.code, exit.reason), (code, reason), "{exit:?}");
    }
}

#[tokio::test]
async fn arguments_and_environment_arrive() {
    let harness = Harness::new();
    let wat = command(
        "(drop (call $args_sizes (i32.const 16) (i32.const 20)))
         (drop (call $args (i32.const 128) (i32.const 1024)))
         (call $print (i32.const 1) (i32.const 1024) (i32.load (i32.const 20)))
         (drop (call $env_sizes (i32.const 16) (i32.const 20)))
         (drop (call $env (i32.const 128) (i32.const 2048)))
         (call $print (i32.const 1) (i32.const 2048) (i32.load (i32.const 20)))",
        "",
    )
    .replacen(
        "(memory",
        r#"(import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
           (memory"#,
        1,
    );
    let exit = harness
        .run(&wat, |spec| {
            spec.args = vec!["prog".into(), "--flag".into()];
            spec.env = vec![("COLOR".into(), "blue".into())];
            spec.working_dir = Some("/data".into());
        })
        .await;
    assert_eq!(exit.code, 0, "{exit:?}");
    assert_eq!(harness.output.out(), "prog\0--flag\0COLOR=blue\0PWD=/data\0");
}

/// Opens `note` under descriptor 3, copies its content to stdout, then tries to create `new`
/// and exits with the errno of that.
fn file_guest() -> String {
    command(
        "(call $check (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4)
             (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 32)))
         (i32.store (i32.const 0) (i32.const 256))
         (i32.store (i32.const 4) (i32.const 128))
         (call $check (call $read (i32.load (i32.const 32)) (i32.const 0) (i32.const 1) (i32.const 12)))
         (call $print (i32.const 1) (i32.const 256) (i32.load (i32.const 12)))
         (call $check (call $open (i32.const 3) (i32.const 0) (i32.const 72) (i32.const 3)
             (i32.const 1) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 32)))",
        r#"(data (i32.const 64) "note") (data (i32.const 72) "new")
           (func $check (param i32) (if (local.get 0) (then (call $proc_exit (local.get 0)))))"#,
    )
    .replacen(
        "(memory",
        r#"(import "wasi_snapshot_preview1" "path_open" (func $open
               (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
           (memory"#,
        1,
    )
}

#[tokio::test]
async fn mounts_are_readable_and_writable_only_as_allowed() {
    const PERM: i32 = 63;
    const ROFS: i32 = 69;
    let harness = Harness::new();
    let host = harness.dir.path().join("volume");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("note"), "from the volume\n").unwrap();
    let mount = |access| Mount { host: host.clone(), guest: "/data".into(), access, contents: None };

    let exit = harness.run(&file_guest(), |spec| spec.mounts.push(mount(Access::ReadOnly))).await;
    assert!([PERM, ROFS].contains(&exit.code), "creating is refused: {exit:?}");
    assert!(!host.join("new").exists());
    let exit = harness.run(&file_guest(), |spec| spec.mounts.push(mount(Access::ReadWrite))).await;
    assert_eq!(exit.code, 0, "{exit:?}");
    assert!(host.join("new").exists());
    assert_eq!(harness.output.out(), "from the volume\nfrom the volume\n");
}

#[tokio::test]
async fn a_missing_mount_is_an_error_at_start() {
    let harness = Harness::new();
    let module = harness.load(&command("", "")).await.unwrap();
    let mut spec = harness.spec();
    let host = harness.dir.path().join("absent");
    spec.mounts.push(Mount { host, guest: "/data".into(), access: Access::ReadOnly, contents: None });
    let Err(error) = harness.runtime.start(module, spec) else { panic!("it starts") };
    assert!(matches!(&error, StartError::Mount { guest, .. } if guest == "/data"), "{error}");
    assert_eq!(harness.runtime.instances(), 0);
}

/// Contents that fail, or come into being when they are asked for.
#[derive(Debug)]
struct Note {
    dir: Option<PathBuf>,
    made: AtomicUsize,
}

impl Note {
    fn mount(dir: Option<PathBuf>) -> (Arc<Self>, Mount) {
        let note = Arc::new(Self { dir: dir.clone(), made: AtomicUsize::new(0) });
        let host = dir.unwrap_or_else(|| "/absent".into());
        let contents = Some(Arc::clone(&note) as Arc<dyn Contents>);
        (note, Mount { host, guest: "/data".into(), access: Access::ReadOnly, contents })
    }
}

impl Contents for Note {
    fn make(&self) -> io::Result<()> {
        self.made.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.as_ref().ok_or_else(|| io::Error::other("no room"))?;
        std::fs::create_dir_all(dir)?;
        std::fs::write(dir.join("note"), "from the volume\n")
    }
}

#[tokio::test]
async fn contents_are_made_before_a_command_looks() {
    let harness = Harness::new();
    let (note, mount) = Note::mount(Some(harness.dir.path().join("core")));
    harness.run(&file_guest(), |spec| spec.mounts.push(mount)).await;
    assert_eq!((harness.output.out().as_str(), note.made.load(Ordering::Relaxed)), ("from the volume\n", 1));

    let component = include_bytes!("../../../../guests/prebuilt/cli-report-component.wasm");
    let module = harness.load_bytes(component, Flavor::Plain).await.unwrap();
    assert_eq!(module.kind(), ModuleKind::CommandComponent);
    let run = async |mount: Mount| {
        let mut spec = harness.spec();
        spec.args = ["report", "--file", "/data/note"].map(String::from).to_vec();
        spec.mounts.push(mount);
        end_of(&harness.runtime.start(module.clone(), spec).unwrap()).await
    };
    let (note, mount) = Note::mount(Some(harness.dir.path().join("component")));
    let exit = run(mount).await;
    assert_eq!((exit.code, note.made.load(Ordering::Relaxed)), (0, 1), "{exit:?}");
    assert!(harness.output.out().contains("file /data/note: from the volume\n"), "{}", harness.output.out());
    let exit = run(Note::mount(None).1).await;
    assert_ne!(exit.code, 0);
    assert!(exit.message.contains("mount /data") && exit.message.contains("no room"), "{exit:?}");
}

#[tokio::test]
async fn a_trap_is_134_with_the_functions_names() {
    let harness = Harness::new();
    let wat = command("(call $outer)", "(func $outer (call $inner)) (func $inner unreachable)");
    let exit = harness.run(&wat, |_| {}).await;
    assert_eq!((exit.code, exit.reason), (134, ExitReason::Trap));
    let message = exit.message;
    assert!(message.starts_with("wasm trap: wasm `unreachable` instruction executed\n"), "{message}");
    let position = |name: &str| message.find(name).unwrap_or_else(|| panic!("{name} in {message}"));
    assert!(position("test!inner") < position("test!outer"));
    assert!(position("test!outer") < position("test!_start"));
}

#[tokio::test]
async fn traps_are_named() {
    let harness = Harness::new();
    for (body, more, expected) in [
        ("(call $down)", "(func $down (call $down))", "call stack exhausted"),
        ("(drop (i32.load (i32.const 0x7fffffff)))", "", "out of bounds memory access"),
        ("(drop (i32.div_s (i32.const 1) (i32.load (i32.const 0))))", "", "integer divide by zero"),
    ] {
        let exit = harness.run(&command(body, more), |_| {}).await;
        assert_eq!(exit.code, 134, "{exit:?}");
        assert!(exit.message.contains(expected), "{}", exit.message);
    }
}

/// Busy for ever after one line of output.
fn hog() -> String {
    command(
        "(call $print (i32.const 1) (i32.const 64) (i32.const 5)) (loop $ever (br $ever))",
        r#"(data (i32.const 64) "busy\n")"#,
    )
}

#[tokio::test]
async fn endless_loops_share_the_threads_and_can_be_killed() {
    let harness = Harness::new();
    let mut hogs = Vec::new();
    for _ in 0..4 {
        hogs.push(harness.start(&hog(), |_| {}).await);
    }
    until(|| harness.output.out().matches("busy").count() == 4).await;
    // More hogs than threads, and yet another guest gets through.
    let exit = harness.run(&command("(call $proc_exit (i32.const 3))", ""), |_| {}).await;
    assert_eq!(exit.code, 3);
    for hog in &hogs {
        assert_eq!(hog.exit(), None);
        hog.kill();
        let exit = end_of(hog).await;
        assert_eq!((exit.code, exit.reason), (137, ExitReason::Killed));
        assert!(hog.stats().cpu_time > Duration::ZERO);
    }
    until(|| harness.runtime.instances() == 0).await;
}

#[tokio::test]
async fn a_sleeping_guest_can_be_killed() {
    let harness = Harness::new();
    let container = harness.start(&waiter(-1), |_| {}).await;
    until(|| harness.output.out() == "ready\n").await;
    container.kill();
    assert_eq!(end_of(&container).await.reason, ExitReason::Killed);
}

/// Says `ready`, waits for the shutdown signal, exits with what the wait returned plus 10.
fn waiter(millis: i64) -> String {
    command(
        &format!(
            "(call $print (i32.const 1) (i32.const 64) (i32.const 6))
             (call $proc_exit (i32.add (i32.const 10) (call $wait (i64.const {millis}))))"
        ),
        r#"(data (i32.const 64) "ready\n")"#,
    )
    .replacen(
        "(memory",
        r#"(import "skiff:pod" "wait_shutdown" (func $wait (param i64) (result i32)))
           (memory"#,
        1,
    )
}

#[tokio::test]
async fn the_shutdown_signal_reaches_a_core_guest() {
    let harness = Harness::new();
    assert_eq!(harness.run(&waiter(1), |_| {}).await.code, 10, "without a signal");
    let container = harness.start(&waiter(-1), |_| {}).await;
    container.signal_stop(Duration::from_secs(30));
    assert_eq!(end_of(&container).await.code, 11);
}

#[tokio::test]
async fn a_core_guest_knows_its_pod() {
    let harness = Harness::new();
    let wat = command(
        "(call $print (i32.const 1) (i32.const 64)
             (call $identity (i32.const 1) (i32.const 64) (i32.const 100)))
         (call $print (i32.const 1) (i32.const 64)
             (call $identity (i32.const 5) (i32.const 64) (i32.const 100)))
         (call $proc_exit (call $identity (i32.const 0) (i32.const -1) (i32.const 100)))",
        "",
    )
    .replacen(
        "(memory",
        r#"(import "skiff:pod" "identity" (func $identity (param i32 i32 i32) (result i32)))
           (memory"#,
        1,
    );
    let exit = harness
        .run(&wat, |spec| {
            spec.pod.name = "web-1".into();
            spec.pod.namespace = "default".into();
            spec.pod.labels.insert("app".into(), "web".into());
        })
        .await;
    assert_eq!(harness.output.out(), "web-1app=web\n");
    assert_eq!(exit.code, 255, "a bad buffer is -1: {exit:?}");
}

#[tokio::test]
async fn what_never_ran_is_a_command() {
    let harness = Harness::new();
    assert_eq!(harness.load(&command("", "")).await.unwrap().kind(), ModuleKind::Command);
}
