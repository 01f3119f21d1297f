//! What a request asks for, read once from its method and URI into a value
//! (as `apiserver/pkg/endpoints/request/requestinfo.go`). Borrows from the URI: reading a path allocates nothing.

pub(crate) mod duration;
mod options;
mod query;

pub(crate) use options::{
    Common, DeleteOptions, DryRun, FieldValidation, ListOptions, Preconditions, Propagation, Version, VersionMatch,
    WriteOptions, too_large_version, untyped,
};
pub(crate) use query::Query;

use api::Verb;
use http::{Method, Uri};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// One request, as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo<'a> {
    pub path: &'a str,
    pub method: &'a Method,
    /// None: not about a resource (`/version`, `/apis`, …).
    pub resource: Option<ResourceRequest<'a>>,
}

/// The part of a request that is about a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRequest<'a> {
    /// None: a method that no resource has (405).
    pub verb: Option<Verb>,
    /// Empty for the core group.
    pub group: &'a str,
    pub version: &'a str,
    /// Empty: cluster-scoped, or all namespaces.
    pub namespace: Cow<'a, str>,
    pub plural: &'a str,
    /// Empty: the collection.
    pub name: Cow<'a, str>,
    /// Empty: the resource itself.
    pub subresource: &'a str,
    /// What follows the subresource (`/proxy/metrics`), without the slash before it.
    pub rest: &'a str,
}

impl<'a> RequestInfo<'a> {
    #[must_use]
    pub fn parse(method: &'a Method, uri: &'a Uri) -> Self {
        let path = uri.path();
        Self { path, method, resource: resource(method, path, uri.query()) }
    }

    /// The verb as authorization and metrics spell it.
    #[must_use]
    pub fn verb_name(&self) -> &'static str {
        match &self.resource {
            Some(ResourceRequest { verb: Some(verb), .. }) => verb_name(*verb),
            // What no verb stands for is refused as nothing.
            Some(_) => "",
            None => match *self.method {
                Method::GET => "get",
                Method::HEAD => "head",
                Method::POST => "post",
                Method::PUT => "put",
                Method::PATCH => "patch",
                Method::DELETE => "delete",
                Method::OPTIONS => "options",
                Method::TRACE => "trace",
                Method::CONNECT => "connect",
                _ => "other",
            },
        }
    }
}

impl ResourceRequest<'_> {
    /// Requests that last as long as the client likes: no timeout, no place among the bounded ones.
    #[must_use]
    pub fn is_long_running(&self) -> bool {
        self.verb == Some(Verb::Watch)
            || matches!(self.subresource, "log" | "exec" | "attach" | "portforward" | "proxy" | "tunnel")
    }
}

/// A verb as discovery and authorization spell it.
#[must_use]
pub const fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "create",
        Verb::Delete => "delete",
        Verb::DeleteCollection => "deletecollection",
        Verb::Get => "get",
        Verb::List => "list",
        Verb::Patch => "patch",
        Verb::Update => "update",
        Verb::Watch => "watch",
    }
}

/// `/api/V/…` and `/apis/G/V/…`, then `[watch/][namespaces/NS/]RESOURCE[/NAME[/SUBRESOURCE[/…]]]`.
fn resource<'a>(method: &Method, path: &'a str, query: Option<&str>) -> Option<ResourceRequest<'a>> {
    let path = path.strip_prefix('/')?;
    let (root, rest) = path.split_once('/')?;
    let (group, rest) = match root {
        "api" => ("", rest),
        "apis" => rest.split_once('/').filter(|(group, _)| !group.is_empty())?,
        _ => return None,
    };
    let (version, rest) = rest.split_once('/')?;
    let (old_watch, rest) = match rest.strip_prefix("watch/") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let mut parts = Parts(Some(rest));
    let mut plural = parts.next().filter(|p| !p.is_empty())?;
    let mut namespace = "";
    let mut name = parts.next().unwrap_or_default();
    // `namespaces/NS/pods` is about pods; `namespaces/NS` and its own subresources are about the namespace.
    if plural == "namespaces" && group.is_empty() && !name.is_empty() {
        match parts.peek() {
            None | Some("" | "status" | "finalize") => namespace = name,
            Some(_) => {
                namespace = name;
                plural = parts.next()?;
                name = parts.next().unwrap_or_default();
            }
        }
    } else if plural == "namespaces" && !group.is_empty() && parts.peek().is_some() {
        namespace = Some(name).filter(|name| !name.is_empty())?;
        plural = parts.next().filter(|plural| !plural.is_empty())?;
        name = parts.next().unwrap_or_default();
    }
    // `namespaces//pods/x` is no path: nothing after an empty part can be meant.
    if name.is_empty() && parts.0.is_some_and(|rest| !rest.is_empty()) {
        return None;
    }
    let subresource = if name.is_empty() { "" } else { parts.next().unwrap_or_default() };
    let rest = parts.0.unwrap_or_default();
    if subresource.is_empty() && !rest.is_empty() {
        return None;
    }
    let verb = verb(method, old_watch, !name.is_empty(), query);
    Some(ResourceRequest {
        verb,
        group,
        version,
        namespace: decode(namespace),
        plural,
        name: decode(name),
        subresource,
        rest,
    })
}

fn verb(method: &Method, old_watch: bool, named: bool, query: Option<&str>) -> Option<Verb> {
    Some(match *method {
        Method::GET | Method::HEAD if old_watch => Verb::Watch,
        // Nothing but watches goes that way: a DELETE there must not be taken for one of what is watched.
        _ if old_watch => return None,
        Method::GET | Method::HEAD if named => Verb::Get,
        Method::GET | Method::HEAD if query.is_some_and(|q| Query::parse(q).flag("watch")) => Verb::Watch,
        Method::GET | Method::HEAD => Verb::List,
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE if named => Verb::Delete,
        Method::DELETE => Verb::DeleteCollection,
        _ => return None,
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// The rest of a path, cut at its slashes.
struct Parts<'a>(Option<&'a str>);

impl<'a> Parts<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0?;
        let (part, after) = match rest.split_once('/') {
            Some((part, after)) => (part, Some(after)),
            None => (rest, None),
        };
        self.0 = after;
        Some(part)
    }

    fn peek(&self) -> Option<&'a str> {
        self.0.map(|rest| rest.split('/').next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
