//! How long compaction keeps a writer waiting.

use super::{FILL, OBJECTS, kilobyte, ms, object};
use crate::bench::stats::Times;
use crate::ui::Ui;
use anyhow::Result;
use apiserver::store::{HistoryPolicy, Options, StorageBackend, Store, Txn};
use std::io;
use std::path::Path;
use std::sync::RwLock;
use std::time::{Duration, Instant};

/// Commits measured in each part.
const COMMITS: usize = 5_000;

/// One writer goes on without a break while as many superseded revisions as there are objects are compacted away,
/// and before that without compaction: on the disk, and on one in memory, which shows the store without the disk's
/// own moods.
pub async fn compaction(ui: &Ui, dir: &Path) -> Result<()> {
    let disk = Options::file(dir.join("compacted"));
    let memory = Options { backend: Some(Box::new(MemoryDisk::default())), ..Options::memory() };
    ui.line(format!("one writer beside the compaction of {OBJECTS} revisions"));
    for (name, options) in [("on the disk", disk), ("disk in memory", memory)] {
        let history = HistoryPolicy { revisions: OBJECTS * 10, ..HistoryPolicy::default() };
        let store = Store::open(Options { history, ..options })?;
        for round in 0..OBJECTS / FILL {
            let writes = (0..FILL).map(|number| {
                let txn = Txn::new().put(object((round * FILL + number) % 1_000), kilobyte());
                store.commit(txn)
            });
            futures::future::try_join_all(writes).await?;
        }
        let without = write(&store).await?;
        let (compacted, with) = tokio::join!(store.compact(OBJECTS), write(&store));
        compacted?;
        let with = with?;
        ui.line(format!("  {name:<16} without  {}", without.summary()));
        ui.line(format!("  {name:<16} with     {}", with.summary()));
        let extra = with.percentile(100).saturating_sub(without.percentile(50));
        ui.line(format!("  {name:<16} longest commit {:.1} ms longer than the median without", ms(extra)));
        store.close().await;
    }
    Ok(())
}

async fn write(store: &Store) -> Result<Times> {
    let mut times: Vec<Duration> = Vec::with_capacity(COMMITS);
    for number in 0..COMMITS {
        let began = Instant::now();
        store.commit(Txn::new().put(format!("core/leases/default/{}", number % 50), kilobyte())).await?;
        times.push(began.elapsed());
    }
    Ok(Times::new(times))
}

/// A disk that is never slow.
#[derive(Debug, Default)]
struct MemoryDisk(RwLock<Vec<u8>>);

impl MemoryDisk {
    fn poisoned<T>(_: T) -> io::Error {
        io::Error::other("a thread panicked while it used the disk in memory")
    }
}

impl StorageBackend for MemoryDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().map_err(Self::poisoned)?.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = self.0.read().map_err(Self::poisoned)?;
        out.copy_from_slice(bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.write().map_err(Self::poisoned)?.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let mut bytes = self.0.write().map_err(Self::poisoned)?;
        let end = start + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(data);
        Ok(())
    }
}
