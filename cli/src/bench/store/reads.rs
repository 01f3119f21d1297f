//! What readers get: snapshots, lists, watches.

use super::{OBJECTS, fill, kilobyte, rate};
use crate::ui::Ui;
use anyhow::Result;
use apiserver::store::{Options, Store, Txn};
use std::hint::black_box;
use std::time::{Duration, Instant};

const WATCHERS: usize = 1_000;
const EVENTS: usize = 1_000;

/// A list of [`OBJECTS`]: taking the snapshot, and copying all of it as an answer is written.
pub async fn lists(ui: &Ui) -> Result<()> {
    const SNAPSHOTS: u32 = 1_000_000;
    const CHUNK: usize = 64 << 10;
    let store = Store::open(Options::memory())?;
    fill(&store).await?;
    let began = Instant::now();
    for _ in 0..SNAPSHOTS {
        black_box(store.snapshot());
    }
    let each = began.elapsed() / SNAPSHOTS;
    let mut buffer: Vec<u8> = Vec::with_capacity(CHUNK + 2_048);
    let (mut best, mut bytes) = (Duration::MAX, 0);
    for _ in 0..5 {
        bytes = 0;
        let began = Instant::now();
        let snapshot = store.snapshot();
        for (_, entry) in snapshot.range(b"core/configmaps/", None) {
            buffer.extend_from_slice(&entry.value.body);
            if buffer.len() >= CHUNK {
                bytes += black_box(&buffer).len();
                buffer.clear();
            }
        }
        best = best.min(began.elapsed());
    }
    ui.line(format!(
        "LIST of {OBJECTS} objects of 1 KiB: snapshot {} ns, streamed in {:.1} ms, {:.1} GB/s",
        each.as_nanos(),
        best.as_secs_f64() * 1e3,
        rate(bytes, best) / 1e9
    ));
    store.close().await;
    Ok(())
}

/// Every watcher sees every event.
pub async fn fan_out(ui: &Ui) -> Result<()> {
    let store = Store::open(Options::memory())?;
    let mut watchers = Vec::with_capacity(WATCHERS);
    for _ in 0..WATCHERS {
        let mut watch = store.watch(b"core/pods/", 0)?;
        watchers.push(tokio::spawn(async move {
            let mut seen = 0;
            while seen < EVENTS {
                seen += watch.next().await?.events.len();
            }
            anyhow::Ok(())
        }));
    }
    let cpu = cpu_seconds()?;
    let began = Instant::now();
    for number in 0..EVENTS {
        store.commit(Txn::new().put(format!("core/pods/default/{number}"), kilobyte())).await?;
    }
    for watcher in watchers {
        watcher.await??;
    }
    let took = began.elapsed();
    ui.line(format!(
        "watch: {WATCHERS} watchers of {EVENTS} events in {:.0} ms, {:.1} million events/s, {:.2} s of CPU",
        took.as_secs_f64() * 1e3,
        rate(WATCHERS * EVENTS, took) / 1e6,
        cpu_seconds()? - cpu
    ));
    store.close().await;
    Ok(())
}

/// Processor time of this process so far.
fn cpu_seconds() -> Result<f64> {
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: f64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS)
}
