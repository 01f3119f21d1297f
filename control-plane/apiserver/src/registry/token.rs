//! `serviceaccounts/NAME/token`: a token of the account, bound to it and, where asked, to a Pod, Node or Secret
//! (`pkg/registry/core/serviceaccount/storage/token.go`). Nothing is stored.

use super::{Call, admit, input};
use crate::authn::service_account::{Bound, Claims, ISSUER, Reference};
use crate::objects::Facts;
use crate::request::WriteOptions;
use crate::respond;
use api::field::{Error as FieldError, Path};
use api::{Status, Verb, time};
use axum::body::Body;
use http::{Response, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};
use store::{Entry, Snapshot};

const DEFAULT_SECONDS: i64 = 3_600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
/// What the ServiceAccount admission plugin asks for. Such a token lives for a year, so that programs that never read
/// theirs again go on working, and says from when on that is worth a warning
/// (`--service-account-extend-token-expiration`).
const EXTENDED_SECONDS: i64 = 3_607;
const YEAR_SECONDS: i64 = 365 * 86_400;

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&call.query, Verb::Create)?;
    let mut request = input::object(call, body, options.field_validation).await?;
    admit::body(call, &mut request, options.common).await?;
    let snapshot = call.core.store.snapshot();
    let account = reference(&snapshot, "serviceaccounts", call.namespace(), call.name())?;
    let spec = request.get("spec").cloned().unwrap_or_default();
    let seconds = validated_seconds(&spec)?;
    let mut claims = claims(call, &snapshot, account, &spec)?;
    let now = call.core.now();
    let asked = now.as_second().saturating_add(seconds);
    (claims.iat, claims.nbf, claims.exp) = (now.as_second(), now.as_second(), asked);
    let for_the_api = claims.aud == [ISSUER];
    if seconds == EXTENDED_SECONDS && claims.kubernetes.pod.is_some() && for_the_api {
        claims.exp = now.as_second() + YEAR_SECONDS;
        claims.kubernetes.warnafter = Some(asked);
    }
    let token = if options.common.is_dry_run() {
        String::new()
    } else {
        call.core.tokens.accounts()?.sign(&claims).map_err(Status::internal)?
    };
    let expiration = now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(jiff::Timestamp::MAX);
    let mut answer = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": call.name(), "namespace": call.namespace(), "creationTimestamp": time::format(now),
        },
        "spec": {"audiences": claims.aud, "expirationSeconds": seconds, "boundObjectRef": null},
        "status": {"token": token, "expirationTimestamp": time::format(expiration)},
    });
    if let Some(reference) = spec.get("boundObjectRef").filter(|reference| reference.is_object()) {
        answer["spec"]["boundObjectRef"] = reference.clone();
    }
    Ok(respond::value(call.accept, StatusCode::CREATED, &answer))
}

fn validated_seconds(spec: &Value) -> Result<i64, Status> {
    let seconds = match spec.get("expirationSeconds") {
        None | Some(Value::Null) => DEFAULT_SECONDS,
        Some(value) => {
            value.as_i64().ok_or_else(|| Status::bad_request("spec.expirationSeconds must be an integer"))?
        }
    };
    let why = match seconds {
        ..MIN_SECONDS => "may not specify a duration less than 10 minutes",
        MIN_SECONDS..=MAX_SECONDS => return Ok(seconds),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let error = FieldError::invalid(&Path::new("spec").child("expirationSeconds"), seconds, why);
    Err(Status::invalid("authentication.k8s.io", "TokenRequest", "", &[error]))
}

fn claims(call: &Call<'_>, snapshot: &Snapshot, account: Reference, spec: &Value) -> Result<Claims, Status> {
    let (namespace, name) = (call.namespace(), call.name());
    let audiences = spec.get("audiences").and_then(Value::as_array).into_iter().flatten();
    let mut aud: Vec<String> = audiences.filter_map(|audience| audience.as_str().map(String::from)).collect();
    if aud.is_empty() {
        aud.push(ISSUER.into());
    }
    let mut bound = Bound { namespace: namespace.to_owned(), serviceaccount: account, ..Bound::default() };
    if let Some(wanted) = spec.get("boundObjectRef").filter(|reference| reference.is_object()) {
        bind(&mut bound, snapshot, (namespace, name), wanted)?;
    }
    Ok(Claims {
        aud,
        exp: 0,
        iat: 0,
        iss: ISSUER.into(),
        jti: uuid::Uuid::new_v4().to_string(),
        kubernetes: bound,
        nbf: 0,
        sub: format!("system:serviceaccount:{namespace}:{name}"),
    })
}

fn bind(
    bound: &mut Bound,
    snapshot: &Snapshot,
    (namespace, account): (&str, &str),
    wanted: &Value,
) -> Result<(), Status> {
    let text = |field: &str| wanted.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind, name, uid) = (text("apiVersion"), text("kind"), text("name"), text("uid"));
    let found = match (version, kind) {
        ("v1", "Pod") => {
            let entry = stored(snapshot, "pods", namespace, name)?;
            let pod = facts(entry)?;
            if pod.spec.service_account_name.as_deref().unwrap_or_default() != account {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                )));
            }
            if let Some(node) = pod.spec.node_name.as_deref().filter(|node| !node.is_empty()) {
                // A node that is gone is named all the same: the pod is what the token is bound to.
                let uid = reference(snapshot, "nodes", "", node).map(|node| node.uid).unwrap_or_default();
                bound.node = Some(Reference { name: node.to_owned(), uid });
            }
            bound.pod.insert(pod.into()).clone()
        }
        ("v1", "Secret") => bound.secret.insert(reference(snapshot, "secrets", namespace, name)?).clone(),
        ("v1", "Node") => bound.node.insert(reference(snapshot, "nodes", "", name)?).clone(),
        (version, kind) => {
            return Err(Status::bad_request(format!("cannot bind token to object of type {version}, Kind={kind}")));
        }
    };
    if !uid.is_empty() && uid != found.uid {
        return Err(Status::conflict(
            "",
            kind,
            name,
            format_args!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            ),
        ));
    }
    Ok(())
}

impl From<Facts<'_>> for Reference {
    fn from(facts: Facts<'_>) -> Self {
        Self { name: facts.metadata.name.into_owned(), uid: facts.metadata.uid.into_owned() }
    }
}

/// A stored object of the core group.
fn stored<'s>(snapshot: &'s Snapshot, plural: &str, namespace: &str, name: &str) -> Result<&'s Entry, Status> {
    let key = if namespace.is_empty() {
        format!("core/{plural}/{name}")
    } else {
        format!("core/{plural}/{namespace}/{name}")
    };
    let entry = snapshot.get(key.as_bytes()).ok_or_else(|| Status::not_found("", plural, name))?;
    Ok(entry)
}

fn facts(entry: &Entry) -> Result<Facts<'_>, Status> {
    Facts::of(&entry.value.body).map_err(Status::internal)
}

fn reference(snapshot: &Snapshot, plural: &str, namespace: &str, name: &str) -> Result<Reference, Status> {
    Ok(facts(stored(snapshot, plural, namespace, name)?)?.into())
}
