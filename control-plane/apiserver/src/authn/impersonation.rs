//! `Impersonate-*` headers: acting as another, where the authorizers let one (`filters/impersonation.go`).

use crate::authz::{Attributes, Authorizers, Target};
use crate::handler::forbidden;
use crate::user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User};
use api::Status;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const ACCOUNT: &str = "system:serviceaccount:";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// The user that the request wants to be; `None`: itself.
///
/// # Errors
/// 403 for what the user may not be, 500 (as in Kubernetes) for headers that name no user.
pub(crate) fn user(authorizers: &Authorizers, actor: &User, headers: &HeaderMap) -> Result<Option<User>, Status> {
    // One pass over the names: nearly no request has any of these.
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(None);
    }
    let Some(wanted) = requested(headers)? else { return Ok(None) };
    let check = |target: Target<'_>| {
        let attributes = Attributes { verb: "impersonate", target };
        authorizers.allows(actor, &attributes).map_err(|why| forbidden(actor, &attributes, &why))
    };
    let plain = |group, resource, name| Target::Resource {
        group,
        resource,
        subresource: "",
        namespace: "",
        name,
        field_selector: None,
    };
    match account(&wanted.name) {
        Some((namespace, name)) => check(Target::Resource {
            group: "",
            resource: "serviceaccounts",
            subresource: "",
            namespace,
            name,
            field_selector: None,
        })?,
        None => check(plain("", "users", &wanted.name))?,
    }
    for group in &wanted.groups {
        check(plain("", "groups", group))?;
    }
    for (key, values) in &wanted.extra {
        for value in values {
            check(Target::Resource {
                group: AUTHENTICATION,
                resource: "userextras",
                subresource: key,
                namespace: "",
                name: value,
                field_selector: None,
            })?;
        }
    }
    if !wanted.uid.is_empty() {
        check(plain(AUTHENTICATION, "uids", &wanted.uid))?;
    }
    Ok(Some(complete(wanted)))
}

fn requested(headers: &HeaderMap) -> Result<Option<User>, Status> {
    let one = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let groups = headers.get_all(GROUP).iter().filter_map(|value| value.to_str().ok().map(String::from));
    let mut wanted = User { name: one(USER), uid: one(UID), groups: groups.collect(), extra: BTreeMap::new() };
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
            wanted.extra.entry(key).or_default().extend(value.to_str().ok().map(String::from));
        }
    }
    if !wanted.name.is_empty() {
        return Ok(Some(wanted));
    }
    if wanted == User::default() {
        return Ok(None);
    }
    let User { uid, groups, extra, .. } = &wanted;
    Err(Status::internal(format_args!(
        "requested uid {uid:?}, groups {groups:?}, extra {extra:?} without impersonating a user"
    )))
}

/// Adds the groups that come with being somebody.
fn complete(mut user: User) -> User {
    if user.groups.is_empty()
        && let Some((namespace, _)) = account(&user.name)
    {
        user.groups.extend(["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")]);
    }
    let standard = if user.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !user.is_in(AUTHENTICATED) && !user.is_in(UNAUTHENTICATED) {
        user.groups.push(standard.into());
    }
    user
}

fn account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(ACCOUNT)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}
