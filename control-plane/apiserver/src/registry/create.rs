//! POST to a collection (`registry/rest/create.go`): default → admit → prepare → metadata → validate → store.

use super::charge::{self, Step};
use super::owners::{Owners, Writer};
use super::{Call, Outcome, input, services};
use crate::admission::{Beside, Operation, Options, Request, Shaped};
use crate::crd::{self, present::Encoded};
use crate::request::{Common, WriteOptions};
use api::{Status, Verb, meta};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use store::Txn;

/// How often another suffix is tried when a generated name is taken.
const NAME_ATTEMPTS: usize = 8;
/// How many addresses are tried for a Service while other servers take the same ones.
const ADDRESS_ATTEMPTS: usize = 100;

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&call.query, Verb::Create)?;
    let mut object = input::object(call, body, options.field_validation).await?;
    meta::ensure_namespace(call.resource, &mut object, call.namespace())?;
    if !matches!(meta::resource_version(&object), "" | "0") {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let outcome = insert(call, options.common, object).await?;
    call.show(StatusCode::CREATED, &outcome)
}

/// Stores a new object. Its namespace is set; its name may be left to `generateName`.
///
/// # Errors
/// 409 when the name is taken, 422 when the object is invalid, and what admission says.
pub(super) async fn insert(call: &Call<'_>, options: Common, object: Value) -> Result<Outcome, Status> {
    insert_owned(call, options, object, None).await
}

/// [`insert`] with owners of the fields; `None`: whoever sent the request.
///
/// # Errors
/// As [`insert`].
pub(super) async fn insert_owned(
    call: &Call<'_>,
    options: Common,
    mut object: Value,
    owners: Option<Owners>,
) -> Result<Outcome, Status> {
    let strategy = &call.resource.strategy;
    crate::objects::take_owners(&mut object);
    call.dedup_owners(&mut object);
    strategy.default(&mut object);
    let owners = owners.unwrap_or_else(|| Writer::of(call).created(&object));
    let managed = match &owners {
        Owners::New(managed) | Owners::Applied { managed, .. } => managed.as_deref(),
        Owners::Same => None,
    };
    let snapshot = call.core.latest().await?;
    let given = meta::name(&object).to_owned();
    let mut admission = Request {
        core: call.core,
        operation: Operation::Create,
        resource: call.resource,
        subresource: "",
        namespace: call.namespace(),
        name: &given,
        user: call.user,
        object: &mut object,
        old: None,
        snapshot: &snapshot,
        dry_run: options.is_dry_run(),
        beside: Beside { options: Options::Query(&call.query), owners: managed, ..Beside::default() },
        warnings: &call.warnings,
    };
    call.core.admission.mutate(&mut admission).await?;
    let Beside { owners_made: made, shaped, .. } = admission.beside;
    let admitted = Admitted { managed: made.as_ref().map_or(managed, Option::as_deref), shaped };
    let prefixed = object.pointer("/metadata/generateName").is_some_and(|prefix| prefix != "");
    let generated = given.is_empty() && prefixed;
    let refused = |name: &str, by: Option<&store::Entry>| {
        let status = already_exists(call, name, by);
        if prefixed { unlucky(status) } else { status }
    };
    // What is derived from the name, such as a Job's labels, must be derived anew from each that is tried.
    let attempts = match generated {
        _ if services::concerns(call.resource) => ADDRESS_ATTEMPTS,
        true => NAME_ATTEMPTS,
        false => 1,
    };
    for _ in 1..attempts {
        match attempt(call, options, object.clone(), admitted).await? {
            Ok(outcome) => return Ok(outcome),
            Err(Taken::Name { name, by }) if !generated => return Err(refused(&name, by.as_deref())),
            Err(Taken::Name { .. }) => {}
            // Another server gave it out first: choose again with that in sight.
            Err(Taken::Address) => _ = call.core.latest().await?,
        }
    }
    attempt(call, options, object, admitted).await?.map_err(|taken| match taken {
        Taken::Name { name, by } => refused(&name, by.as_deref()),
        Taken::Address => Status::internal("failed to allocate a serviceIP: others kept taking the free ones"),
    })
}

