//! Events that the API server itself writes about objects. Each is written once and again after `--event-ttl` only: its name
//! follows from what it says, so neither repeated looks nor several servers make more of it.

use crate::bootstrap;
use crate::core::Core;
use crate::objects;
use api::{meta, time};
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};
use store::{Snapshot, Txn};

/// What one Event says. All are of type Warning.
pub(crate) struct Warning {
    /// As in Kubernetes' `source.component`.
    pub component: &'static str,
    pub reason: &'static str,
    /// What was done or tried, where Kubernetes says so.
    pub action: Option<&'static str>,
    pub message: String,
}

impl Warning {
    /// The transaction that writes it about `object`, a stored one of `kind`, too; as it was where that is told already.
    pub(crate) fn join(&self, core: &Core, snapshot: &Snapshot, txn: Txn, kind: (&str, &str), object: &Value) -> Txn {
        let events = core.builtin("", "v1", "events");
        let mut hasher = DefaultHasher::new();
        (meta::uid(object), self.component, self.reason, &self.message).hash(&mut hasher);
        let name = format!("{}.{:016x}", meta::name(object), hasher.finish());
        let namespace = match meta::namespace(object) {
            "" => "default",
            namespace => namespace,
        };
        let key = objects::key(&events, namespace, &name);
        if snapshot.get(&key).is_some() || txn.compare.iter().any(|compare| *compare.key == *key) {
            return txn;
        }
        let (api_version, kind) = kind;
        let mut involved =
            json!({"apiVersion": api_version, "kind": kind, "name": meta::name(object), "uid": meta::uid(object)});
        if !meta::namespace(object).is_empty() {
            involved["namespace"] = meta::namespace(object).into();
        }
        let now = time::format(core.now());
        let mut event = json!({
            "metadata": {"name": name, "namespace": namespace}, "involvedObject": involved, "type": "Warning",
            "reason": self.reason, "message": self.message, "source": {"component": self.component},
            "reportingComponent": self.component, "reportingInstance": "", "count": 1, "firstTimestamp": now,
            "lastTimestamp": now,
        });
        if let Some(action) = self.action {
            event["action"] = action.into();
        }
        txn.require(&key, 0).put(&key, bootstrap::fresh(core, &events, event))
    }
}
