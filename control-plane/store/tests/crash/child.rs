//! The writer process: shows what the file holds, then writes to it until it is killed.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use store::{CommitError, HistoryPolicy, Options, Snapshot, Store};

use crate::ledger::Line;
use crate::work::Id;

/// Transactions of one life: history is compacted only up to where it began, so that nothing goes unseen.
const MOST: u64 = 800;

/// What the test tells its child, in [`crate::CHILD`].
#[derive(Clone, Debug)]
pub struct Orders {
    pub path: String,
    pub life: u32,
    pub writers: u32,
    pub compacts: bool,
    /// Close the file and end, in place of writing until killed.
    pub closes: bool,
}

impl Orders {
    pub fn encode(&self) -> String {
        let Self { path, life, writers, compacts, closes } = self;
        format!("{life} {writers} {compacts} {closes} {path}")
    }

    fn decode(text: &str) -> Self {
        let mut fields = text.splitn(5, ' ');
        let mut next = || fields.next().unwrap();
        Self {
            life: next().parse().unwrap(),
            writers: next().parse().unwrap(),
            compacts: next().parse().unwrap(),
            closes: next().parse().unwrap(),
            path: next().into(),
        }
    }
}

/// The pipe. A line goes out in one system call, and is safe from then on.
#[derive(Clone)]
struct Ledger(Arc<File>);

impl Ledger {
    fn say(&self, line: &Line) {
        self.say_all(std::slice::from_ref(line));
    }

    fn say_all(&self, lines: &[Line]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        if (&*self.0).write_all(text.as_bytes()).is_err() {
            // Nobody listens any more: the test is gone.
            std::process::exit(1);
        }
    }
}

pub fn run() {
    let orders = Orders::decode(&std::env::var(crate::CHILD).unwrap());
    let pipe = File::from(std::io::stdout().as_fd().try_clone_to_owned().unwrap());
    let ledger = Ledger(Arc::new(pipe));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(live(orders, ledger));
}

async fn live(orders: Orders, ledger: Ledger) {
    // Less in memory than there is: the older part of history comes from the disk.
    let history =
        HistoryPolicy { age: Duration::ZERO, revisions: MOST * 2, memory_bytes: 400_000, ..HistoryPolicy::default() };
    ledger.say(&Line::Opening);
    let store = match Store::open(Options { history, ..Options::file(&orders.path) }) {
        Ok(store) => store,
        Err(error) => return ledger.say(&Line::Wrong(format!("cannot open: {error}"))),
    };
    if let Err(error) = show(&store, &ledger).await {
        return ledger.say(&Line::Wrong(error));
    }
    ledger.say(&Line::Shown);
    let began_at = store.revision();
    let count = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..orders.writers)
        .map(|writer| tokio::spawn(write(store.clone(), ledger.clone(), orders.life, writer, count.clone())))
        .collect();
    let mut compacted_at = 0;
    while orders.compacts && count.load(Ordering::SeqCst) < MOST {
        tokio::task::yield_now().await;
        let done = count.load(Ordering::SeqCst);
        if done >= compacted_at + 100 && store.stats().oldest < began_at {
            compacted_at = done;
            ledger.say(&Line::Compacting);
            let oldest = store.stats().oldest;
            // In steps, so that there are several.
            store.compact(oldest + (began_at - oldest).div_ceil(3)).await.unwrap();
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    if orders.closes {
        ledger.say(&Line::Closing);
        store.close().await;
        return;
    }
    // Nothing more to do: the test kills a process that has become silent.
    std::future::pending::<()>().await;
}

async fn show(store: &Store, ledger: &Ledger) -> Result<(), String> {
    let snapshot = store.snapshot();
    let (oldest, newest) = (store.stats().oldest, snapshot.revision());
    let mut lines = vec![Line::Opened { oldest, newest }];
    let mut watch = store.watch(b"", oldest).map_err(|error| error.to_string())?;
    while let Some(batch) = watch.try_next().await.map_err(|error| error.to_string())? {
        for event in &batch.events {
            let by = match &event.entry {
                Some(entry) => Some(Id::of(&entry.value).ok_or("a value in history is not as written")?),
                None => None,
            };
            lines.push(Line::Event {
                revision: event.revision,
                key: String::from_utf8_lossy(&event.key).into(),
                by,
                prev: event.prev.as_ref().map_or(0, |prev| prev.mod_revision),
            });
        }
    }
    for (key, entry) in snapshot.range(b"", None) {
        let by = Id::of(&entry.value).ok_or("a value of the state is not as written")?;
        lines.push(Line::Holds { key: String::from_utf8_lossy(key).into(), revision: entry.mod_revision, by });
    }
    lines.chunks(256).for_each(|lines| ledger.say_all(lines));
    Ok(())
}

fn hot(snapshot: &Snapshot) -> u64 {
    snapshot.get(b"hot").map_or(0, |entry| entry.mod_revision)
}

async fn write(store: Store, ledger: Ledger, life: u32, writer: u32, count: Arc<AtomicU64>) {
    for number in 0.. {
        if count.fetch_add(1, Ordering::SeqCst) >= MOST {
            return;
        }
        let id = Id { life, writer, number };
        let txn = id.txn(hot(&store.snapshot()));
        ledger.say(&Line::Attempted(id));
        match store.commit(txn).await {
            Ok(done) => ledger.say(&Line::Acknowledged { id, revision: done.revision }),
            Err(CommitError::Conflict { .. }) => ledger.say(&Line::Refused(id)),
            Err(error) => return ledger.say(&Line::Wrong(format!("cannot commit: {error}"))),
        }
    }
}