/// What an object needs is another's already.
enum Taken {
    Name {
        name: String,
        by: Option<Arc<store::Entry>>,
    },
    /// An address or node port of a Service.
    Address,
}

/// What the mutating half of admission has said beside the object.
#[derive(Clone, Copy)]
struct Admitted<'a> {
    /// The `managedFields`.
    managed: Option<&'a str>,
    shaped: Shaped,
}

/// Everything from the name on, once.
async fn attempt(
    call: &Call<'_>,
    options: Common,
    mut object: Value,
    admitted: Admitted<'_>,
) -> Result<Result<Outcome, Taken>, Status> {
    let strategy = &call.resource.strategy;
    name_and_date(call, &mut object);
    strategy.prepare_create(&mut object);
    let assignment = services::assign(call, &mut object, None)?;
    validate(call, &mut object, options, admitted).await?;
    let name = meta::name(&object).to_owned();
    let key = crate::objects::key(call.resource, call.namespace(), &name);
    let Encoded { stored, shown } = call.encode(&object).await?.owned(admitted.managed);
    let mut outcome = Outcome { body: shown, revision: None };
    let step = Step { new: &object, old: None, subresource: "" };
    charge::check(call, &step, options).await?;
    if options.is_dry_run() {
        if let Some(taken) = call.core.store.snapshot().get(&key) {
            return Ok(Err(Taken::Name { name, by: Some(Arc::clone(taken)) }));
        }
    } else {
        match charge::commit(call, &step, Txn::create(&key, stored), assignment, None).await? {
            Ok(committed) => outcome.revision = Some(committed.revision),
            Err(conflict) if *conflict.key != *key => return Ok(Err(Taken::Address)),
            Err(conflict) => return Ok(Err(Taken::Name { name, by: conflict.actual })),
        }
    }
    call.add_warnings(strategy.warnings(&object));
    Ok(Ok(outcome))
}

/// The server's part of the metadata.
fn name_and_date(call: &Call<'_>, object: &mut Value) {
    let uid = uuid::Uuid::new_v4().to_string();
    let creation = meta::Creation {
        uid: &uid,
        now: call.core.now(),
        random: call.core.random(),
        has_generation: call.resource.strategy.has_generation(),
    };
    meta::default_create(object, &creation);
}

async fn validate(call: &Call<'_>, object: &mut Value, options: Common, admitted: Admitted<'_>) -> Result<(), Status> {
    let strategy = &call.resource.strategy;
    let mut errors = meta::validate_create(call.resource, object);
    errors.extend(crd::judged(call.resource, || strategy.validate(object)));
    let name = meta::name(object).to_owned();
    if !errors.is_empty() {
        return Err(call.invalid(&name, &errors));
    }
    let snapshot = call.core.store.snapshot();
    let mut admission = Request {
        core: call.core,
        operation: Operation::Create,
        resource: call.resource,
        subresource: "",
        namespace: call.namespace(),
        name: &name,
        user: call.user,
        object: &mut *object,
        old: None,
        snapshot: &snapshot,
        dry_run: options.is_dry_run(),
        beside: Beside {
            options: Options::Query(&call.query),
            owners: admitted.managed,
            shaped: admitted.shaped,
            ..Beside::default()
        },
        warnings: &call.warnings,
    };
    call.core.admission.validate(&mut admission).await
}

fn already_exists(call: &Call<'_>, name: &str, existing: Option<&store::Entry>) -> Status {
    let mut status = Status::already_exists(&call.resource.group, &call.resource.plural, name);
    if existing.is_some_and(|entry| crate::objects::Index::of(entry).is_deleting()) {
        status.message = format!("object is being deleted: {}", status.message);
    }
    status
}

/// The same of a name that the server may have made up (`errors.NewGenerateNameConflict`): worth another try.
fn unlucky(mut status: Status) -> Status {
    status.message.push_str(", the server was not able to generate a unique name for the object");
    status.with_retry_after(1)
}
