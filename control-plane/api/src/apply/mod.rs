//! Server-side apply and the ownership of fields, as pure functions of objects: `fieldsV1` and its algebra, what an update
//! changed, and what an applied configuration makes of an object (`structured-merge-diff`,
//! `apimachinery/pkg/util/managedfields`). Knows no requests and no store; time and versions are arguments.
//!
//! Invariant: `managedFields` stay text as long as a write does not concern them; an update pays for what it changed.

mod atom;
mod codec;
mod compare;
mod creation;
mod fields;
mod last_applied;
mod managed;
mod merge;
mod patch;
mod path;
mod reconcile;
mod scale;
mod set;
#[cfg(test)]
mod tests;
mod update;

pub use compare::Comparison;
pub(crate) use fields::go;
pub use fields::{fields_of, validate};
pub use managed::{MAX_UPDATE_MANAGERS, Malformed, Managed, Manager, Operation};
pub use merge::{merge, remove};
pub use patch::{Applied, Conflict, Error, Force, apply};
pub use path::Element;
pub use scale::{Replicas, applied_scale, updated_scale};
pub use set::{Node, Set};
pub use update::{Before, Updated, created, updated};

use crate::schema::Schema;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::sync::LazyLock;

/// The versions of a kind.
pub trait Versions {
    /// The schema of one of them, as `apps/v1`; `None` for a version without one.
    fn schema(&self, api_version: &str) -> Option<&Schema>;

    /// An object of one version in another; `None` when that is not served, or not known yet: then what is computed is of no
    /// use, and the computation is to be done again.
    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Option<Cow<'v, Value>>;
}

/// Which top-level fields a write through a (sub)resource cannot change, so that it does not own them either
/// (`GetResetFields`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resets {
    Nothing,
    /// The object itself, where `status` is a subresource.
    Status,
    /// `status`: all but it and the metadata.
    AllButStatus,
    /// `status` of a custom resource: `spec` and the metadata. What else its author put beside these is reset, too, but not
    /// said to be.
    AllButStatusAndMetadata,
}

/// What Go has when an object of the kind is made out of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// A struct, with its inner structs.
    Typed,
    /// A map with nothing in it.
    Custom,
}

/// One write.
pub struct Context<'a> {
    pub versions: &'a dyn Versions,
    /// The version that the request speaks.
    pub api_version: &'a str,
    pub subresource: &'a str,
    pub resets: Resets,
    pub empty: Empty,
    /// Now, as `metav1.Time`.
    pub now: &'a str,
}

impl<'a> Context<'a> {
    fn tracks(&self, field: &str) -> bool {
        match self.resets {
            Resets::Nothing => true,
            Resets::Status => field != "status",
            Resets::AllButStatus => matches!(field, "status" | "metadata"),
            Resets::AllButStatusAndMetadata => !matches!(field, "metadata" | "spec"),
        }
    }

    fn manager(&self, name: &str, operation: Operation) -> Manager<'a> {
        let name = if name.is_empty() { "unknown" } else { name };
        Manager {
            name: name.to_owned().into(),
            operation,
            api_version: self.api_version.into(),
            subresource: self.subresource.into(),
        }
    }

    /// An object of the kind with nothing set.
    fn empty(&self) -> &'static Value {
        static NONE: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
        static CUSTOM: LazyLock<Value> = LazyLock::new(|| json!({"apiVersion": "", "kind": ""}));
        match self.empty {
            Empty::Typed => &NONE,
            Empty::Custom => &CUSTOM,
        }
    }
}
