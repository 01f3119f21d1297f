//! Events as kube-scheduler writes them, so that `kubectl describe` and people's tools find what
//! they look for.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::pod::Pod;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Scheduled,
    FailedScheduling,
}

impl Kind {
    fn reason(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::FailedScheduling => "FailedScheduling",
        }
    }

    fn type_(self) -> &'static str {
        match self {
            Self::Scheduled => "Normal",
            Self::FailedScheduling => "Warning",
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::Scheduled => "Binding",
            Self::FailedScheduling => "Scheduling",
        }
    }
}

/// A v1 Event about `pod`, reported by the scheduler called `reporter`.
pub(crate) fn event(
    kind: Kind,
    pod: &Pod,
    resource_version: &str,
    message: &str,
    reporter: &str,
    now: Timestamp,
) -> Value {
    let time = api::time::format(now);
    json!({
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": name(&pod.name, now), "namespace": &*pod.namespace},
        "involvedObject": {
            "kind": "Pod",
            "apiVersion": "v1",
            "namespace": &*pod.namespace,
            "name": &*pod.name,
            "uid": &*pod.uid,
            "resourceVersion": resource_version,
        },
        "reason": kind.reason(),
        "message": message,
        "type": kind.type_(),
        "action": kind.action(),
        "count": 1,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "source": {"component": reporter},
        "reportingComponent": reporter,
        "reportingInstance": "",
    })
}

/// `{pod}.{time in hexadecimal}`: unique per process, however fast events follow each other. The
/// name stays below 253 characters.
fn name(pod: &str, now: Timestamp) -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = u64::try_from(now.as_nanosecond()).unwrap_or(0);
    let last = LAST.fetch_max(now, Ordering::Relaxed);
    let unique = if now > last { now } else { LAST.fetch_add(1, Ordering::Relaxed) + 1 };
    let pod = pod.get(..230).unwrap_or(pod);
    format!("{pod}.{unique:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_within_one_nanosecond() {
        let now = Timestamp::now();
        let first = name("web-1", now);
        let second = name("web-1", now);
        assert_ne!(first, second);
        assert_eq!(first.len(), "web-1.".len() + 16);
        assert!(name(&"x".repeat(253), now).len() <= 253);
    }

    #[test]
    fn an_event_says_who_what_and_why() {
        let pod = Pod { namespace: "default".into(), name: "web".into(), uid: "u".into(), ..Pod::default() };
        let message = "Successfully assigned default/web to n1";
        let event = event(Kind::Scheduled, &pod, "7", message, "default-scheduler", Timestamp::now());
        assert_eq!(event["reason"], "Scheduled");
        assert_eq!(event["type"], "Normal");
        assert_eq!(event["involvedObject"]["uid"], "u");
        assert_eq!(event["source"]["component"], "default-scheduler");
        assert_eq!(event["reportingComponent"], "default-scheduler");
    }
}
