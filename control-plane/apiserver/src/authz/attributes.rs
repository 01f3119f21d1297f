//! What authorizers are asked about: Kubernetes' `authorizer.Attributes`, without the user.

use crate::request::{Query, RequestInfo};

/// One question: may a user do `verb` to `target`?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes<'a> {
    pub verb: &'a str,
    pub target: Target<'a>,
}

/// What the verb is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    Resource {
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        /// Empty: cluster-scoped, or all namespaces.
        namespace: &'a str,
        /// Empty: all names, or one that is not known yet.
        name: &'a str,
        /// The selector that a list, watch or deletecollection carries, as it stands in the query.
        field_selector: &'a str,
    },
    /// A path that is no resource's.
    Path(&'a str),
}

impl<'a> Attributes<'a> {
    /// A question about a resource itself, with no selector.
    pub(crate) fn resource(
        verb: &'a str,
        (group, resource): (&'a str, &'a str),
        namespace: &'a str,
        name: &'a str,
    ) -> Self {
        let target = Target::Resource { group, resource, subresource: "", namespace, name, field_selector: "" };
        Self { verb, target }
    }

    /// Asks about a request. `selector` is [`field_selector`] of it.
    pub(crate) fn of(info: &'a RequestInfo<'_>, selector: &'a str) -> Self {
        let verb = info.verb_name();
        let Some(request) = &info.resource else { return Self { verb, target: Target::Path(info.path) } };
        let name = if request.name.is_empty() { selected(selector, "metadata.name") } else { &request.name };
        let target = Target::Resource {
            group: request.group,
            resource: request.plural,
            subresource: request.subresource,
            namespace: &request.namespace,
            name,
            field_selector: selector,
        };
        Self { verb, target }
    }
}

/// The field selector of a request without a name, decoded; empty for all others.
pub(crate) fn field_selector(info: &RequestInfo<'_>, query: Option<&str>) -> String {
    let is_collection = info.resource.as_ref().is_some_and(|request| request.name.is_empty());
    match query {
        Some(query) if is_collection && query.contains("fieldSelector") => {
            Query::parse(query).get("fieldSelector").unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}

/// The one value that `selector` allows for `field`; empty when it does not bind the field.
pub(crate) fn selected<'s>(selector: &'s str, field: &str) -> &'s str {
    let mut terms = selector.rsplit(',').filter_map(|term| {
        let (key, value) = term.split_once('=')?;
        (key == field).then(|| value.strip_prefix('=').unwrap_or(value))
    });
    terms.next().unwrap_or_default()
}
