//! The algebra, by table and by chance.

mod applying;
mod chance;
mod corners;
mod sets;
mod updates;

use super::*;
use crate::Kinds;
use std::sync::Arc;

pub(super) const NOW: &str = "2026-01-02T03:04:05Z";
pub(super) const LATER: &str = "2026-01-02T03:05:06Z";

/// A kind with one version.
pub(super) struct Kind {
    pub api_version: String,
    schema: Arc<Schema>,
    empty: Empty,
    resets: Resets,
}

impl Versions for Kind {
    fn schema(&self, api_version: &str) -> Option<&Schema> {
        (api_version == self.api_version).then_some(&*self.schema)
    }

    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Option<Cow<'v, Value>> {
        (from == to).then_some(Cow::Borrowed(object))
    }
}

impl Kind {
    pub(super) fn builtin(group: &str, version: &str, plural: &str) -> Self {
        let row = Kinds::builtin().find(group, version, plural).expect("the kind is built in");
        let resets = if row.subresource("status").is_some() { Resets::Status } else { Resets::Nothing };
        Self { api_version: row.api_version(), schema: Arc::clone(row.schema.get()), empty: Empty::Typed, resets }
    }

    pub(super) fn custom(schema: &Value) -> Self {
        let schema = Arc::new(Schema::of_crd(schema));
        Self { api_version: "example.com/v1".into(), schema, empty: Empty::Custom, resets: Resets::Nothing }
    }

    pub(super) fn at<'a>(&'a self, now: &'a str) -> Context<'a> {
        Context {
            versions: self,
            api_version: &self.api_version,
            subresource: "",
            resets: self.resets,
            empty: self.empty,
            now,
        }
    }

    pub(super) fn status<'a>(&'a self, now: &'a str) -> Context<'a> {
        Context { subresource: "status", resets: Resets::AllButStatus, ..self.at(now) }
    }

    pub(super) fn schema(&self) -> Option<&Schema> {
        Some(&self.schema)
    }
}

/// An object with its owners, as the store would keep it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Live {
    pub object: Value,
    pub managed: Option<String>,
}

impl Live {
    pub(super) fn none() -> Self {
        Self { object: Value::Null, managed: None }
    }

    pub(super) fn created(context: &Context<'_>, object: Value, name: &str) -> Self {
        let managed = created(context, &object, name);
        Self { object, managed }
    }

    pub(super) fn update(&mut self, context: &Context<'_>, object: Value, name: &str) {
        if let Updated::New(text) =
            updated(context, Before::Stored(self.managed.as_deref()), &self.object, &object, name)
        {
            self.managed = text;
        }
        self.object = object;
    }

    pub(super) fn apply(
        &mut self,
        context: &Context<'_>,
        config: &Value,
        name: &str,
        force: Force,
    ) -> Result<(), Error> {
        let applied = apply(context, self.managed.as_deref(), &self.object, config, (name, force))?;
        let unchanged = applied.same_owners && applied.object == self.object;
        if !unchanged {
            *self = Self { object: applied.object, managed: applied.managed };
        }
        Ok(())
    }

    /// `managedFields` as (manager, operation, paths).
    pub(super) fn owners(&self) -> Vec<(String, String, Vec<String>)> {
        let entries: Vec<Value> =
            self.managed.as_deref().map_or_else(Vec::new, |text| serde_json::from_str(text).unwrap());
        entries
            .iter()
            .map(|entry| {
                let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                let paths = Set::from_json(&entry["fieldsV1"].to_string()).unwrap().texts();
                (text("manager"), text("operation"), paths)
            })
            .collect()
    }

    pub(super) fn owned_by(&self, name: &str) -> Vec<String> {
        self.owners().into_iter().filter(|(manager, ..)| manager == name).flat_map(|(_, _, paths)| paths).collect()
    }
}
