//! The versions of a kind, for those who own fields: an entry of `managedFields` speaks the version that its manager wrote.
//!
//! Whether built-in kinds or custom ones without a webhook, another version is made at once. What a conversion webhook makes is
//! asked for and computed with later: who owns what is a pure computation, which is done again with the answers that it
//! wanted ([`Rows::settle`]). So nothing waits for a webhook but the request itself, as long as the webhook may take.

use crate::core::Core;
use crate::crd::present;
use crate::objects;
use api::apply::Versions;
use api::crd::Conversion;
use api::schema::Schema;
use api::{Resource, Status};
use parking_lot::Mutex;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// The versions of a kind, as the table of kinds has them.
pub(super) struct Rows<'a> {
    own: &'a Arc<Resource>,
    core: &'a Core,
    /// Looked for when somebody has written in another version.
    others: OnceLock<Vec<Arc<Resource>>>,
    webhook: Mutex<Webhook>,
}

/// Whether a computation had all that it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Known,
    /// It lacked something that is known now: do it again.
    Again,
}

/// What a conversion webhook has said to one computation, and is to say.
#[derive(Default)]
struct Webhook {
    answers: Vec<Answer>,
    wanted: Vec<(Value, Arc<Resource>)>,
    /// What was asked for in vain since it was last settled.
    refused: Option<Status>,
}

struct Answer {
    /// In its version.
    object: Value,
    to: Arc<Resource>,
    converted: Result<Value, Status>,
}

impl<'a> Rows<'a> {
    pub(super) fn of(own: &'a Arc<Resource>, core: &'a Core) -> Self {
        Self { own, core, others: OnceLock::new(), webhook: Mutex::default() }
    }

    pub(super) fn own(&self) -> &Resource {
        self.own
    }

    fn row(&self, api_version: &str) -> Option<&Arc<Resource>> {
        if is(self.own, api_version) {
            return Some(self.own);
        }
        let others = self.others.get_or_init(|| {
            let catalog = self.core.catalog();
            catalog.kinds.iter().filter(|row| row.storage == self.own.storage).map(Arc::clone).collect()
        });
        others.iter().find(|row| is(row, api_version))
    }

    /// An object as its webhook converts it; `None`: that is not known yet, or the webhook has failed.
    fn through_webhook(&self, object: Value, to: &Arc<Resource>) -> Option<Value> {
        let mut webhook = self.webhook.lock();
        let Webhook { answers, wanted, refused } = &mut *webhook;
        match answers.iter().find(|answer| Arc::ptr_eq(&answer.to, to) && answer.object == object) {
            Some(Answer { converted: Ok(converted), .. }) => return Some(converted.clone()),
            Some(Answer { converted: Err(error), .. }) => *refused = Some(error.clone()),
            None if wanted.iter().any(|(known, version)| Arc::ptr_eq(version, to) && *known == object) => {}
            None => wanted.push((object, Arc::clone(to))),
        }
        None
    }

    /// Asks the webhook for what a computation lacked, in one review for each version, all at once.
    ///
    /// # Errors
    /// What the webhook said to what the computation asked for: it is not asked for more then, so a webhook that hangs takes
    /// no more than its time.
    pub(super) async fn settle(&self) -> Result<Settled, Status> {
        let (mut wanted, refused) = {
            let mut webhook = self.webhook.lock();
            (std::mem::take(&mut webhook.wanted), webhook.refused.take())
        };
        if refused.is_some() || wanted.is_empty() {
            self.webhook.lock().answers.clear();
            return refused.map_or(Ok(Settled::Known), Err);
        }
        let mut reviews = Vec::new();
        while let Some((_, to)) = wanted.first() {
            let to = Arc::clone(to);
            let (batch, rest): (Vec<_>, Vec<_>) =
                wanted.into_iter().partition(|(_, version)| Arc::ptr_eq(version, &to));
            wanted = rest;
            reviews.push(self.review(batch.into_iter().map(|(object, _)| object).collect(), to));
        }
        let answers = futures::future::join_all(reviews).await;
        self.webhook.lock().answers.extend(answers.into_iter().flatten());
        Ok(Settled::Again)
    }

    async fn review(&self, objects: Vec<Value>, to: Arc<Resource>) -> Vec<Answer> {
        let converted: Vec<Result<Value, Status>> = match present::all(self.core, &to, objects.clone()).await {
            Ok(converted) => converted.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); objects.len()],
        };
        let answer = |(object, converted)| Answer { object, to: Arc::clone(&to), converted };
        objects.into_iter().zip(converted).map(answer).collect()
    }
}

/// Whether a row serves this version.
fn is(row: &Resource, api_version: &str) -> bool {
    match api_version.split_once('/') {
        Some((group, version)) => row.group == group && row.version == version,
        None => row.group.is_empty() && row.version == api_version,
    }
}

impl Versions for Rows<'_> {
    fn schema(&self, api_version: &str) -> Option<&Schema> {
        self.row(api_version).map(|row| &**row.schema.get())
    }

    /// A custom object without a conversion webhook is the same in all versions.
    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Option<Cow<'v, Value>> {
        if from == to {
            return Some(Cow::Borrowed(object));
        }
        let (from, to) = (self.row(from)?, self.row(to)?);
        let Some(custom) = &to.custom else { return Some(Cow::Owned(objects::between(object, from, to))) };
        let mut object = object.clone();
        if matches!(custom.definition.conversion, Conversion::Webhook { .. }) {
            object["apiVersion"] = from.api_version().into();
            return self.through_webhook(object, to).map(Cow::Owned);
        }
        object["apiVersion"] = to.api_version().into();
        Some(Cow::Owned(object))
    }
}
