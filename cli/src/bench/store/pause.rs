//! How long compaction keeps a writer waiting.

use super::{FILL, OBJECTS, kilobyte, ms, object};
use crate::bench::stats::Times;
use crate::ui::Ui;
use anyhow::Result;
use apiserver::store::{HistoryPolicy, Options, Store, Txn};
use std::path::Path;
use std::time::{Duration, Instant};

/// Commits measured in each part.
const COMMITS: usize = 3_000;

/// One writer goes on without a break while as many superseded revisions as there are objects are compacted away,
/// and beside it without compaction.
pub async fn compaction(ui: &Ui, dir: &Path) -> Result<()> {
    let history = HistoryPolicy { revisions: OBJECTS * 10, ..HistoryPolicy::default() };
    let store = Store::open(Options { history, ..Options::file(dir.join("compacted")) })?;
    let writers = FILL;
    for round in 0..OBJECTS / writers {
        let writes = (0..writers).map(|number| {
            let txn = Txn::new().put(object((round * writers + number) % 1_000), kilobyte());
            store.commit(txn)
        });
        futures::future::try_join_all(writes).await?;
    }
    let without = write(&store).await?;
    store.compact(OBJECTS).await?;
    let before = store.stats();
    let with = write(&store).await?;
    ui.line(format!("one writer beside the compaction of {OBJECTS} revisions: {}", with.summary()));
    ui.line(format!("                              without compaction: {}", without.summary()));
    let extra = with.percentile(100).saturating_sub(without.percentile(100));
    ui.line(format!("  longest commit {:.1} ms longer; history from revision {}", ms(extra), before.oldest));
    store.close().await;
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
