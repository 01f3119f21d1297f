//! What is to be done about each object, decided before anything is written.

use super::{content, policy};
use crate::core::Core;
use crate::history::diff::parse;
use crate::history::documents::{Action, Outcome, Scope};
use crate::history::kinds::{Place, Storages, resolve};
use crate::history::spans::{self, Span, collect};
use crate::history::{Named, fields};
use crate::objects;
use api::{Status, meta};
use serde_json::Value;
use std::collections::HashMap;
use store::{Key, Revision};

/// Most objects of one restore.
const MAX_OBJECTS: usize = 200_000;
/// Owners above owners that are followed.
const MAX_DEPTH: u8 = 16;

/// From where to where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub to: Revision,
    /// When somebody looked at the plan.
    pub planned: Revision,
    pub current: Revision,
}

pub(super) struct Plan {
    /// In the order in which they are to be done.
    pub steps: Vec<Step>,
}

/// One object.
pub(super) struct Step {
    pub key: Key,
    pub place: Place,
    pub todo: Todo,
    /// What it was at the revision to go back to, and what it is now.
    pub target: Option<Value>,
    pub current: Option<Value>,
    /// The last that there was of it.
    pub newest: Option<Value>,
    /// The index that the target had: for kinds that are not served yet.
    pub index: bytes::Bytes,
    /// Steps of a later phase begin when all of an earlier one are done.
    pub phase: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Todo {
    Create,
    Update,
    Delete,
    /// Another object has its name: that one goes first.
    Replace,
    Skip(String),
}

/// What the request is about, resolved.
enum Target {
    Object(Key),
    Namespace(String),
    All,
}

pub(super) async fn plan(core: &Core, scope: &Scope, reach: Reach) -> Result<Plan, Status> {
    let kinds = core.catalog().kinds.clone();
    let storages = Storages::new(&kinds);
    let (target, prefix) = target(core, scope)?;
    let collected = spans::Reach {
        after: reach.to,
        upto: reach.current,
        planned: reach.planned,
        prefix: &prefix,
        limit: MAX_OBJECTS,
    };
    let found = collect(&core.store, collected, |key| target.holds(&storages, key)).await?;
    if found.omitted > 0 {
        let message = format!(
            "more than {MAX_OBJECTS} objects changed since revision {}: restore one namespace at a time",
            reach.to
        );
        return Err(Status::bad_request(message));
    }
    check(core, scope, &target, &found.objects, reach)?;
    let named = matches!(target, Target::Object(_));
    let mut steps: Vec<Step> = found
        .objects
        .iter()
        .filter_map(|(key, span)| step(Key::clone(key), storages.place(key), span, named))
        .collect();
    order(&mut steps);
    Ok(Plan { steps })
}

fn target(core: &Core, scope: &Scope) -> Result<(Target, Vec<u8>), Status> {
    Ok(match scope {
        Scope::Object { kind, namespace, name } => {
            let key = Named::new(core, kind, namespace, name)?.key();
            (Target::Object(key.as_slice().into()), key)
        }
        Scope::Namespace(name) if name.is_empty() => {
            return Err(Status::bad_request("the namespace's name is missing"));
        }
        Scope::Namespace(name) => (Target::Namespace(name.clone()), Vec::new()),
        Scope::All => (Target::All, Vec::new()),
    })
}

impl Target {
    fn holds(&self, storages: &Storages, key: &[u8]) -> bool {
        if key.starts_with(b"~") {
            return false;
        }
        match self {
            Self::Object(wanted) => key == &**wanted,
            Self::All => !policy::is_report(&storages.place(key)),
            Self::Namespace(name) => {
                let place = storages.place(key);
                let inside = place.namespace == *name || (policy::is_namespace(&place) && place.name == *name);
                inside && !policy::is_report(&place)
            }
        }
    }
}

type Found = std::collections::BTreeMap<Key, Span>;

/// What the request names must have been there, and a namespace must not be on its way out.
fn check(core: &Core, scope: &Scope, target: &Target, found: &Found, reach: Reach) -> Result<(), Status> {
    let snapshot = core.store.snapshot();
    let was_there =
        |key: &[u8]| found.get(key).map_or_else(|| snapshot.get(key).is_some(), |span| span.before.is_some());
    match (scope, target) {
        (Scope::Object { kind, name, .. }, Target::Object(key)) if !was_there(key) => {
            let row = resolve(&core.catalog().kinds, kind)?;
            let mut status = Status::not_found(&row.group, &row.plural, name);
            status.message = format!("{}: it was not there at revision {}", status.message, reach.to);
            Err(status)
        }
        (_, Target::Namespace(name)) => {
            let namespaces = core.builtin("", "v1", "namespaces");
            let key = objects::key(&namespaces, "", name);
            if !was_there(&key) {
                let mut status = Status::not_found("", "namespaces", name);
                status.message = format!("{}: it was not there at revision {}", status.message, reach.to);
                return Err(status);
            }
            if snapshot.get(&key).is_some_and(|entry| objects::Index::of(entry).is_deleting()) {
                return Err(Status::conflict(
                    "",
                    "namespaces",
                    name,
                    "it is being deleted: restore it once it is gone",
                ));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn step(key: Key, place: Place, span: &Span, named: bool) -> Option<Step> {
    let target = parse(&place, span.before.as_ref());
    let current = parse(&place, span.after.as_ref());
    let planned = parse(&place, span.planned.as_ref());
    let newest = parse(&place, span.newest.as_ref());
    let mut todo = todo(&place, target.as_ref(), current.as_ref(), named)?;
    let intent = |object: &Option<Value>| object.as_ref().map(|object| content::intent(&place, object));
    if intent(&planned) != intent(&current) {
        todo = Todo::Skip(format!("changed at revision {}, after the plan was made", span.revision));
    }
    let index = span.before.as_ref().map(|entry| entry.value.index.clone()).unwrap_or_default();
    Some(Step { key, place, todo, target, current, newest, index, phase: 0 })
}

/// What to do; `None` when there is nothing to be done, or it is somebody else's to do.
fn todo(place: &Place, target: Option<&Value>, current: Option<&Value>, named: bool) -> Option<Todo> {
    let going = |object: &&Value| meta::deletion_timestamp(object).is_some();
    let derived = |object: Option<&Value>| object.is_some_and(|object| policy::is_derived(place, object));
    if !named && (derived(target) || derived(current)) {
        return None;
    }
    // What was on its way out then is as good as gone.
    match (target.filter(|target| !going(target)), current) {
        (None, None) => None,
        (None, Some(current)) if going(&current) => None,
        (None, Some(_)) if target.is_some() => None,
        (None, Some(_)) => Some(Todo::Delete),
        (Some(target), None) if policy::is_pod(place) && policy::has_finished(target) => {
            Some(Todo::Skip("had finished: it would run again".into()))
        }
        (Some(_), None) => Some(Todo::Create),
        (Some(_), Some(current)) if going(&current) => {
            Some(Todo::Skip("is being deleted: restore it once it is gone".into()))
        }
        (Some(target), Some(current)) if meta::uid(target) != meta::uid(current) && !policy::is_namespace(place) => {
            Some(Todo::Replace)
        }
        (Some(target), Some(current)) => {
            (content::intent(place, target) != content::intent(place, current)).then_some(Todo::Update)
        }
    }
}

/// Deletes first, so that names and addresses are free; then what others need, then owners before what they own.
fn order(steps: &mut [Step]) {
    let owners: HashMap<String, Vec<String>> = steps
        .iter()
        .filter_map(|step| step.target.as_ref())
        .map(|object| {
            let references = meta::owner_references(object).iter();
            let uids = references.filter_map(|owner| owner["uid"].as_str()).map(String::from);
            (meta::uid(object).to_owned(), uids.collect())
        })
        .collect();
    for step in steps.iter_mut() {
        let rank = policy::rank(&step.place);
        step.phase = match step.todo {
            // Definitions and namespaces after what is of them and in them.
            Todo::Delete => 2 - rank,
            _ if rank < 2 => 3 + rank,
            _ => 5 + step.target.as_ref().map_or(0, |object| depth(&owners, meta::uid(object), 0)),
        };
    }
    steps.sort_by(|a, b| (a.phase, &a.key).cmp(&(b.phase, &b.key)));
}

fn depth(owners: &HashMap<String, Vec<String>>, uid: &str, above: u8) -> u8 {
    if above >= MAX_DEPTH {
        return 0;
    }
    let parents = owners.get(uid).into_iter().flatten().filter(|owner| owners.contains_key(*owner));
    parents.map(|owner| 1 + depth(owners, owner, above + 1)).max().unwrap_or(0)
}

impl Step {
    /// What the object becomes.
    pub(super) fn content(&self, current: Option<&Value>) -> Option<Value> {
        let target = self.target.as_ref()?;
        Some(match current {
            Some(current) => content::update(&self.place, target, current),
            None => content::create(&self.place, target, self.newest.as_ref()),
        })
    }

    pub(super) fn outcome(&self, action: Action, message: impl Into<String>) -> Outcome {
        Outcome {
            action,
            subject: self.place.subject_of(self.target.as_ref().or(self.current.as_ref())),
            revision: None,
            message: message.into(),
            fields: self.fields(action),
        }
    }

    /// What would be done.
    pub(super) fn preview(&self) -> Outcome {
        match &self.todo {
            Todo::Create => self.outcome(Action::Create, ""),
            Todo::Update => self.outcome(Action::Update, ""),
            Todo::Delete => self.outcome(Action::Delete, ""),
            Todo::Replace => self.outcome(Action::Create, REPLACES),
            Todo::Skip(why) => self.outcome(Action::Skip, why),
        }
    }

    fn fields(&self, action: Action) -> Vec<String> {
        let (Action::Update, Some(current)) = (action, &self.current) else { return Vec::new() };
        let (mut old, mut new) = (Some(current.clone()), self.content(Some(current)));
        fields::presentable(&mut old, &mut new);
        old.zip(new).map(|(old, new)| fields::changes(&old, &new)).unwrap_or_default()
    }
}

pub(super) const REPLACES: &str = "in place of another one of the same name, which is deleted";
