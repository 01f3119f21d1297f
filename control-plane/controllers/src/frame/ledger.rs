//! What each controller did last: the table that a status page or metrics can show.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The last results of one controller.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub runs: u64,
    pub failures: u64,
    /// Keys waiting for a worker when the last run ended.
    pub queued: usize,
    pub last_took: Duration,
    pub last_key: String,
    pub last_ended: Option<jiff::Timestamp>,
    /// The last failure: what for, and why. Kept until the same key succeeds.
    pub last_failure: Option<(String, String)>,
}

/// Reports by controller name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<&'static str, Arc<Entry>>>>);

#[derive(Debug, Default)]
pub struct Entry(Mutex<Report>);

impl Ledger {
    #[must_use]
    pub fn entry(&self, controller: &'static str) -> Arc<Entry> {
        Arc::clone(self.0.lock().entry(controller).or_default())
    }

    #[must_use]
    pub fn reports(&self) -> Vec<(&'static str, Report)> {
        self.0.lock().iter().map(|(name, entry)| (*name, entry.0.lock().clone())).collect()
    }
}

impl Entry {
    pub fn record(&self, key: &str, took: Duration, queued: usize, now: jiff::Timestamp, result: Result<(), String>) {
        let mut report = self.0.lock();
        report.runs += 1;
        report.queued = queued;
        report.last_took = took;
        report.last_ended = Some(now);
        match result {
            Ok(()) => {
                if report.last_failure.as_ref().is_some_and(|(failed, _)| failed == key) {
                    report.last_failure = None;
                }
            }
            Err(why) => {
                report.failures += 1;
                report.last_failure = Some((key.to_owned(), why));
            }
        }
        key.clone_into(&mut report.last_key);
    }
}
