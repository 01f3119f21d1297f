//! Updates (`registry/rest/update.go`): one loop for PUT, PATCH and the subresources that change an object. The old
//! object is parsed once an attempt; a commit that comes second starts over with what came first.

use super::charge::{self, Step};
use super::owners::{Owners, Writer};
use super::{Call, Outcome, create, input, namespace, services};
use crate::admission::{Beside, Operation, Options, Request};
use crate::crd::{self, present::Encoded};
use crate::objects::{self, Apart};
use crate::request::{Common, WriteOptions};
use api::{Status, Verb, field, meta};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::Value;
use store::Txn;

/// How often a write that came second is tried again before its client is told.
const ATTEMPTS: usize = 100;

pub(super) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// Which part of an object an update is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Main,
    Status,
    /// What a subresource that the kind's strategy knows changes.
    Subresource,
    /// The caller has made the whole object from the old one: no strategy hook puts anything back.
    Whole,
}

/// PUT.
pub(super) async fn put(call: &Call<'_>, part: Part, body: Body) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&call.query, Verb::Update)?;
    let mut object = input::object(call, body, options.field_validation).await?;
    check_name(call, &object)?;
    meta::ensure_namespace(call.resource, &mut object, call.namespace())?;
    if part == Part::Main
        && call.resource.strategy.create_on_update()
        && call.core.latest().await?.get(&call.key()).is_none()
    {
        let outcome = create::insert(call, options.common, object).await?;
        return call.show(StatusCode::CREATED, &outcome);
    }
    let outcome = modify(call, part, options.common, |_| Ok(object.clone())).await?;
    call.show(StatusCode::OK, &outcome)
}

/// An object that takes another's place says which one's.
///
/// # Errors
/// 400 for one without a name, or with another one than the request's.
pub(super) fn check_name(call: &Call<'_>, object: &Value) -> Result<(), Status> {
    let (own, wanted) = (meta::name(object), call.name());
    if own == wanted {
        return Ok(());
    }
    Err(Status::bad_request(match own {
        "" => format!("the name of the object ({wanted} based on URL) was undeterminable: name must be provided"),
        own => format!("the name of the object ({own}) does not match the name on the URL ({wanted})"),
    }))
}

/// Replaces the object by what `produce` makes of it. `produce` sees the object with its resourceVersion; if the
/// new one carries another, that is a conflict; if it carries none, the update is unconditional.
///
/// # Errors
/// 404, 409, 422, and what `produce` and admission say.
pub(super) async fn modify(
    call: &Call<'_>,
    part: Part,
    options: Common,
    mut produce: impl FnMut(&Value) -> Result<Value, Status>,
) -> Result<Outcome, Status> {
    let writer = Writer::of(call);
    modify_owned(call, (&writer, part), options, |old| Ok((produce(&old.object)?, None))).await
}

