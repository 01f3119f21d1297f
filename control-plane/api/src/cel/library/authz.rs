//! Kubernetes' authorization library: what somebody may do, asked within an expression (`cel/library/authz.go`).
//!
//! Puts questions together. Who answers them is brought along by the evaluation, see [`Authorize`].

use super::calls::text as text_of;
use super::opaque::{Foreign, foreign, made};
use super::{Cost, Row, Sig, Style};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::types::Opaque;
use crate::cel::value::Val;
use crate::names::{check_dns1123_label, check_dns1123_subdomain};
use std::fmt;
use std::sync::Arc;

/// Units of one question: an expression has room for two.
pub const CHECK: u64 = 350_000;

/// Answers questions in the name of one user.
pub trait Authorize: fmt::Debug + Send + Sync {
    /// The same in the name of a service account.
    fn service_account(&self, namespace: &str, name: &str) -> Arc<dyn Authorize>;

    /// Whether the user may do `verb` to a path that is no resource's.
    fn path(&self, verb: &str, path: &str) -> Verdict;

    /// Whether the user may do `verb` to a resource.
    fn resource(&self, verb: &str, resource: &ResourceCheck) -> Verdict;
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With its reason, which may be empty.
    Allowed(String),
    Refused(String),
}

/// A resource that is asked about. Whatever is empty is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceCheck {
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_selector: String,
    pub label_selector: String,
}

/// The values of `authorizer` and `authorizer.requestResource`.
#[derive(Clone, Debug)]
pub struct Rights {
    pub authorizer: Arc<dyn Authorize>,
    /// What the request is about.
    pub request: ResourceCheck,
}

/// A question on its way, or an answer.
#[derive(Clone, Debug)]
pub enum Access {
    Authorizer(Arc<dyn Authorize>),
    Path(Arc<dyn Authorize>, String),
    Group(Arc<dyn Authorize>, String),
    Resource(Arc<dyn Authorize>, ResourceCheck),
    Decision(Verdict),
}

impl Access {
    #[must_use]
    pub const fn kind(&self) -> Opaque {
        match self {
            Self::Authorizer(_) => Opaque::Authorizer,
            Self::Path(..) => Opaque::PathCheck,
            Self::Group(..) => Opaque::GroupCheck,
            Self::Resource(..) => Opaque::ResourceCheck,
            Self::Decision(_) => Opaque::Decision,
        }
    }
}

impl Rights {
    /// The value of a variable of such a type; `None` for other types.
    #[must_use]
    pub fn value<'a>(&self, of: Opaque) -> Option<Val<'a>> {
        let by = Arc::clone(&self.authorizer);
        match of {
            Opaque::Authorizer => Some(access(Access::Authorizer(by))),
            Opaque::ResourceCheck => Some(access(Access::Resource(by, self.request.clone()))),
            _ => None,
        }
    }
}

const TEXT: Sig = Sig::Text;
const AUTHORIZER: Sig = Sig::Opaque(Opaque::Authorizer);
const PATH: Sig = Sig::Opaque(Opaque::PathCheck);
const GROUP: Sig = Sig::Opaque(Opaque::GroupCheck);
const RESOURCE: Sig = Sig::Opaque(Opaque::ResourceCheck);
const DECISION: Sig = Sig::Opaque(Opaque::Decision);

const fn method(name: &'static str, args: &'static [Sig], result: Sig, cost: Cost, run: super::Run) -> Row {
    Row { name, style: Style::Member, args, result, cost, run }
}

pub const ROWS: &[Row] = &[
    method("path", &[AUTHORIZER, TEXT], PATH, Cost::One, path),
    method("group", &[AUTHORIZER, TEXT], GROUP, Cost::One, group),
    method("serviceAccount", &[AUTHORIZER, TEXT, TEXT], AUTHORIZER, Cost::One, service_account),
    method("resource", &[GROUP, TEXT], RESOURCE, Cost::One, resource),
    method("subresource", &[RESOURCE, TEXT], RESOURCE, Cost::One, subresource),
    method("namespace", &[RESOURCE, TEXT], RESOURCE, Cost::One, namespace),
    method("name", &[RESOURCE, TEXT], RESOURCE, Cost::One, name),
    method("fieldSelector", &[RESOURCE, TEXT], RESOURCE, Cost::Selector, field_selector),
    method("labelSelector", &[RESOURCE, TEXT], RESOURCE, Cost::Selector, label_selector),
    method("check", &[PATH, TEXT], DECISION, Cost::Check, check),
    method("check", &[RESOURCE, TEXT], DECISION, Cost::Check, check),
    method("allowed", &[DECISION], Sig::Bool, Cost::One, allowed),
    method("reason", &[DECISION], Sig::Text, Cost::One, reason),
    method("errored", &[DECISION], Sig::Bool, Cost::One, errored),
    method("error", &[DECISION], Sig::Text, Cost::One, error),
];

