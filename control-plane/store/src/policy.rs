//! When history is old enough to go: marks along the revisions, and the policy applied to them.

use std::collections::VecDeque;

use crate::history_policy::HistoryPolicy;
use crate::types::Revision;

/// Marks per policy window: history goes in steps of this fraction.
const STEPS: u64 = 64;
/// Marks are no closer together than this fraction of what they span: where one window is far longer than the other,
/// the shorter one alone would ask for a mark at each revision of the longer.
const CLOSEST: u64 = 1_024;

#[derive(Clone, Copy, Debug)]
struct Mark {
    revision: Revision,
    at_ms: u64,
    /// Bytes written up to and including `revision`.
    written: u64,
}

/// Remembers roughly when, and after how many bytes, each revision was.
#[derive(Debug)]
pub(crate) struct Retention {
    policy: HistoryPolicy,
    marks: VecDeque<Mark>,
    written: u64,
}

impl Retention {
    pub fn new(policy: HistoryPolicy) -> Self {
        Self { policy, marks: VecDeque::new(), written: 0 }
    }

    /// Note a commit of `bytes`.
    pub fn record(&mut self, revision: Revision, at_ms: u64, bytes: u64) {
        self.written += bytes;
        let mark = Mark { revision, at_ms, written: self.written };
        let age = u64::try_from(self.policy.age.as_millis()).unwrap_or(u64::MAX);
        let span = self.marks.front().map_or(0, |first| revision - first.revision);
        let due = self.marks.back().is_none_or(|last| {
            let passed = revision - last.revision;
            let by_revision = passed >= (self.policy.revisions / STEPS).clamp(1, 10_000);
            let by_age = at_ms.saturating_sub(last.at_ms) >= (age / STEPS).max(1);
            let by_bytes = self.written - last.written >= (self.policy.bytes / STEPS).max(1);
            ((by_revision || by_age) && passed >= span / CLOSEST) || by_bytes
        });
        if due {
            self.marks.push_back(mark);
        }
    }

    /// The revision up to which history may go now, when that is further than `compacted`.
    pub fn target(&self, current: Revision, now_ms: u64, compacted: Revision) -> Option<Revision> {
        let age = u64::try_from(self.policy.age.as_millis()).unwrap_or(u64::MAX);
        let expired = |mark: &&Mark| {
            let old = now_ms.saturating_sub(mark.at_ms) >= age;
            let deep = current - mark.revision.min(current) >= self.policy.revisions;
            let large = self.written - mark.written >= self.policy.bytes;
            (old && deep) || large
        };
        let mark = self.marks.iter().take_while(expired).last()?;
        (mark.revision > compacted).then_some(mark.revision)
    }

    /// Bytes of the history that is left.
    pub fn bytes(&self) -> u64 {
        self.written
    }

    /// Forget the marks at and before `revision`.
    pub fn forget(&mut self, revision: Revision) {
        let mut gone = None;
        while self.marks.front().is_some_and(|mark| mark.revision <= revision) {
            gone = self.marks.pop_front();
        }
        if let Some(mark) = gone {
            // Kept as the zero that later marks are measured from.
            self.written -= mark.written;
            for later in &mut self.marks {
                later.written -= mark.written;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn policy(age: u64, revisions: u64, bytes: u64) -> HistoryPolicy {
        HistoryPolicy { age: Duration::from_secs(age), revisions, bytes, memory_bytes: 0 }
    }

    fn recorded(policy: HistoryPolicy) -> Retention {
        let mut retention = Retention::new(policy);
        for revision in 1..=1_000 {
            retention.record(revision, revision * 1_000, 10);
        }
        retention
    }

    #[test]
    fn both_age_and_revisions_must_let_go() {
        assert_eq!(recorded(policy(100, 500, u64::MAX)).target(1_000, 1_000_000, 0), Some(499));
        assert_eq!(recorded(policy(700, 50, u64::MAX)).target(1_000, 1_000_000, 0), Some(300));
        assert_eq!(recorded(policy(2_000, 50, u64::MAX)).target(1_000, 1_000_000, 0), None);
    }

    #[test]
    fn bytes_are_a_hard_limit() {
        let target = recorded(policy(2_000, 5_000, 1_000)).target(1_000, 1_000_000, 0);
        assert_eq!(target, Some(899));
    }

    #[test]
    fn marks_are_bounded_and_still_near_enough() {
        let mut retention = Retention::new(policy(100_000, 10, u64::MAX));
        for revision in 1..=200_000 {
            retention.record(revision, revision * 1_000, 10);
        }
        assert!(retention.marks.len() < 8_000, "{}", retention.marks.len());
        let target = retention.target(200_000, 200_000_000, 0).unwrap();
        assert!((99_500..=100_000).contains(&target), "{target}");
    }

    #[test]
    fn nothing_goes_twice() {
        let mut retention = recorded(policy(100, 500, u64::MAX));
        assert_eq!(retention.target(1_000, 1_000_000, 499), None);
        retention.forget(499);
        assert_eq!(retention.bytes(), 5_010);
        assert_eq!(retention.target(1_000, 1_000_000, 499), None);
    }
}
