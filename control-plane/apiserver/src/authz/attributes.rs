//! What authorizers are asked about: Kubernetes' `authorizer.Attributes`, without the user.

use crate::request::{Query, RequestInfo};
use api::Verb;
use api::selector::{Equality, Fields};

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
        /// The selector that a list, watch or deletecollection carries.
        field_selector: Option<&'a Fields>,
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
        let target = Target::Resource { group, resource, subresource: "", namespace, name, field_selector: None };
        Self { verb, target }
    }

    /// Asks about a request. `selector` is [`field_selector`] of it.
    pub(crate) fn of(info: &'a RequestInfo<'_>, selector: Option<&'a Fields>) -> Self {
        let verb = info.verb_name();
        let Some(request) = &info.resource else { return Self { verb, target: Target::Path(info.path) } };
        let selected = selector.and_then(|fields| fields.exact("metadata.name")).filter(|name| is_path_segment(name));
        let name = if request.name.is_empty() { selected.unwrap_or_default() } else { &request.name };
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

/// Whether a name can stand in a path (`IsValidPathSegmentName`).
fn is_path_segment(name: &str) -> bool {
    !matches!(name, "." | "..") && !name.contains(['/', '%'])
}

/// The field selector of a request about many objects. One that cannot be read selects nothing: the request fails later.
///
/// It is read as the list reads it: whoever sees another selector than that would let through what nobody allowed.
pub(crate) fn field_selector(info: &RequestInfo<'_>, query: Option<&str>) -> Option<Fields> {
    let request = info.resource.as_ref().filter(|request| request.name.is_empty())?;
    matches!(request.verb?, Verb::List | Verb::Watch | Verb::DeleteCollection).then_some(())?;
    let query = query.filter(|query| query.contains("fieldSelector"))?;
    Fields::parse(Query::parse(query).get("fieldSelector")?).ok()
}

/// Whether `selector` lets only objects through whose `field` is `value`.
pub(crate) fn is_bound(selector: Option<&Fields>, field: &str, value: &str) -> bool {
    let binds = |fields: &Fields| {
        let mut terms = fields.terms().iter();
        terms.any(|term| term.equality == Equality::Equal && term.field == field && term.value == value)
    };
    selector.is_some_and(binds)
}
