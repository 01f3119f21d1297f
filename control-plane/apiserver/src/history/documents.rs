//! What is asked and answered, as documents: the same over HTTP and in one process.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use store::Revision;

/// `apiVersion` of every document here.
pub const API_VERSION: &str = "skiff.dev/v1";

/// A wall time with milliseconds, RFC 3339 in documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment(Timestamp);

impl Moment {
    pub(crate) fn from_millis(at_ms: u64) -> Self {
        let at = i64::try_from(at_ms).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
        Self(at.unwrap_or(Timestamp::MAX))
    }

    /// How long ago that was, as kubectl shows ages: `12s`, `3m5s`, `4d`.
    #[must_use]
    pub fn age(self) -> String {
        api::time::human_duration(Timestamp::now().duration_since(self.0))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Timestamp::from_second(self.0.as_second()).unwrap_or(self.0);
        write!(f, "{at}")
    }
}

/// An object as history names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// `Deployment`.
    pub kind: String,
    /// `deployments.apps`.
    pub resource: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
}

/// What became of an object between two revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    #[serde(rename = "created")]
    Created,
    #[serde(rename = "updated")]
    Updated,
    #[serde(rename = "deleted")]
    Deleted,
    /// Deleted and created anew under its old name.
    #[serde(rename = "replaced")]
    Replaced,
    /// Created and deleted again.
    #[serde(rename = "came and went")]
    Passing,
    /// Written, and now as it was.
    #[serde(rename = "unchanged")]
    Unchanged,
}

impl What {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Replaced => "replaced",
            Self::Passing => "came and went",
            Self::Unchanged => "unchanged",
        }
    }
}

/// All that changed between two revisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    pub kind: String,
    pub api_version: String,
    pub from: Revision,
    pub to: Revision,
    pub items: Vec<Difference>,
    /// Objects that changed and were left out: node heartbeats, Events, and the default roles and bindings
    /// as long as only the cluster itself wrote them, unless they were asked for.
    #[serde(default)]
    pub hidden: u64,
    /// Objects beyond the limit.
    #[serde(default)]
    pub omitted: u64,
}

/// What changed about one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub change: What,
    #[serde(flatten)]
    pub subject: Subject,
    /// Everybody who wrote it, in the order of their first write.
    pub by: Vec<String>,
    /// How often it was written, and when last.
    pub writes: u64,
    pub revision: Revision,
    pub time: Moment,
    /// The fields that differ, the ones that matter most first; bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The difference as YAML in unified form, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
}

/// One object's life, as far as history reaches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Life {
    pub kind: String,
    pub api_version: String,
    pub subject: Subject,
    /// The oldest revision that history reaches.
    pub oldest: Revision,
    /// Newest first.
    pub items: Vec<Write>,
    /// Writes within history that were beyond the limit.
    #[serde(default)]
    pub omitted: u64,
    /// Writes of the object's that history has forgotten.
    #[serde(default)]
    pub forgotten: u64,
}

/// One write of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Write {
    pub revision: Revision,
    pub time: Moment,
    pub by: String,
    pub change: What,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
}

/// What is to go back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Scope {
    #[serde(rename_all = "camelCase")]
    Object {
        kind: String,
        namespace: String,
        name: String,
    },
    Namespace(String),
    All,
}

/// The body of a restore's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreRequest {
    pub scope: Scope,
    /// A revision or a time, as people write it.
    pub to: String,
    #[serde(default)]
    pub dry_run: bool,
    /// The revision at which somebody looked at the plan: what changed since is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Revision>,
}

/// What a restore did, or would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    pub kind: String,
    pub api_version: String,
    /// The revision that was gone back to.
    pub to: Revision,
    /// The revision that it was compared with.
    pub planned: Revision,
    pub dry_run: bool,
    pub items: Vec<Outcome>,
}

/// What a restore does about one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Create,
    Update,
    Delete,
    /// Left as it is; the message says why.
    Skip,
    /// Tried and not done; the message says why.
    Fail,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub action: Action,
    #[serde(flatten)]
    pub subject: Subject,
    /// Where it was written; none for a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// What the store holds and does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreStats {
    pub kind: String,
    pub api_version: String,
    #[serde(rename = "clusterID")]
    pub cluster_id: String,
    pub revision: Revision,
    /// The oldest revision that can be read and watched from.
    pub oldest: Revision,
    pub objects: u64,
    /// Bytes of all objects with their keys.
    pub bytes: u64,
    pub history_bytes: u64,
    /// Size of the file; 0 without one.
    pub file_bytes: u64,
    /// Counted since the store was opened.
    pub transactions: u64,
    pub batches: u64,
    pub failures: u64,
    /// How long the last group commit took to become durable.
    pub last_sync_micros: u64,
    pub watches: u64,
    /// The largest first.
    pub kinds: Vec<KindStats>,
}

/// All objects of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindStats {
    /// `deployments.apps`.
    pub resource: String,
    pub objects: u64,
    pub bytes: u64,
}

/// What a compaction did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compacted {
    pub kind: String,
    pub api_version: String,
    /// The oldest revision before, and now.
    pub before: Revision,
    pub oldest: Revision,
    pub revision: Revision,
}

/// What a backup is of, and what bringing it back did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreRestored {
    pub backup: BackupDocument,
    #[serde(rename = "clusterID")]
    pub cluster_id: String,
    #[serde(default)]
    pub dry_run: bool,
    #[serde(default)]
    pub revision: Revision,
    #[serde(default)]
    pub written: u64,
    #[serde(default)]
    pub deleted: u64,
    #[serde(default)]
    pub unchanged: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupDocument {
    #[serde(rename = "clusterID")]
    pub cluster_id: String,
    pub revision: Revision,
    pub objects: u64,
    pub time: Moment,
}

/// An object without what only machines read: its managed fields.
pub fn without_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}
