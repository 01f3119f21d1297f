//! Who owns the fields of what is written: the bridge from a request to `api::apply`.

use super::Call;
use super::versions::{Rows, Settled};
use crate::objects::Apart;
use crate::request::Query;
use crate::user::User;
use api::apply::{Before, Context, Empty, Managed, Resets, Updated};
use api::{Resource, Status, time};
use http::{HeaderMap, header};
use serde_json::Value;
use std::borrow::Cow;

/// Most bytes of a manager's name.
pub(super) const MANAGER_MAX_BYTES: usize = 128;
/// How often a computation may find that it needs further conversions. Each round asks for what the one before made of the
/// answers: who applied in one version and applies in another now needs five.
const ROUNDS: usize = 32;

/// The `managedFields` of what is to be stored.
#[derive(Clone, Debug)]
pub(super) enum Owners {
    /// Those of the object that is replaced, if any.
    Same,
    /// Others; `None`: none.
    New(Option<String>),
    /// An apply's: others only if anything but their times is other.
    Applied { managed: Option<String>, same_owners: bool },
}

/// What a request says about its writer, taken once.
pub(super) struct Writer<'a> {
    name: Cow<'a, str>,
    api_version: String,
    now: String,
    rows: Rows<'a>,
    subresource: &'a str,
    resets: Resets,
}

impl<'a> Writer<'a> {
    pub(super) fn of(call: &'a Call<'_>) -> Self {
        let resource = call.resource;
        Self {
            name: manager(&call.query, call.headers, call.user),
            api_version: resource.api_version(),
            now: time::format(call.core.now()),
            rows: Rows::of(resource, call.core),
            subresource: call.request.subresource,
            resets: resets(resource, call.request.subresource),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context {
            versions: &self.rows,
            api_version: &self.api_version,
            subresource: self.subresource,
            resets: self.resets,
            empty: if self.rows.own().custom.is_some() { Empty::Custom } else { Empty::Typed },
            now: &self.now,
        }
    }

    /// The owners of an object that is created, defaulted and not yet admitted.
    pub(super) fn created(&self, object: &Value) -> Owners {
        Owners::New(api::apply::created(&self.context(), object, &self.name))
    }

    /// What `work` makes with [`Self::context`], once it has all that conversion webhooks have to say for it: until then it is
    /// done again, so it must be free of effects.
    ///
    /// # Errors
    /// What `work` says; 500 when a webhook does not convert what it asks for.
    pub(super) async fn informed<T>(&self, mut work: impl FnMut() -> Result<T, Status>) -> Result<T, Status> {
        for _ in 0..ROUNDS {
            let made = work();
            if self.rows.settle().await? == Settled::Known {
                return made;
            }
        }
        Err(Status::internal("the owners of fields in other versions cannot be found: there is no end to conversions"))
    }

    /// The owners after an update. `given` is what the new object says its `managedFields` are; through a subresource
    /// nobody may say. Where a webhook fails to say what has changed in another version, they stay who they were, as in
    /// Kubernetes.
    pub(super) async fn updated(&self, old: &Apart, new: &Value, given: Option<&Value>) -> Owners {
        let text = given.filter(|_| self.subresource.is_empty()).map(Given::of);
        self.informed(|| Ok(self.follow(old, new, text.as_ref()))).await.unwrap_or_else(|error| {
            tracing::warn!(why = error.message, "the owners of fields stay who they were before an update");
            Owners::Same
        })
    }

    fn follow(&self, old: &Apart, new: &Value, given: Option<&Given>) -> Owners {
        let stored = old.managed();
        let before = match given {
            Some(Given::Reset) => Before::Reset,
            Some(Given::Text(text)) if Some(text.as_str()) != stored => match Managed::parse(text) {
                Ok(managed) if !managed.is_empty() => Before::Given(managed),
                _ => Before::Stored(stored),
            },
            _ => Before::Stored(stored),
        };
        match api::apply::updated(&self.context(), before, &old.object, new, &self.name) {
            Updated::Same => Owners::Same,
            Updated::New(managed) => Owners::New(managed),
        }
    }
}

/// `managedFields` in a request's object.
enum Given {
    Nothing,
    /// An empty list, or one empty entry.
    Reset,
    Text(String),
}

impl Given {
    fn of(value: &Value) -> Self {
        match value {
            Value::Array(list) => match list.as_slice() {
                [] => Self::Reset,
                [Value::Object(only)] if only.is_empty() => Self::Reset,
                _ => Self::Text(value.to_string()),
            },
            _ => Self::Nothing,
        }
    }
}

/// What writes through a (sub)resource do not change (`GetResetFields` of Kubernetes' strategies).
fn resets(resource: &Resource, subresource: &str) -> Resets {
    match subresource {
        "" if resource.subresource("status").is_some() => Resets::Status,
        "status" if resource.custom.is_some() => Resets::AllButStatusAndMetadata,
        "status" | "approval" => Resets::AllButStatus,
        _ => Resets::Nothing,
    }
}

/// `managerOrUserAgent`: what the request calls its writer, else the user agent up to its first slash. A component of this
/// process, which sends none, is called by its user's name.
fn manager<'a>(query: &'a Query<'_>, headers: &'a HeaderMap, user: &'a User) -> Cow<'a, str> {
    if let Some(name) = query.text("fieldManager") {
        return name.into();
    }
    match headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()) {
        Some(agent) => prefix(agent),
        None => match user.name.strip_prefix("system:") {
            Some(node) if node.starts_with("node:") => "kubelet".into(),
            Some(component) => component.into(),
            None => "".into(),
        },
    }
}

/// `prefixFromUserAgent`.
fn prefix(agent: &str) -> Cow<'_, str> {
    let name = agent.split('/').next().unwrap_or_default();
    if name.len() <= MANAGER_MAX_BYTES && name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return name.into();
    }
    let mut short = String::new();
    for c in name.chars().filter(|c| !c.is_control()) {
        if short.len() + c.len_utf8() > MANAGER_MAX_BYTES {
            break;
        }
        short.push(c);
    }
    short.into()
}

/// What an options object of a patch gets that does not fit its dialect.
pub(super) fn refuse(errors: &[api::field::Error]) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", "PatchOptions", "", errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_called_by_its_user_agent_or_its_user() {
        let name = |query: &str, agent: &'static str, user: &str| {
            let mut headers = HeaderMap::new();
            if !agent.is_empty() {
                headers.insert(header::USER_AGENT, header::HeaderValue::from_static(agent));
            }
            manager(&Query::parse(query), &headers, &User::component(user)).into_owned()
        };
        assert_eq!(name("fieldManager=me", "kubectl/v1", "a"), "me");
        assert_eq!(name("", "kubectl/v1.36 (linux/amd64)", "a"), "kubectl");
        assert_eq!(name("", "/v1", "a"), "");
        assert_eq!(name("", "", "system:kube-scheduler"), "kube-scheduler");
        assert_eq!(name("", "", "system:node:n1"), "kubelet");
        assert_eq!(name("", "", "somebody"), "");
        assert_eq!(prefix(&"é".repeat(100)).len(), 128);
    }
}
