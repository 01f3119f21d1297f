//! Failing disks: what was acknowledged stays, what was refused never shows, writing resumes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use store::{CommitError, OpenError, Options, StorageBackend, Store, Txn};

use crate::{text, value};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A disk that knows what is really on it and what is only in the cache above it.
#[derive(Clone, Debug, Default)]
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
    /// Writes and syncs that fail at random; none while there is no storm.
    storm: Arc<Mutex<Option<Storm>>>,
}

/// Of a thousand writes and of a thousand syncs, so many fail.
#[derive(Debug)]
struct Storm {
    random: SmallRng,
    writes: u32,
    syncs: u32,
}

impl Storm {
    fn strikes(&mut self, of_a_thousand: u32) -> bool {
        self.random.random_range(0..1_000) < of_a_thousand
    }
}

impl Platter {
    /// Let a random half of the unsynced sectors reach the platter; the others count as clean all the same.
    fn tear(&mut self, random: &mut SmallRng) {
        self.durable.resize(self.cached.len().max(self.durable.len()), 0);
        for (offset, length) in self.dirty.drain(..) {
            let stop = (offset + length).min(self.cached.len());
            let mut from = offset;
            while from < stop {
                let end = (from / SECTOR * SECTOR + SECTOR).min(stop);
                if random.random_bool(0.5) {
                    self.durable[from..end].copy_from_slice(&self.cached[from..end]);
                }
                from = end;
            }
        }
    }
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
            storm: Arc::default(),
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
        let mut platter = Platter::clone(&self.platter.lock());
        platter.tear(&mut random);
        Self::holding(&platter.durable)
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
        if let Some(storm) = &mut *self.storm.lock() {
            let syncs = storm.syncs;
            if storm.strikes(syncs) {
                // Some of it reached the platter, in pieces; the rest never will.
                platter.tear(&mut storm.random);
                return Err(io::Error::other("the disk said no in a storm"));
            }
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
        let mut short = if is_full && !is_header { data.len() / 2 } else { data.len() };
        let mut is_struck = false;
        if let Some(storm) = &mut *self.storm.lock() {
            let writes = storm.writes;
            is_struck = storm.strikes(writes);
            if is_struck {
                short = storm.random.random_range(0..=short);
            }
        }
        platter.cached[start..start + short].copy_from_slice(&data[..short]);
        platter.dirty.push((start, short));
        match (is_struck, short < data.len()) {
            (true, _) => Err(io::Error::other("the write stopped in the middle")),
            (false, true) => Err(io::ErrorKind::StorageFull.into()),
            (false, false) => Ok(()),
        }
    }
}

/// Write until it works, for at most a minute.
pub async fn write_again(store: &Store, key: &str) -> u64 {
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

/// What a storm's survivors are held against. Every transaction writes the same number to both keys of a pair.
#[derive(Default)]
struct Expected {
    pairs: BTreeMap<u8, u64>,
    revision: u64,
    /// Refused since something worked: after a power loss they may be there all the same, each whole.
    refused: Vec<(u8, u64)>,
}

fn pair(number: u8) -> [String; 2] {
    [format!("pair/{number}/first"), format!("pair/{number}/second")]
}

fn written(store: &Store) -> BTreeMap<u8, u64> {
    let snapshot = store.snapshot();
    let mut pairs = BTreeMap::new();
    for number in 0..6 {
        let [first, second] = pair(number).map(|key| text(&snapshot, &key));
        assert_eq!(first, second, "pair {number} is torn");
        pairs.extend(first.map(|text| (number, text.split(' ').next().unwrap().parse::<u64>().unwrap())));
    }
    pairs
}

/// Some concurrent transactions, as many of which work as the disk lets.
async fn burst(store: &Store, random: &mut SmallRng, next: &mut u64, expected: &mut Expected) {
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..6 {
        if random.random_bool(0.4) {
            continue;
        }
        *next += 1;
        let (content, size, store) = (*next, random.random_range(0..2_000), store.clone());
        let body = value(&format!("{content} {}", "x".repeat(size)));
        let [first, second] = pair(number);
        let mut txn = Txn::new().put(first, body.clone()).put(second, body);
        if random.random_bool(0.1) {
            // Too many for the journal.
            txn = (0..60).fold(txn, |txn, row| txn.put(format!("bulk/{row}"), value(&content.to_string())));
        }
        writes.spawn(async move { (number, content, store.commit(txn).await) });
    }
    let mut worked = 0;
    for (number, content, result) in writes.join_all().await {
        match result {
            Ok(done) => {
                expected.pairs.insert(number, content);
                expected.revision = expected.revision.max(done.revision);
                worked += 1;
            }
            Err(CommitError::Full | CommitError::Io(_)) => expected.refused.push((number, content)),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(store.stats().revision, expected.revision, "{worked} worked");
}

#[tokio::test]
async fn storms_and_power_losses_never_take_what_was_acknowledged() {
    for seed in 0..16 {
        weather(seed).await;
    }
}

async fn weather(seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut disk, mut expected, mut next) = (ShakyDisk::default(), Expected::default(), 0);
    let mut store = disk.open();
    for step in 0..25 {
        match random.random_range(0..5) {
            0 => burst(&store, &mut random, &mut next, &mut expected).await,
            1 | 2 => {
                let (writes, syncs) = (random.random_range(0..150), random.random_range(0..600));
                let storm = Storm { random: SmallRng::seed_from_u64(random.random()), writes, syncs };
                *disk.storm.lock() = Some(storm);
                burst(&store, &mut random, &mut next, &mut expected).await;
            }
            3 => {
                disk.full.store(true, Ordering::SeqCst);
                burst(&store, &mut random, &mut next, &mut expected).await;
            }
            _ => {
                // The old store has lost its machine: what it still says and does reaches nobody.
                disk = disk.after_power_loss(random.random());
                store = disk.open();
                survived(&store, &mut expected, seed);
            }
        }
        // Reads go on whatever the weather, and show what was acknowledged and nothing else.
        assert_eq!(written(&store), expected.pairs, "{seed}/{step}");
        *disk.storm.lock() = None;
        disk.full.store(false, Ordering::SeqCst);
        if random.random_bool(0.5) {
            expected.revision = write_again(&store, "after the storm").await;
            // It worked, so what was refused before is gone for good.
            expected.refused.clear();
        }
    }
    let again = write_again(&store, "after the storm").await;
    store.close().await;
    let store = disk.open();
    assert_eq!((written(&store), store.revision()), (expected.pairs, again), "{seed}");
    store.close().await;
}

/// What is there after a power loss was acknowledged, or refused just before it.
fn survived(store: &Store, expected: &mut Expected, seed: u64) {
    let found = written(store);
    assert!(store.revision() >= expected.revision, "{seed}: revision {} is lost", expected.revision);
    for (number, content) in &expected.pairs {
        let now = found.get(number).copied().unwrap_or_default();
        let is_allowed = now == *content || expected.refused.contains(&(*number, now));
        assert!(is_allowed, "{seed}: pair {number} held {content}, now {now}");
    }
    for (number, content) in &found {
        let is_known = expected.pairs.get(number) == Some(content) || expected.refused.contains(&(*number, *content));
        assert!(is_known, "{seed}: pair {number} holds {content}, which was never tried, or gone for good");
    }
    *expected = Expected { pairs: found, revision: store.revision(), refused: Vec::new() };
}
