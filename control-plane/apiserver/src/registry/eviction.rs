//! `pods/eviction`: a delete in other words. PodDisruptionBudgets are not looked at yet.

use super::{Call, admit, delete, input, success};
use crate::request::{DeleteOptions, WriteOptions};
use crate::respond;
use api::{Status, Verb, meta};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::Value;

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&call.query, Verb::Create)?;
    let (mut eviction, _) = input::document(call, body, "Eviction").await?;
    input::identify(&mut eviction, "policy/v1", "Eviction")?;
    let name = meta::name(&eviction);
    if !name.is_empty() && name != call.name() {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    admit::body(call, &mut eviction, options.common).await?;
    let requested = eviction.get("deleteOptions").filter(|value| !value.is_null());
    let mut wanted =
        DeleteOptions::parse(&call.query, Some(requested.unwrap_or(&Value::Object(serde_json::Map::new()))))?;
    if options.common.is_dry_run() {
        wanted.common = options.common;
    }
    delete::one(call, call.name(), &wanted).await?;
    Ok(respond::value(call.accept, StatusCode::CREATED, &success(StatusCode::CREATED, Value::Null)))
}
