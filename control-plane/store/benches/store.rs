//! Figures for README: writers, lists, watch fan-out.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use store::{Options, Store, Txn, Value};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime")
}

fn kilobyte() -> Value {
    Value::new(vec![b'x'; 1_024])
}

/// `writers` tasks write `rounds` values each.
async fn write(store: &Store, writers: u64, rounds: u64) -> Duration {
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..rounds {
                    let key = format!("core/configmaps/default/{writer}-{}", round % 1_000);
                    store.commit(Txn::new().put(key, kilobyte())).await.expect("a commit");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a writer");
    }
    start.elapsed()
}

fn writers(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("durable 1 KiB write");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    group.bench_function("fdatasync alone", |bencher| {
        use std::io::Write;
        let mut file = tempfile::tempfile_in(".").expect("a file");
        bencher.iter(|| {
            file.write_all(&[0; 1_024]).expect("a write");
            file.sync_data().expect("a sync");
        });
    });
    for count in [1, 32, 256] {
        let folder = tempfile::tempdir_in(".").expect("a folder");
        let store = Store::open(Options::file(folder.path().join("s"))).expect("a store");
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} writers"), |bencher| {
            bencher.iter_custom(|rounds| runtime.block_on(write(&store, count, rounds)));
        });
        runtime.block_on(store.close());
    }
    let store = Store::open(Options::memory()).expect("a store");
    group.throughput(Throughput::Elements(1));
    group.bench_function("1 writer in memory", |bencher| {
        bencher.iter_custom(|rounds| runtime.block_on(write(&store, 1, rounds)));
    });
    group.finish();
}

fn lists(criterion: &mut Criterion) {
    let runtime = runtime();
    let store = Store::open(Options::memory()).expect("a store");
    runtime.block_on(async {
        for number in 0..100_000 {
            let key = format!("core/configmaps/default/object-{number}");
            store.commit(Txn::create(key, kilobyte())).await.expect("a commit");
        }
    });
    criterion.bench_function("snapshot", |bencher| bencher.iter(|| black_box(store.snapshot())));
    criterion.bench_function("get of 100,000", |bencher| {
        let snapshot = store.snapshot();
        bencher.iter(|| black_box(snapshot.get(b"core/configmaps/default/object-77777")));
    });
    criterion.bench_function("list 100,000", |bencher| {
        let snapshot = store.snapshot();
        bencher.iter(|| snapshot.range(b"core/configmaps/", None).map(|(_, entry)| entry.value.len()).sum::<usize>());
    });
    criterion.bench_function("fork of 100,000", |bencher| bencher.iter(|| store.fork()));
}

fn fan_out(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("watch");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1_000 * 1_000));
    group.bench_function("1,000 watchers of 1,000 events", |bencher| {
        bencher.iter_custom(|rounds| {
            runtime.block_on(async {
                let store = Store::open(Options::memory()).expect("a store");
                let mut total = Duration::ZERO;
                for _ in 0..rounds {
                    total += fan_out_once(&store).await;
                }
                total
            })
        });
    });
    group.finish();
}

async fn fan_out_once(store: &Store) -> Duration {
    let after = store.revision();
    let watchers: Vec<_> = (0..1_000)
        .map(|_| {
            let mut watch = store.watch(b"core/pods/", after).expect("a watch");
            tokio::spawn(async move {
                let mut seen = 0;
                while seen < 1_000 {
                    seen += watch.next().await.expect("events").events.len();
                }
            })
        })
        .collect();
    let start = Instant::now();
    for number in 0..1_000 {
        let key = format!("core/pods/default/{number}");
        store.commit(Txn::new().put(key, kilobyte())).await.expect("a commit");
    }
    for watcher in watchers {
        watcher.await.expect("a watcher");
    }
    start.elapsed()
}

criterion_group!(benches, writers, lists, fan_out);
criterion_main!(benches);
