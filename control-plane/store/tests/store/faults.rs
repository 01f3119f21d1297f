//! Failing disks: what was acknowledged stays, what was refused never shows, writing resumes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use store::{CommitError, OpenError, Options, StorageBackend, Store, Txn};

use crate::{text, value};

/// A disk that knows what is really on it and what is only in the cache above it.
#[derive(Debug, Default)]
struct Platter {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync that worked: offset and length.
    dirty: Vec<(usize, usize)>,
}

#[derive(Clone, Debug)]
pub struct ShakyDisk {
    platter: Arc<Mutex<Platter>>,
    fail_sync: Arc<AtomicBool>,
    full: Arc<AtomicBool>,
    /// Syncs that still work, and writes that still find room.
    pub syncs_left: Arc<AtomicI64>,
    pub writes_left: Arc<AtomicI64>,
}

impl Default for ShakyDisk {
    fn default() -> Self {
        Self::holding(&[])
    }
}

impl ShakyDisk {
    pub fn holding(bytes: &[u8]) -> Self {
        let platter = Platter { cached: bytes.to_vec(), durable: bytes.to_vec(), dirty: Vec::new() };
        Self {
            platter: Arc::new(Mutex::new(platter)),
            fail_sync: Arc::default(),
            full: Arc::default(),
            syncs_left: Arc::new(AtomicI64::new(i64::MAX)),
            writes_left: Arc::new(AtomicI64::new(i64::MAX)),
        }
    }

    pub fn try_open(&self) -> Result<Store, OpenError> {
        let backend: Box<dyn StorageBackend> = Box::new(self.clone());
        Store::open(Options { backend: Some(backend), ..Options::memory() })
    }

    pub fn open(&self) -> Store {
        self.try_open().unwrap()
    }

    /// What a machine finds after its power went: each unsynced page may or may not be there.
    pub fn after_power_loss(&self, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let platter = self.platter.lock();
        let mut durable = platter.durable.clone();
        durable.resize(platter.cached.len().max(durable.len()), 0);
        for (offset, length) in &platter.dirty {
            for page in (*offset..offset + length).step_by(512) {
                let end = (page + 512).min(offset + length).min(platter.cached.len());
                if page < end && random.random_bool(0.5) {
                    durable[page..end].copy_from_slice(&platter.cached[page..end]);
                }
            }
        }
        Self::holding(&durable)
    }
}

impl StorageBackend for ShakyDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platter.lock().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter.lock();
        let start = usize::try_from(offset).unwrap();
        let source = platter.cached.get(start..start + out.len());
        out.copy_from_slice(source.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.platter.lock().cached.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter.lock();
        let is_spent = self.syncs_left.fetch_sub(1, Ordering::SeqCst) <= 0;
        if is_spent || self.fail_sync.load(Ordering::SeqCst) {
            // As Linux does: the error is told once, and the pages count as clean from then on.
            platter.dirty.clear();
            return Err(io::Error::other("the disk said no"));
        }
        let Platter { cached, durable, dirty } = &mut *platter;
        durable.resize(cached.len(), 0);
        for (offset, length) in dirty.drain(..) {
            durable[offset..offset + length].copy_from_slice(&cached[offset..offset + length]);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.platter.lock();
        let start = usize::try_from(offset).unwrap();
        // Overwriting always works; room for new data may be gone.
        let is_header = start == 0;
        let is_full = self.full.load(Ordering::SeqCst) || self.writes_left.fetch_sub(1, Ordering::SeqCst) <= 0;
        let short = if is_full && !is_header { data.len() / 2 } else { data.len() };
        platter.cached[start..start + short].copy_from_slice(&data[..short]);
        platter.dirty.push((start, short));
        if short < data.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// Write until it works, for at most a minute.
async fn write_again(store: &Store, key: &str) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match store.commit(Txn::new().put(key, value("again"))).await {
            Ok(done) => return done.revision,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let disk = ShakyDisk::default();
    let store = disk.open();
    store.commit(Txn::create("a", value("1"))).await.unwrap();
    let mut watch = store.watch(b"", 1).unwrap();
    disk.full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let error = store.commit(Txn::create("b", value("2"))).await.unwrap_err();
        assert!(matches!(error, CommitError::Full), "{error}");
    }
    assert_eq!(text(&store.snapshot(), "a").as_deref(), Some("1"));
    assert!(store.snapshot().get(b"b").is_none());
    assert!(watch.try_next().await.unwrap().is_none());
    disk.full.store(false, Ordering::SeqCst);
    assert_eq!(write_again(&store, "c").await, 2);
    assert_eq!(watch.next().await.unwrap().events[0].revision, 2);
    store.close().await;
    let store = disk.after_power_loss(1).open();
    assert_eq!((store.revision(), store.snapshot().len()), (2, 2));
}

#[tokio::test]
async fn a_failed_sync_is_never_taken_for_a_write() {
    let disk = ShakyDisk::default();
    let store = disk.open();
    for round in 0..20 {
        store.commit(Txn::create(format!("{round}"), value("kept"))).await.unwrap();
    }
    disk.fail_sync.store(true, Ordering::SeqCst);
    let error = store.commit(Txn::create("lost", value("x"))).await.unwrap_err();
    assert!(matches!(error, CommitError::Io(_)), "{error}");
    assert_eq!(store.snapshot().len(), 20);
    disk.fail_sync.store(false, Ordering::SeqCst);
    assert_eq!(write_again(&store, "after").await, 21);
    // Only what is on the platter counts.
    for seed in 0..20 {
        let store = disk.after_power_loss(seed).open();
        assert_eq!((store.revision(), store.snapshot().len()), (21, 21));
        assert!(store.snapshot().get(b"lost").is_none());
    }
}

#[tokio::test]
async fn power_loss_keeps_what_was_acknowledged() {
    let disk = ShakyDisk::default();
    let store = disk.open();
    for round in 0..40u64 {
        let txn = Txn::new().put(format!("{}", round % 5), value(&round.to_string()));
        let acknowledged = store.commit(txn).await.unwrap().revision;
        let found = disk.after_power_loss(round).open();
        assert_eq!(found.revision(), acknowledged);
        assert_eq!(text(&found.snapshot(), &format!("{}", round % 5)), Some(round.to_string()));
    }
}

#[tokio::test]
async fn power_loss_in_the_middle_of_a_write_leaves_a_whole_state() {
    let disk = ShakyDisk::default();
    let store = disk.open();
    let mut acknowledged = 0;
    for round in 0..60u64 {
        // The sync fails, so this write stays half done as far as the platter knows.
        disk.fail_sync.store(round % 3 == 2, Ordering::SeqCst);
        match store.commit(Txn::new().put("k", value(&round.to_string()))).await {
            Ok(done) => acknowledged = done.revision,
            Err(_) => {
                let found = disk.after_power_loss(round).open();
                assert_eq!(found.revision(), acknowledged);
            }
        }
        disk.fail_sync.store(false, Ordering::SeqCst);
        acknowledged = acknowledged.max(write_again(&store, "other").await);
    }
}
