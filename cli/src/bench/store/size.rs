//! What many objects cost: memory, opening, forking.

use super::{OBJECTS, fill, kilobyte, ms, object};
use crate::ui::Ui;
use anyhow::{Context as _, Result};
use apiserver::store::{Options, Store, Value};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// Resident memory per object beyond the bytes of its key and value.
pub async fn memory(ui: &Ui) -> Result<()> {
    let before = resident()?;
    let store = Store::open(Options::memory())?;
    fill(&store).await?;
    // What history holds is not the objects' price.
    store.compact(store.revision()).await?;
    let taken = resident()?.saturating_sub(before);
    let payload = object(0).len() + Value::len(&kilobyte());
    let each = taken / OBJECTS;
    ui.line(format!(
        "memory: {each} bytes resident per object of {payload}, so {} more",
        i64::try_from(each)? - i64::try_from(payload)?
    ));
    store.close().await;
    Ok(())
}

fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

/// Opening a file with [`OBJECTS`], closed properly or not, and forking it.
pub async fn open_and_fork(ui: &Ui, dir: &Path) -> Result<()> {
    const FORKS: u32 = 1_000;
    let path = dir.join("large");
    let store = Store::open(Options::file(&path))?;
    fill(&store).await?;
    // As a crash leaves it: nothing is written when the process goes.
    let crashed = dir.join("crashed");
    std::fs::copy(&path, &crashed)?;
    store.close().await;
    let mut opened = Vec::new();
    for file in [&path, &crashed] {
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let began = Instant::now();
            let store = Store::open(Options::file(file))?;
            best = best.min(began.elapsed());
            store.close().await;
            if file == &crashed {
                break;
            }
        }
        opened.push(best);
    }
    let store = Store::open(Options::file(&path))?;
    let began = Instant::now();
    for _ in 0..FORKS {
        black_box(store.fork());
    }
    let fork = began.elapsed() / FORKS;
    ui.line(format!(
        "{OBJECTS} objects of 1 KiB: open {:.0} ms, {:.0} ms after a crash; fork {:.1} µs; file {} MB",
        ms(opened[0]),
        ms(opened[1]),
        fork.as_secs_f64() * 1e6,
        std::fs::metadata(&path)?.len() / 1_000_000
    ));
    store.close().await;
    Ok(())
}