fn access<'a>(access: Access) -> Val<'a> {
    made(Foreign::Access(access))
}

fn operand<'v>(args: &'v [Val<'_>]) -> Result<&'v Access, Fault> {
    match foreign(args.first())? {
        Foreign::Access(access) => Ok(access),
        _ => Err(Fault::no_overload()),
    }
}

fn word<'v>(args: &'v [Val<'_>], at: usize) -> Result<&'v str, Fault> {
    Ok(text_of(args.get(at).ok_or(Fault::no_overload())?)?.as_str())
}

fn path<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match (operand(args)?, word(args, 1)?) {
        (Access::Authorizer(_), path) if path.trim().is_empty() => Err(Fault::text("path must not be empty")),
        (Access::Authorizer(by), path) => Ok(access(Access::Path(Arc::clone(by), path.to_owned()))),
        _ => Err(Fault::no_overload()),
    }
}

fn group<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match (operand(args)?, word(args, 1)?) {
        (Access::Authorizer(by), group) => Ok(access(Access::Group(Arc::clone(by), group.to_owned()))),
        _ => Err(Fault::no_overload()),
    }
}

fn service_account<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (namespace, name) = (word(args, 1)?, word(args, 2)?);
    let Access::Authorizer(by) = operand(args)? else { return Err(Fault::no_overload()) };
    if !check_dns1123_subdomain(name).is_empty() {
        return Err(Fault::text("Invalid service account name"));
    }
    if !check_dns1123_label(namespace).is_empty() {
        return Err(Fault::text("Invalid service account namespace"));
    }
    Ok(access(Access::Authorizer(by.service_account(namespace, name))))
}

fn resource<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match (operand(args)?, word(args, 1)?) {
        (Access::Group(..), resource) if resource.trim().is_empty() => Err(Fault::text("resource must not be empty")),
        (Access::Group(by, group), resource) => {
            let check =
                ResourceCheck { group: group.clone(), resource: resource.to_owned(), ..ResourceCheck::default() };
            Ok(access(Access::Resource(Arc::clone(by), check)))
        }
        _ => Err(Fault::no_overload()),
    }
}

/// The same question with one thing more said.
fn with<'a>(args: &[Val<'a>], set: impl FnOnce(&mut ResourceCheck, String)) -> Result<Val<'a>, Fault> {
    let Access::Resource(by, check) = operand(args)? else { return Err(Fault::no_overload()) };
    let mut check = check.clone();
    set(&mut check, word(args, 1)?.to_owned());
    Ok(access(Access::Resource(Arc::clone(by), check)))
}

fn subresource<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    with(args, |check, text| check.subresource = text)
}

fn namespace<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    with(args, |check, text| check.namespace = text)
}

fn name<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    with(args, |check, text| check.name = text)
}

fn pay_for_selector(frame: &mut Frame<'_>, args: &[Val<'_>]) -> Result<(), Fault> {
    frame.charge(super::cost::selector(word(args, 1)?.len() as u64))
}

fn field_selector<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    pay_for_selector(frame, args)?;
    with(args, |check, text| check.field_selector = text)
}

fn label_selector<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    pay_for_selector(frame, args)?;
    with(args, |check, text| check.label_selector = text)
}

fn check<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let verb = word(args, 1)?;
    // The call itself has been paid for.
    frame.charge(CHECK)?;
    let verdict = match operand(args)? {
        Access::Path(by, path) => by.path(verb, path),
        Access::Resource(by, resource) => by.resource(verb, resource),
        _ => return Err(Fault::no_overload()),
    };
    Ok(access(Access::Decision(verdict)))
}

fn decision<'v>(args: &'v [Val<'_>]) -> Result<&'v Verdict, Fault> {
    match operand(args)? {
        Access::Decision(verdict) => Ok(verdict),
        _ => Err(Fault::no_overload()),
    }
}

fn allowed<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(matches!(decision(args)?, Verdict::Allowed(_))))
}

fn reason<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (Verdict::Allowed(reason) | Verdict::Refused(reason)) = decision(args)?;
    Ok(reason.clone().into())
}

/// Whether no answer could be found. There is always one: all that authorizers look at is in memory.
fn errored<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    decision(args).map(|_| Val::Bool(false))
}

fn error<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    decision(args).map(|_| Val::from(""))
}
