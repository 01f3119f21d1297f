//! Durable writes of 1 KiB by many writers: ours and etcd's, by turns.

use super::etcd::Etcd;
use super::{kilobyte, rate, us};
use crate::args::BenchStore;
use crate::bench::stats::Times;
use crate::ui::Ui;
use anyhow::{Context as _, Result};
use apiserver::store::{Options, Store, Txn};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Keys that each writer goes round.
const KEYS: u64 = 1_000;

/// What some writers achieved.
struct Measured {
    writes: usize,
    took: Duration,
    times: Vec<Duration>,
}

impl Measured {
    fn rate(&self) -> f64 {
        rate(self.writes, self.took)
    }
}

/// Prints the disk's price of an fsync, then a row for each number of writers.
pub async fn compare(args: &BenchStore, ui: &Ui, dir: &Path) -> Result<()> {
    let sync = sync_alone(dir)?;
    ui.line(format!("append 1 KiB, fdatasync: {}", sync.summary()));
    let etcd = match Etcd::start(&args.etcd, dir).await? {
        Some(etcd) => Some(Arc::new(etcd)),
        None => {
            ui.line(format!("no etcd at {}: the store is measured alone", args.etcd.display()));
            None
        }
    };
    let store = Store::open(Options::file(dir.join("store")))?;
    ui.line(format!("durable writes of 1 KiB, {} turns of {} s each", args.turns, args.seconds));
    for writers in [1, 32, 256] {
        // The disk's mood changes within a minute: measured beside every row.
        let sync = sync_alone(dir)?.percentile(50);
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.turns {
            let store = store.clone();
            ours.push(run(writers, args.seconds, move |key| put(store.clone(), key)).await?);
            let Some(etcd) = etcd.clone() else { continue };
            theirs.push(run(writers, args.seconds, move |key| etcd.put(&key)).await?);
            ratios.extend(ours.last().zip(theirs.last()).map(|(a, b)| a.rate() / b.rate()));
        }
        row(ui, "skiff", writers, ours, sync);
        if !theirs.is_empty() {
            row(ui, "etcd", writers, theirs, sync);
            ratios.sort_by(f64::total_cmp);
            let each: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.1}")).collect();
            ui.line(format!("         {writers:>3} writers: skiff / etcd by turns  {}", each.join("  ")));
        }
    }
    store.close().await;
    Ok(())
}

fn row(ui: &Ui, who: &str, writers: u64, runs: Vec<Measured>, sync: Duration) {
    let mut rates: Vec<f64> = runs.iter().map(Measured::rate).collect();
    rates.sort_by(f64::total_cmp);
    let median = rates.get(rates.len() / 2).copied().unwrap_or_default();
    let times = Times::new(runs.into_iter().flat_map(|run| run.times).collect());
    let share = if writers == 1 {
        format!("  = {:.1} fdatasync", us(times.percentile(50)) / us(sync).max(1e-3))
    } else {
        String::new()
    };
    ui.line(format!("  {who:<6} {writers:>3} writers  {median:>8.0}/s  {}{share}", times.summary()));
}

/// The floor under a durable write: 1 KiB at the end of a file, and an fdatasync.
fn sync_alone(dir: &Path) -> Result<Times> {
    let mut file = tempfile::tempfile_in(dir)?;
    let mut times = Vec::new();
    for _ in 0..500 {
        let began = Instant::now();
        file.write_all(&[b'x'; 1_024])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(Times::new(times))
}

async fn put(store: Store, key: String) -> Result<()> {
    store.commit(Txn::new().put(key, kilobyte())).await?;
    Ok(())
}

/// `writers` tasks write for `seconds`, each its next value once the last one is acknowledged.
async fn run<P, F>(writers: u64, seconds: u64, put: P) -> Result<Measured>
where
    P: Fn(String) -> F + Clone + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let began = Instant::now();
    let deadline = began + Duration::from_secs(seconds);
    let writer = |number: u64| {
        let put = put.clone();
        tokio::spawn(async move {
            let mut times = Vec::new();
            for round in 0.. {
                let began = Instant::now();
                if began >= deadline {
                    break;
                }
                put(format!("core/configmaps/default/{number}-{}", round % KEYS)).await?;
                times.push(began.elapsed());
            }
            anyhow::Ok(times)
        })
    };
    let tasks: Vec<_> = (0..writers).map(writer).collect();
    let mut times = Vec::new();
    for task in tasks {
        times.append(&mut task.await?.context("a write failed")?);
    }
    Ok(Measured { writes: times.len(), took: began.elapsed(), times })
}
