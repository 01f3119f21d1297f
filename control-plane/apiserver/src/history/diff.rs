//! Who changed what between two revisions, object by object.

use super::documents::{API_VERSION, Diff, Difference, Moment, What};
use super::kinds::{Place, Storages, resolve};
use super::spans::{Reach, Span, author, collect};
use super::{fields, unified, when};
use crate::core::Core;
use crate::objects::{self, Index};
use crate::user::APISERVER;
use api::{Resource, Status, meta};
use serde_json::Value;
use std::sync::Arc;
use store::Entry;

/// The label of the roles and bindings that every cluster has.
const BOOTSTRAPPING: &str = "kubernetes.io/bootstrapping";
const RBAC_DEFAULTS: &str = "rbac-defaults";
/// Who puts aggregated roles together.
const CONTROLLERS: &str = "system:kube-controller-manager";
/// Most objects in one answer.
const MAX_OBJECTS: usize = 10_000;
/// Bytes of patches in one answer; what comes later has none.
const MAX_PATCH_BYTES: usize = 8 << 20;

/// What is asked.
pub(crate) struct Question<'a> {
    pub from: &'a str,
    pub to: &'a str,
    /// Empty: all, and what belongs to none.
    pub namespace: &'a str,
    /// Empty: all but what the cluster does for itself.
    pub kinds: Vec<&'a str>,
    pub chatter: Chatter,
    pub patch: Patch,
}

/// What becomes of heartbeats, Events and the default roles and bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chatter {
    Hide,
    Show,
}

/// Whether differences are shown in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patch {
    No,
    Yes,
}

/// # Errors
/// 400 for what is no pair of revisions, 404 for an unknown kind, 410 for what history has forgotten.
pub(crate) async fn diff(core: &Core, question: Question<'_>) -> Result<Diff, Status> {
    let from = when::resolve(&core.store, question.from, core.now()).await?;
    let to = when::resolve(&core.store, question.to, core.now()).await?;
    if from > to {
        return Err(Status::bad_request(format!("revision {from} is later than {to}: give the earlier one first")));
    }
    let kinds = core.catalog().kinds.clone();
    let wanted: Vec<Arc<Resource>> =
        question.kinds.iter().map(|kind| resolve(&kinds, kind)).collect::<Result<_, _>>()?;
    let prefix = match wanted.as_slice() {
        [only] => objects::prefix(only, question.namespace),
        _ => Vec::new(),
    };
    let storages = Storages::new(&kinds);
    let mut hidden = std::collections::HashSet::new();
    let reach = Reach { after: from, upto: to, planned: from, prefix: &prefix, limit: MAX_OBJECTS };
    let mut spans = collect(&core.store, reach, |key| {
        let place = storages.place(key);
        if !question.namespace.is_empty() && place.namespace != question.namespace {
            return false;
        }
        if !wanted.is_empty() {
            return wanted.iter().any(|row| row.storage == place.storage);
        }
        let hide = question.chatter == Chatter::Hide && place.is_chatter();
        if hide && hidden.len() < MAX_OBJECTS {
            hidden.insert(key.to_vec());
        }
        !hide
    })
    .await?;
    if wanted.is_empty() && question.chatter == Chatter::Hide {
        spans.objects.retain(|key, span| {
            let hide = is_default(&storages.place(key), span);
            if hide {
                hidden.insert(key.to_vec());
            }
            !hide
        });
    }
    let mut items = Vec::with_capacity(spans.objects.len());
    let mut patches = 0;
    for (key, span) in &spans.objects {
        let patch = if patches < MAX_PATCH_BYTES { question.patch } else { Patch::No };
        let item = difference(&storages.place(key), span, patch);
        patches += item.patch.as_ref().map_or(0, String::len);
        items.push(item);
    }
    items.sort_by(|a, b| {
        (&a.subject.namespace, &a.subject.kind, &a.subject.name).cmp(&(
            &b.subject.namespace,
            &b.subject.kind,
            &b.subject.name,
        ))
    });
    Ok(Diff {
        kind: "HistoryDiff".into(),
        api_version: API_VERSION.into(),
        from,
        to,
        items,
        hidden: hidden.len() as u64,
        omitted: spans.omitted,
    })
}

/// Whether this is a role or binding that every cluster has, and nobody but the cluster itself wrote it: what people make of it
/// is news.
fn is_default(place: &Place, span: &Span) -> bool {
    let is_labelled = |entry: &Arc<Entry>| Index::of(entry).label(BOOTSTRAPPING) == Some(RBAC_DEFAULTS);
    place.storage.starts_with("rbac.authorization.k8s.io/")
        && span.newest.as_ref().is_some_and(is_labelled)
        && span.authors.iter().all(|author| matches!(author.as_str(), APISERVER | CONTROLLERS))
}

fn difference(place: &Place, span: &Span, patch: Patch) -> Difference {
    let compared = Compared::new(place, span.before.as_ref(), span.after.as_ref());
    Difference {
        change: compared.what,
        subject: place.subject_of(compared.new.as_ref().or(compared.old.as_ref())),
        by: span.authors.iter().map(author).collect(),
        writes: span.writes,
        revision: span.revision,
        time: Moment::from_millis(span.at_ms),
        fields: compared.fields(),
        patch: (patch == Patch::Yes).then(|| compared.patch()),
    }
}

/// Two versions of one object, ready to be shown.
pub(super) struct Compared {
    pub what: What,
    old: Option<Value>,
    new: Option<Value>,
}

impl Compared {
    pub(super) fn new(place: &Place, old: Option<&Arc<Entry>>, new: Option<&Arc<Entry>>) -> Self {
        let (mut before, mut after) = (parse(place, old), parse(place, new));
        let what = match (&before, &after) {
            (None, None) => What::Passing,
            (None, Some(_)) => What::Created,
            (Some(_), None) => What::Deleted,
            (Some(before), Some(after)) if meta::uid(before) != meta::uid(after) => What::Replaced,
            (Some(before), Some(after)) if before == after => What::Unchanged,
            _ => What::Updated,
        };
        fields::presentable(&mut before, &mut after);
        Self { what, old: before, new: after }
    }

    pub(super) fn fields(&self) -> Vec<String> {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => fields::changes(old, new),
            _ => Vec::new(),
        }
    }

    pub(super) fn patch(&self) -> String {
        unified::patch(self.old.as_ref(), self.new.as_ref())
    }
}

/// What the store holds, as its kind is served; as it is stored where it no longer is.
pub(super) fn parse(place: &Place, entry: Option<&Arc<Entry>>) -> Option<Value> {
    let body = &entry?.value.body;
    match &place.resource {
        Some(row) => objects::parse(row, body, None).ok(),
        None => serde_json::from_slice(body).ok(),
    }
}
