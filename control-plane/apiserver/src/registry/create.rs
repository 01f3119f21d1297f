//! POST to a collection (`registry/rest/create.go`): default → admit → prepare → metadata → validate → store.

use super::{Call, Outcome, input, services};
use crate::admission::{Operation, Request};
use crate::request::{Common, WriteOptions};
use api::{Status, Verb, meta};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::Value;
use store::Txn;

/// How often another suffix is tried when a generated name is taken.
const NAME_ATTEMPTS: usize = 8;

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&call.query, Verb::Create)?;
    let mut object = input::object(call, body, options.field_validation).await?;
    meta::ensure_namespace(call.resource, &mut object, call.namespace())?;
    let outcome = insert(call, options.common, object).await?;
    call.show(StatusCode::CREATED, &outcome)
}

/// Stores a new object. Its namespace is set; its name may be left to `generateName`.
///
/// # Errors
/// 409 when the name is taken, 422 when the object is invalid, and what admission says.
pub(super) async fn insert(call: &Call<'_>, options: Common, mut object: Value) -> Result<Outcome, Status> {
    let strategy = &call.resource.strategy;
    strategy.default(&mut object);
    let snapshot = call.core.store.snapshot();
    let given = meta::name(&object).to_owned();
    let mut admission = Request {
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
    };
    call.core.admission.mutate(&mut admission).await?;
    let uid = uuid::Uuid::new_v4().to_string();
    name_and_date(call, &mut object, &uid);
    strategy.prepare_create(&mut object);
    let mut assignment = services::assign(call, &mut object, None)?;
    let generated = given.is_empty() && object.pointer("/metadata/generateName").is_some();
    for attempt in 1..=NAME_ATTEMPTS {
        validate(call, &mut object, options).await?;
        let name = meta::name(&object).to_owned();
        let key = crate::objects::key(call.resource, call.namespace(), &name);
        let taken = if options.is_dry_run() {
            match call.core.store.snapshot().get(&key).cloned() {
                None => return Ok(Outcome { body: call.encode(&object).body, revision: None }),
                taken => taken,
            }
        } else {
            let stored = call.encode(&object);
            let body = stored.body.clone();
            match services::commit(call, Txn::create(&key, stored), &mut assignment).await? {
                Ok(committed) => {
                    return Ok(Outcome { body, revision: Some(committed.revision) });
                }
                Err(conflict) => conflict.actual,
            }
        };
        if !generated || attempt == NAME_ATTEMPTS {
            return Err(already_exists(call, &name, taken.as_deref()));
        }
        if let Some(metadata) = meta::metadata_mut(&mut object) {
            metadata.remove("name");
        }
        name_and_date(call, &mut object, &uid);
    }
    Err(Status::internal("no free name was found"))
}

/// The server's part of the metadata; at a retry, a new name.
fn name_and_date(call: &Call<'_>, object: &mut Value, uid: &str) {
    let creation = meta::Creation {
        uid,
        now: call.core.now(),
        random: rand::random(),
        has_generation: call.resource.strategy.has_generation(),
    };
    meta::default_create(object, &creation);
}

async fn validate(call: &Call<'_>, object: &mut Value, options: Common) -> Result<(), Status> {
    let strategy = &call.resource.strategy;
    let mut errors = meta::validate_create(call.resource, object);
    errors.extend(strategy.validate(object));
    let name = meta::name(object).to_owned();
    if !errors.is_empty() {
        return Err(call.invalid(&name, &errors));
    }
    let snapshot = call.core.store.snapshot();
    let mut admission = Request {
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
    };
    call.core.admission.validate(&mut admission).await?;
    call.add_warnings(strategy.warnings(object));
    Ok(())
}

fn already_exists(call: &Call<'_>, name: &str, existing: Option<&store::Entry>) -> Status {
    let mut status = Status::already_exists(&call.resource.group, &call.resource.plural, name);
    if existing.is_some_and(|entry| crate::objects::Index::of(entry).is_deleting()) {
        status.message = format!("object is being deleted: {}", status.message);
    }
    status
}