/// [`modify`] for who sees `managedFields`, and who may say what they become; where that is `None` they follow the update.
///
/// # Errors
/// As [`modify`].
pub(super) async fn modify_owned(
    call: &Call<'_>,
    (writer, part): (&Writer<'_>, Part),
    options: Common,
    mut produce: impl FnMut(&Apart) -> Result<(Value, Option<Owners>), Status>,
) -> Result<Outcome, Status> {
    let key = call.key();
    for _ in 0..ATTEMPTS {
        let snapshot = call.core.latest().await?;
        let entry = snapshot.get(&key).ok_or_else(|| call.not_found())?;
        let before = call.parse_apart(entry).await?;
        let old = &before.object;
        let (mut new, owners) = writer.informed(|| produce(&before)).await?;
        let given = objects::take_owners(&mut new);
        call.dedup_owners(&mut new);
        check_version(call, &new, old)?;
        call.resource.strategy.default(&mut new);
        meta::default_update(&mut new, old);
        let owners = match owners {
            Some(owners) => owners,
            None => writer.updated(&before, &new, given.as_ref()).await,
        };
        let aside = beside(call, &before, managed_fields(&owners, &before, &new));
        let mut request = admission(call, &mut new, old, &snapshot, (options, aside));
        call.core.admission.mutate(&mut request).await?;
        let owners = request.beside.owners_made.map_or(owners, Owners::New);
        let assignment = prepare(call, part, &mut new, old)?;
        validate(call, part, &new, old)?;
        let aside = beside(call, &before, managed_fields(&owners, &before, &new));
        let mut request = admission(call, &mut new, old, &snapshot, (options, aside));
        call.core.admission.validate(&mut request).await?;
        let step = Step { new: &new, old: Some(old), subresource: call.request.subresource };
        charge::check(call, &step, options).await?;
        let managed = managed_fields(&owners, &before, &new);
        let Encoded { stored, shown } = call.encode_over(&new, &entry.value.body).await?.owned(managed);
        let removed = should_be_removed(call, &new, old);
        if stored.body == entry.value.body && !removed {
            return Ok(Outcome { body: shown, revision: Some(entry.mod_revision) });
        }
        if options.is_dry_run() {
            return Ok(Outcome { body: shown, revision: Some(entry.mod_revision) });
        }
        let txn =
            if removed { Txn::remove(&key, entry.mod_revision) } else { Txn::update(&key, entry.mod_revision, stored) };
        if let Ok(committed) = charge::commit(call, &step, txn, assignment, removed.then_some(old)).await? {
            return Ok(Outcome { body: shown, revision: Some(committed.revision) });
        }
    }
    Err(call.conflict(MODIFIED))
}

/// The text of `managedFields` to store with `new`.
fn managed_fields<'a>(owners: &'a Owners, before: &'a Apart, new: &Value) -> Option<&'a str> {
    match owners {
        Owners::Same => before.managed(),
        Owners::Applied { same_owners: true, .. } if *new == before.object => before.managed(),
        Owners::New(managed) | Owners::Applied { managed, .. } => managed.as_deref(),
    }
}

fn check_version(call: &Call<'_>, new: &Value, old: &Value) -> Result<(), Status> {
    let wanted = meta::resource_version(new);
    if wanted.is_empty() || wanted == "0" {
        if !call.resource.strategy.unconditional_update() {
            let (group, plural) = (&call.resource.group, &call.resource.plural);
            return Err(Status::invalid(group, plural, call.name(), &[meta::resource_version_required()]));
        }
    } else if wanted != meta::resource_version(old) {
        return Err(call.conflict(MODIFIED));
    }
    let (uid, actual) = (meta::uid(new), meta::uid(old));
    if !uid.is_empty() && uid != actual {
        return Err(call
            .conflict(format_args!("Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}")));
    }
    Ok(())
}

fn beside<'a>(call: &'a Call<'_>, before: &'a Apart, owners: Option<&'a str>) -> Beside<'a> {
    Beside { options: Options::Query(&call.query), old_owners: before.managed(), owners, ..Beside::default() }
}

fn admission<'a>(
    call: &'a Call<'_>,
    new: &'a mut Value,
    old: &'a Value,
    snapshot: &'a store::Snapshot,
    (options, beside): (Common, Beside<'a>),
) -> Request<'a> {
    Request {
        core: call.core,
        operation: Operation::Update,
        resource: call.resource,
        subresource: call.request.subresource,
        namespace: call.namespace(),
        name: call.name(),
        user: call.user,
        object: new,
        old: Some(old),
        snapshot,
        dry_run: options.is_dry_run(),
        beside,
        warnings: &call.warnings,
    }
}

type Assignment = Option<crate::admission::cluster_ip::Assignment>;

fn prepare(call: &Call<'_>, part: Part, new: &mut Value, old: &Value) -> Result<Assignment, Status> {
    let strategy = &call.resource.strategy;
    let mut assignment = None;
    match part {
        Part::Main => {
            strategy.prepare_update(new, old);
            assignment = services::assign(call, new, Some(old))?;
        }
        Part::Status => strategy.prepare_status_update(new, old),
        Part::Subresource => strategy.prepare_subresource_update(call.request.subresource, new, old),
        Part::Whole => {}
    }
    if part != Part::Status && strategy.has_generation() {
        meta::bump_generation(new, old);
    }
    Ok(assignment)
}

fn validate(call: &Call<'_>, part: Part, new: &Value, old: &Value) -> Result<(), Status> {
    let strategy = &call.resource.strategy;
    let mut errors: Vec<field::Error> = meta::validate_update(call.resource, new, old);
    match part {
        Part::Main => {
            let (found, warnings) = crd::judged(call.resource, || strategy.judge_change(new, old));
            errors.extend(found);
            call.add_warnings(warnings);
        }
        Part::Status => {
            let (found, warnings) = strategy.judge_status_update(new, old);
            errors.extend(found);
            call.add_warnings(warnings);
        }
        Part::Subresource => {
            errors.extend(strategy.validate_subresource_update(call.request.subresource, new, old));
            call.add_warnings(strategy.warnings(new));
        }
        Part::Whole => {}
    }
    if errors.is_empty() { Ok(()) } else { Err(call.invalid(call.name(), &errors)) }
}

/// Whether this update takes away the last thing that an object being deleted waited for.
fn should_be_removed(call: &Call<'_>, new: &Value, old: &Value) -> bool {
    meta::deletion_timestamp(old).is_some()
        && meta::deletion_grace_seconds(old).unwrap_or(0) == 0
        && meta::finalizers(new).next().is_none()
        && !namespace::holds(call.resource, new)
}
