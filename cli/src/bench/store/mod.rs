//! `skiff bench store`: what the store costs on this machine's disk, beside etcd on the same disk in the same run.
//!
//! Machines and disks differ and are never quiet: what counts are ratios between lines of one run.

mod etcd;
mod pause;
mod reads;
mod size;
mod writes;

use crate::args::BenchStore;
use crate::ui::Ui;
use anyhow::{Context as _, Result, bail};
use apiserver::store::{Txn, Value};
use std::path::Path;
use std::time::Duration;

/// The objects of a large cluster.
const OBJECTS: u64 = 100_000;

/// Objects that one transaction makes while a store is being filled.
const FILL: u64 = 500;

/// Runs all of it and prints a table.
pub async fn command(args: &BenchStore) -> Result<()> {
    let ui = Ui::detect(false);
    // First, while the process has allocated nothing else.
    size::memory(&ui).await?;
    let parent = args.dir.clone().map_or_else(std::env::current_dir, Ok)?;
    let dir = tempfile::Builder::new().prefix("skiff-bench-").tempdir_in(&parent);
    let dir = dir.with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    on_a_disk(dir.path())?;
    writes::compare(args, &ui, dir.path()).await?;
    reads::lists(&ui).await?;
    reads::fan_out(&ui).await?;
    size::open_and_fork(&ui, dir.path()).await?;
    pause::compaction(&ui, dir.path()).await
}

/// Refuses file systems whose fsync costs nothing.
fn on_a_disk(dir: &Path) -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/mounts").context("cannot tell what is mounted where")?;
    let dir = dir.canonicalize()?;
    let within = |mount: &str| dir.starts_with(mount).then_some(mount.len());
    let kind = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let depth = within(fields.next()?)?;
            Some((depth, fields.next()?))
        })
        .max_by_key(|(depth, _)| *depth)
        .map_or("unknown", |(_, kind)| kind);
    if kind == "tmpfs" || kind == "ramfs" {
        bail!("{} is in memory ({kind}): name a folder on a disk with --dir", dir.display());
    }
    Ok(())
}

fn kilobyte() -> Value {
    Value::new(vec![b'x'; 1_024])
}

fn object(number: u64) -> String {
    format!("core/configmaps/default/object-{number:06}")
}

/// Fills a store with [`OBJECTS`] of 1 KiB.
async fn fill(store: &apiserver::store::Store) -> Result<()> {
    for first in (0..OBJECTS).step_by(usize::try_from(FILL)?) {
        let txn = (first..first + FILL).fold(Txn::new(), |txn, number| txn.put(object(number), kilobyte()));
        store.commit(txn).await?;
    }
    Ok(())
}

/// Microseconds, for people.
fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How many times a second.
#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}
