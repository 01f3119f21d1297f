//! One object's life: every write of it that history has, the newest first.

use super::diff::{Compared, Patch};
use super::documents::{API_VERSION, Life, Moment, What, Write};
use super::kinds::{Place, Storages};
use super::spans::{author, each};
use super::{Named, when};
use crate::core::Core;
use api::Status;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use store::{Author, Event, Revision};

/// Most writes in one answer.
const MAX_WRITES: usize = 1_000;

/// What happened to one object.
///
/// # Errors
/// 404 when history knows no such object, 410 when history moved on meanwhile.
pub(crate) async fn life(core: &Core, named: &Named, limit: usize, patch: Patch) -> Result<Life, Status> {
    let key = named.key();
    let storages = Storages::new(&core.catalog().kinds);
    let place = storages.place(&key);
    let limit = limit.clamp(1, MAX_WRITES);
    let oldest = when::resolve(&core.store, "oldest", core.now()).await?;
    let upto = core.store.revision();
    let mut kept: VecDeque<(Revision, u64, Author, Arc<Event>)> = VecDeque::new();
    let mut first: Option<Arc<Event>> = None;
    let mut omitted = 0;
    each(&core.store, oldest, upto, &key, |change| {
        for event in change.events.iter().filter(|event| *event.key == *key) {
            first.get_or_insert_with(|| Arc::clone(event));
            kept.push_back((change.revision, change.at_ms, change.author.clone(), Arc::clone(event)));
            if kept.len() > limit {
                kept.pop_front();
                omitted += 1;
            }
        }
        ControlFlow::Continue(())
    })
    .await?;
    let before = match &first {
        Some(event) => event.prev.clone(),
        None => core.store.snapshot().get(&key).cloned(),
    };
    if first.is_none() && before.is_none() {
        let mut status = Status::not_found(&named.resource.group, &named.resource.plural, &named.name);
        status.message = format!("{}, nor does history know it (it begins at revision {oldest})", status.message);
        return Err(status);
    }
    let items =
        kept.iter().rev().map(|(revision, at_ms, by, event)| write(&place, *revision, *at_ms, by, event, patch));
    Ok(Life {
        kind: "HistoryLog".into(),
        api_version: API_VERSION.into(),
        subject: place.subject(),
        oldest,
        items: items.collect(),
        omitted,
        forgotten: before.map_or(0, |entry| entry.version),
    })
}

fn write(place: &Place, revision: Revision, at_ms: u64, by: &Author, event: &Event, patch: Patch) -> Write {
    let compared = Compared::new(place, event.prev.as_ref(), event.entry.as_ref());
    let change = if compared.what == What::Passing { What::Deleted } else { compared.what };
    Write {
        revision,
        time: Moment::from_millis(at_ms),
        by: author(by),
        change,
        fields: compared.fields(),
        patch: (patch == Patch::Yes).then(|| compared.patch()),
    }
}
