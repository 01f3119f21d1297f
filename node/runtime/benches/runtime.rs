//! Warm starts and HTTP requests, in one process. The bench binary is its own compiler process.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use http_body_util::{BodyExt, Empty};
use runtime::{
    CompilerCommand, Config, Container, ContainerSpec, Flavor, Module, NoOutput, Runtime, compile_child_main,
};
use tokio::runtime::{Builder, Runtime as Tokio};

const CONNECTIONS: u64 = 32;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "__compile") {
        return compile_child_main();
    }
    let mut criterion = Criterion::default().configure_from_args();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = std::env::current_exe().expect("our own path");
    let tokio = Builder::new_multi_thread().enable_all().build().expect("threads");
    let config = Config::new(dir.path().join("cache"), CompilerCommand::subcommand(program));
    let runtime = Runtime::new(config).expect("a runtime");
    starts(&mut criterion, &tokio, &runtime, &dir);
    requests(&mut criterion, &tokio, &runtime);
    criterion.final_summary();
    ExitCode::SUCCESS
}

fn prebuilt(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../guests/prebuilt").join(name)
}

fn load(tokio: &Tokio, runtime: &Runtime, path: &Path) -> Arc<Module> {
    let digest = path.display().to_string();
    tokio.block_on(runtime.load(path, &digest, Flavor::Plain)).expect("it loads")
}

fn spec() -> ContainerSpec {
    ContainerSpec::new("bench", Arc::new(NoOutput))
}

fn starts(criterion: &mut Criterion, tokio: &Tokio, runtime: &Runtime, dir: &tempfile::TempDir) {
    let empty = dir.path().join("empty.wasm");
    let wat = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
    std::fs::write(&empty, wat::parse_str(wat).expect("valid")).expect("written");
    let mut group = criterion.benchmark_group("start to exit");
    for (name, path) in [
        ("p1 empty", empty),
        ("p1 report", prebuilt("cli-report.wasm")),
        ("p2 report", prebuilt("cli-report-component.wasm")),
    ] {
        let module = load(tokio, runtime, &path);
        group.bench_function(name, |bencher| {
            bencher.to_async(tokio).iter(|| async {
                let container = runtime.start(module.clone(), spec()).expect("it starts");
                black_box(container.wait().await)
            });
        });
    }
    group.finish();
}

async fn get(container: &Container) -> usize {
    let request = http::Request::get("/healthz").header("host", "bench");
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let response = container.handle(request).await;
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.expect("a body").to_bytes().len()
}

fn requests(criterion: &mut Criterion, tokio: &Tokio, runtime: &Runtime) {
    let module = load(tokio, runtime, &prebuilt("hello-http.wasm"));
    let container = runtime.start(module, spec()).expect("it starts");
    let mut group = criterion.benchmark_group("http");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one at a time", |bencher| {
        bencher.to_async(tokio).iter(|| get(&container));
    });
    group.throughput(Throughput::Elements(CONNECTIONS));
    group.bench_function("32 at a time", |bencher| {
        bencher.to_async(tokio).iter(|| async {
            let tasks = (0..CONNECTIONS).map(|_| {
                let container = container.clone();
                tokio::spawn(async move { get(&container).await })
            });
            futures::future::join_all(tasks).await
        });
    });
    group.finish();
    container.kill();
}
