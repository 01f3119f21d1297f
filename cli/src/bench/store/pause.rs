//! How long compaction keeps a writer waiting.

use super::{FILL, OBJECTS, kilobyte, ms, object};
use crate::bench::stats::Times;
use crate::ui::Ui;
use anyhow::Result;
use apiserver::store::{HistoryPolicy, Options, StorageBackend, Store, Txn};
use std::io;
use std::ops::Range;
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

/// Bytes of one piece of the disk in memory.
const PIECE: usize = 1 << 20;

/// A disk that is never slow: in pieces, since redb doubles its file when it is full, and growing one buffer of so many
/// bytes would copy and clear them all while a writer waits.
#[derive(Debug, Default)]
struct MemoryDisk(RwLock<Pieces>);

#[derive(Debug, Default)]
struct Pieces {
    len: u64,
    pieces: Vec<Vec<u8>>,
}

impl Pieces {
    /// Calls `each` with the number of each piece that a range touches, where in it the range begins, and which bytes of
    /// the range those are.
    fn touched(&self, offset: u64, length: usize, mut each: impl FnMut(usize, usize, Range<usize>)) -> io::Result<()> {
        if offset + length as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let mut done = 0;
        while done < length {
            let (piece, within) = ((start + done) / PIECE, (start + done) % PIECE);
            let part = (length - done).min(PIECE - within);
            each(piece, within, done..done + part);
            done += part;
        }
        Ok(())
    }
}

impl MemoryDisk {
    fn poisoned<T>(_: T) -> io::Error {
        io::Error::other("a thread panicked while it used the disk in memory")
    }
}

impl StorageBackend for MemoryDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().map_err(Self::poisoned)?.len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.read().map_err(Self::poisoned)?;
        disk.touched(offset, out.len(), |piece, within, part| {
            let length = part.len();
            out[part].copy_from_slice(&disk.pieces[piece][within..within + length]);
        })
    }

    /// It only grows while it is measured; what is cut off keeps its bytes.
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.write().map_err(Self::poisoned)?;
        disk.len = len;
        let pieces = usize::try_from(len).map_err(io::Error::other)?.div_ceil(PIECE);
        disk.pieces.resize_with(pieces, || vec![0; PIECE]);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.write().map_err(Self::poisoned)?;
        let mut pieces = std::mem::take(&mut disk.pieces);
        let written = disk.touched(offset, data.len(), |piece, within, part| {
            pieces[piece][within..within + part.len()].copy_from_slice(&data[part]);
        });
        disk.pieces = pieces;
        written
    }
}
