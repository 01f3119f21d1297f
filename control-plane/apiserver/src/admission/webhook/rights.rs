//! What conditions learn of rights: the answers of this server's authorizers, in the name of who sent the request.

use super::matching;
use crate::admission::Request;
use crate::authz::{Attributes, Authorizers, Decision, Target};
use crate::user::User;
use api::cel::{Authorize, ResourceCheck, Rights, Verdict};
use api::selector::Fields;
use std::fmt;
use std::sync::Arc;

/// Answers in the name of one user.
struct Judge {
    authorizers: Arc<Authorizers>,
    user: User,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("user", &self.user.name).finish_non_exhaustive()
    }
}

impl Judge {
    fn asked(&self, verb: &str, target: Target<'_>) -> Verdict {
        match self.authorizers.explain(&self.user, &Attributes { verb, target }) {
            Decision::Allow(reason) => Verdict::Allowed(reason),
            Decision::Deny(reason) => Verdict::Refused(reason),
        }
    }
}

impl Authorize for Judge {
    fn service_account(&self, namespace: &str, name: &str) -> Arc<dyn Authorize> {
        Arc::new(Self { authorizers: Arc::clone(&self.authorizers), user: User::service_account(namespace, name) })
    }

    fn path(&self, verb: &str, path: &str) -> Verdict {
        self.asked(verb, Target::Path(path))
    }

    fn resource(&self, verb: &str, it: &ResourceCheck) -> Verdict {
        // A selector that cannot be read narrows nothing down. No authorizer of ours looks at those of labels.
        let fields = Some(&it.field_selector).filter(|text| !text.is_empty());
        let fields = fields.and_then(|text| Fields::parse(text).ok());
        self.asked(
            verb,
            Target::Resource {
                group: &it.group,
                resource: &it.resource,
                subresource: &it.subresource,
                namespace: &it.namespace,
                name: &it.name,
                field_selector: fields.as_ref(),
            },
        )
    }
}

/// What the conditions of a webhook that `request` concerns may ask.
pub(super) fn of(request: &Request<'_>) -> Rights {
    let judge = Judge { authorizers: Arc::clone(&request.core.authorizers), user: request.user.clone() };
    let request = ResourceCheck {
        group: request.resource.group.to_string(),
        resource: request.resource.plural.to_string(),
        subresource: request.subresource.to_owned(),
        namespace: matching::namespace(request).to_owned(),
        name: request.name.to_owned(),
        ..ResourceCheck::default()
    };
    Rights { authorizer: Arc::new(judge), request }
}
