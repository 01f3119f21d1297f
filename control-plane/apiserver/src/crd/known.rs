//! What one server knows of the CRDs: the rows that they add, and how long each lives.

use crate::core::Core;
use api::crd::{self, Definition};
use api::kinds::Text;
use api::{Kinds, Resource, meta};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use store::Entry;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(super) struct Known {
    /// By the CRD's name.
    crds: BTreeMap<String, One>,
}

struct One {
    /// What others must know of it: its group and the names that it was given.
    names: Value,
    /// Whether it waits for a name.
    waits: bool,
    /// What its rows follow from; rows stay as they are while this does.
    source: Source,
    rows: Vec<Arc<Resource>>,
    /// Cancelled when the rows are no longer served: ends the watches on them.
    life: CancellationToken,
    /// The uid of the CRD whose objects are being deleted.
    ending: Option<String>,
}

#[derive(PartialEq)]
struct Source {
    uid: String,
    generation: i64,
    accepted: Value,
    terminating: bool,
    established: bool,
}

/// What follows from one change.
#[derive(Default)]
pub(super) struct Step {
    pub rows_changed: bool,
    /// The CRD as it should be stored.
    pub write: Option<Value>,
    /// CRDs of the same group that wait for names.
    pub waiting: Vec<String>,
    /// The CRD's objects are to be deleted.
    pub terminating: Option<Arc<Definition>>,
}

impl Known {
    pub(super) fn rows(&self) -> impl Iterator<Item = Arc<Resource>> {
        self.crds.values().flat_map(|one| one.rows.iter().map(Arc::clone))
    }

    /// How long the kinds live, by their storage.
    pub(super) fn lives(&self) -> HashMap<Text, CancellationToken> {
        let served = self.crds.values().filter_map(|one| Some((one.rows.first()?.storage.clone(), one.life.clone())));
        served.collect()
    }

    /// Forgets the CRDs that `keep` does not name.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.crds.retain(|name, one| {
            let kept = keep(name);
            if !kept {
                one.life.cancel();
            }
            kept
        });
    }

    /// The CRD is gone.
    pub(super) fn remove(&mut self, name: &str) -> Step {
        let Some(one) = self.crds.remove(name) else { return Step::default() };
        one.life.cancel();
        Step { rows_changed: !one.rows.is_empty(), waiting: self.waiting(&one.names), ..Step::default() }
    }

    /// The CRD is there, or another than before.
    pub(super) fn put(&mut self, core: &Core, name: &str, entry: &Entry) -> Step {
        let Ok(object) = serde_json::from_slice::<Value>(&entry.value.body) else { return Step::default() };
        let catalog = core.catalog();
        let verdict = self.judge(&object, name, &catalog.kinds, core.now());
        let object = verdict.change.as_ref().unwrap_or(&object);
        let names = json!({
            "metadata": {"name": name},
            "spec": {"group": object["spec"]["group"]},
            "status": {"acceptedNames": object["status"]["acceptedNames"]},
        });
        let source = Source {
            uid: meta::uid(object).to_owned(),
            generation: meta::generation(object),
            accepted: object["status"]["acceptedNames"].clone(),
            terminating: crd::is_terminating(object),
            established: verdict.established,
        };
        let before = self.crds.remove(name);
        let released = before.as_ref().is_some_and(|one| one.names != names);
        let ending = before.as_ref().and_then(|one| one.ending.clone()).filter(|uid| *uid == source.uid);
        let waits = object["spec"]["names"] != object["status"]["acceptedNames"];
        let mut step = Step::default();
        let (rows, life) = match before {
            Some(one) if one.source == source => (one.rows, one.life),
            before => {
                step.rows_changed = source.established || before.as_ref().is_some_and(|one| !one.rows.is_empty());
                if let Some(one) = before {
                    one.life.cancel();
                }
                (made(object, source.established), core.shutdown.child_token())
            }
        };
        let cleans = source.terminating && meta::finalizers(object).any(|finalizer| finalizer == crd::FINALIZER);
        if cleans && ending.is_none() {
            step.terminating = Definition::of(object).map(Arc::new);
        }
        let ending = if cleans { Some(source.uid.clone()) } else { ending };
        if released {
            step.waiting = self.waiting(&names);
        }
        self.crds.insert(name.to_owned(), One { names, waits, source, rows, life, ending });
        step.write = verdict.change;
        step
    }

    fn judge(&self, object: &Value, name: &str, kinds: &Kinds, now: jiff::Timestamp) -> crd::Verdict {
        let others = self.crds.iter().filter(|(other, _)| *other != name).map(|(_, one)| &one.names);
        crd::settle(object, others, kinds, now)
    }

    /// CRDs of the group of `names` whose own names were not free.
    fn waiting(&self, names: &Value) -> Vec<String> {
        let group = &names["spec"]["group"];
        let waits = self.crds.iter().filter(|(_, one)| one.waits && one.names["spec"]["group"] == *group);
        waits.map(|(name, _)| name.clone()).collect()
    }
}

/// The rows of a CRD; none while it is not established.
fn made(object: &Value, established: bool) -> Vec<Arc<Resource>> {
    let definition = established.then(|| Definition::of(object)).flatten().map(Arc::new);
    definition.map(|definition| crd::rows(object, &definition)).unwrap_or_default()
}
