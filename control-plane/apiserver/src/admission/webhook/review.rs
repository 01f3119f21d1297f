//! `AdmissionReview`: what a webhook is asked, and what may be believed of its answer (`webhook/request`).

use super::matching;
use crate::admission::{Operation, Options, Request};
use crate::request::Propagation;
use api::status::{Cause, Details};
use api::{Reason, Resource, Status};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Warnings that are taken from one answer, and bytes of each: they become headers of the answer to our own client, where
/// there is room for this much of all together.
const MOST_WARNINGS: usize = 256;
const WARNING_BYTES: usize = 4096;

/// The webhook's part of what is known of an object: in which version it is shown.
pub(super) struct Seen<'a> {
    pub row: &'a Resource,
    /// The kind in the request's own words; a subresource's is another than the object's.
    pub kind: (&'a str, &'a str, &'a str),
    pub request_kind: (&'a str, &'a str, &'a str),
    pub object: &'a Value,
    pub old: &'a Value,
}

fn without_empty(mut map: Value) -> Value {
    if let Some(map) = map.as_object_mut() {
        map.retain(|_, value| !value.is_null() && *value != "" && *value != json!([]) && *value != json!({}));
    }
    map
}

/// `request` of a review, without the objects.
pub(super) fn facts(request: &Request<'_>, seen: &Seen<'_>, uid: &str) -> Value {
    let kind = |(group, version, kind): (&str, &str, &str)| json!({"group": group, "version": version, "kind": kind});
    let resource = |row: &Resource| json!({"group": row.group, "version": row.version, "resource": row.plural});
    let user = request.user;
    let mut facts = without_empty(json!({
        "uid": uid,
        "subResource": request.subresource,
        "requestSubResource": request.subresource,
        "name": request.name,
        "namespace": matching::namespace(request),
    }));
    facts["kind"] = kind(seen.kind);
    facts["resource"] = resource(seen.row);
    facts["requestKind"] = kind(seen.request_kind);
    facts["requestResource"] = resource(request.resource);
    facts["operation"] = request.operation.name().into();
    facts["userInfo"] = without_empty(json!({
        "username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra,
    }));
    facts["dryRun"] = request.dry_run.into();
    facts["options"] = options(request);
    facts
}

/// The options of the request, as far as they were given.
fn options(request: &Request<'_>) -> Value {
    let kind = match request.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let mut options = match &request.beside.options {
        Options::Unknown => json!({}),
        Options::Query(query) => json!({
            "fieldManager": text(query.text("fieldManager")), "fieldValidation": text(query.text("fieldValidation")),
        }),
        Options::Delete(options) => json!({
            "gracePeriodSeconds": options.grace_period_seconds,
            "propagationPolicy": options.propagation.filter(|policy| *policy != Propagation::Cascading).map(|p| format!("{p:?}")),
            "orphanDependents": (options.propagation == Some(Propagation::Cascading)).then_some(false),
            "preconditions": without_empty(json!({
                "uid": options.preconditions.uid, "resourceVersion": options.preconditions.resource_version,
            })),
        }),
    };
    options["kind"] = kind.into();
    options["apiVersion"] = "meta.k8s.io/v1".into();
    if request.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    without_empty(options)
}

/// The body of the question.
pub(super) fn question(facts: &Value, seen: &Seen<'_>, version: &str) -> Vec<u8> {
    // The objects are written where they are: they may be large.
    let head = facts.to_string();
    let mut out = Vec::with_capacity(head.len() + 4096);
    out.extend_from_slice(b"{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"\",\"request\":");
    out.extend_from_slice(&head.as_bytes()[..head.len() - 1]);
    for (field, object) in [("object", seen.object), ("oldObject", seen.old)] {
        out.extend_from_slice(format!(",\"{field}\":").as_bytes());
        serde_json::to_writer(&mut out, object).expect("writing to memory cannot fail");
    }
    out.extend_from_slice(b"}}");
    out
}

/// Whether a webhook may change objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Mutating,
    Validating,
}

/// A believable answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub allowed: bool,
    /// A JSON patch; `None`: nothing is to change.
    pub patch: Option<Value>,
    pub result: Value,
    pub warnings: Vec<String>,
}

/// Reads an answer to the question `uid` in `version`.
///
/// # Errors
/// What is wrong with it: `failed to call webhook: …` or `received invalid webhook response: …`.
pub(super) fn read(bytes: &[u8], uid: &str, version: &str, role: Role) -> Result<Answer, String> {
    let mut review: Value = serde_json::from_slice(bytes)
        .map_err(|error| format!("failed to call webhook: couldn't get version/kind; json parse error: {error}"))?;
    let invalid = |why: String| format!("received invalid webhook response: {why}");
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&review, "apiVersion"), text(&review, "kind"));
    if kind.is_empty() {
        return Err("failed to call webhook: Object 'Kind' is missing in the webhook's answer".into());
    }
    let response = review.get_mut("response").map(Value::take).filter(Value::is_object);
    let Some(response) = response else { return Err(invalid("webhook response was absent".into())) };
    let found = text(&response, "uid");
    if version == "v1" && found != uid {
        return Err(invalid(format!("expected response.uid={uid:?}, got {found:?}")));
    }
    let wanted = format!("admission.k8s.io/{version}");
    if (api_version.as_str(), kind.as_str()) != (wanted.as_str(), "AdmissionReview") {
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        return Err(invalid(format!(
            "expected webhook response of {wanted}, Kind=AdmissionReview, got {group}/{version}, Kind={kind}"
        )));
    }
    let (patch, patch_type) = (text(&response, "patch"), response.get("patchType").and_then(Value::as_str));
    check_patch(&patch, patch_type, version, role).map_err(invalid)?;
    let patch = match patch.as_str() {
        "" => None,
        base64 => Some(decode(base64)?),
    };
    let warnings = response.get("warnings").and_then(Value::as_array).into_iter().flatten();
    Ok(Answer {
        allowed: response.get("allowed") == Some(&Value::Bool(true)),
        patch,
        warnings: warnings.filter_map(Value::as_str).take(MOST_WARNINGS).map(short).collect(),
        result: response.get("status").cloned().unwrap_or_default(),
    })
}

fn check_patch(patch: &str, kind: Option<&str>, version: &str, role: Role) -> Result<(), String> {
    match (role, patch, kind) {
        (Role::Validating, _, _) if version != "v1" => Ok(()),
        (Role::Validating, "", None) => Ok(()),
        (Role::Validating, "", Some(_)) => Err("validating webhook may not return response.patchType".into()),
        (Role::Validating, ..) => Err("validating webhook may not return response.patch".into()),
        (Role::Mutating, "", None) | (Role::Mutating, _, Some("JSONPatch"))
            if version != "v1" || !patch.is_empty() || kind.is_none() =>
        {
            Ok(())
        }
        (Role::Mutating, _, None) if version != "v1" => Ok(()),
        (Role::Mutating, "", Some(_)) => Err("webhook returned response.patchType but not response.patch".into()),
        (Role::Mutating, _, None) => Err("webhook returned response.patch but not response.patchType".into()),
        (Role::Mutating, _, Some(kind)) => Err(format!("webhook returned invalid response.patchType of {kind:?}")),
    }
}

fn decode(base64: &str) -> Result<Value, String> {
    let undecodable = |why: String| format!("received undecodable patch in webhook response: {why}");
    let bytes = STANDARD.decode(base64).map_err(|error| undecodable(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| undecodable(error.to_string()))
}

/// A warning as it may be sent on.
fn short(warning: &str) -> String {
    let clean: String = warning.chars().filter(|c| !c.is_control()).collect();
    let end = (0..=WARNING_BYTES.min(clean.len())).rev().find(|end| clean.is_char_boundary(*end)).unwrap_or_default();
    clean[..end].to_owned()
}

/// A refusal in the webhook's own words (`ToStatusErr`).
pub(super) fn denied(name: &str, result: &Value) -> Status {
    let text = |field: &str| result.get(field).and_then(Value::as_str).unwrap_or_default();
    let head = format!("admission webhook {name:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{head} without explanation"),
        ("", reason) => format!("{head}: {reason}"),
        (message, _) => format!("{head}: {message}"),
    };
    let code = result.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
    // A refusal with a code of success would be none.
    let code = if (400..600).contains(&code) { code } else { 400 };
    let mut status = Status::new(reason(text("reason")), message);
    status.code = code;
    status.details = result.get("details").and_then(Value::as_object).map(|found| Box::new(details(found)));
    status
}

fn reason(text: &str) -> Reason {
    const KNOWN: [Reason; 16] = [
        Reason::Unauthorized,
        Reason::Forbidden,
        Reason::NotFound,
        Reason::AlreadyExists,
        Reason::Conflict,
        Reason::Gone,
        Reason::Expired,
        Reason::Invalid,
        Reason::ServerTimeout,
        Reason::Timeout,
        Reason::TooManyRequests,
        Reason::BadRequest,
        Reason::MethodNotAllowed,
        Reason::NotAcceptable,
        Reason::InternalError,
        Reason::ServiceUnavailable,
    ];
    KNOWN.into_iter().find(|known| format!("{known:?}") == text).unwrap_or(Reason::Unknown)
}

fn details(found: &Map<String, Value>) -> Details {
    let text =
        |map: &Map<String, Value>, field: &str| map.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let causes = found.get("causes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    Details {
        name: text(found, "name"),
        group: text(found, "group"),
        kind: text(found, "kind"),
        uid: text(found, "uid"),
        causes: causes
            .map(|cause| Cause {
                reason: text(cause, "reason"),
                message: text(cause, "message"),
                field: text(cause, "field"),
            })
            .collect(),
        retry_after_seconds: found
            .get("retryAfterSeconds")
            .and_then(Value::as_u64)
            .and_then(|seconds| u32::try_from(seconds).ok())
            .filter(|seconds| *seconds > 0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value, reason = "documents are written where they are used")]

    use super::*;

    fn answer(response: Value) -> Vec<u8> {
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn lies_are_told_as_kubernetes_tells_them() {
        let patch = STANDARD.encode("[]");
        let cases = [
            (json!(null), "webhook response was absent"),
            (json!({"uid": "x"}), "expected response.uid=\"u\", got \"x\""),
            (json!({"uid": "u", "patch": patch}), "webhook returned response.patch but not response.patchType"),
            (
                json!({"uid": "u", "patchType": "JSONPatch"}),
                "webhook returned response.patchType but not response.patch",
            ),
            (
                json!({"uid": "u", "patch": patch, "patchType": "Merge"}),
                "webhook returned invalid response.patchType of \"Merge\"",
            ),
        ];
        for (response, wanted) in cases {
            let error = read(&answer(response), "u", "v1", Role::Mutating).unwrap_err();
            assert_eq!(error, format!("received invalid webhook response: {wanted}"));
        }
        let other = json!({"kind": "Pod", "apiVersion": "v1", "response": {"uid": "u"}}).to_string();
        let error = read(other.as_bytes(), "u", "v1", Role::Mutating).unwrap_err();
        assert!(
            error
                .ends_with("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /v1, Kind=Pod"),
            "{error}"
        );
        let patched = answer(json!({"uid": "u", "patch": patch, "patchType": "JSONPatch", "allowed": true}));
        let error = read(&patched, "u", "v1", Role::Validating).unwrap_err();
        assert!(error.ends_with("validating webhook may not return response.patch"), "{error}");
        let good = read(&patched, "u", "v1", Role::Mutating).unwrap();
        assert!(good.allowed && good.patch == Some(json!([])));
        let nothing = read(&answer(json!({"uid": "u"})), "u", "v1", Role::Mutating).unwrap();
        assert!(!nothing.allowed && nothing.patch.is_none());
        for garbage in ["", "[]", "{}", "null", "{\"kind\":1}"] {
            assert!(read(garbage.as_bytes(), "u", "v1", Role::Mutating).is_err(), "{garbage}");
        }
    }

    #[test]
    fn refusals_keep_their_code_unless_it_is_one_of_success() {
        let status = denied("a.b.c", &json!({"message": "no", "code": 200}));
        assert_eq!((status.code, status.message.as_str()), (400, "admission webhook \"a.b.c\" denied the request: no"));
        let status = denied("a.b.c", &json!({"reason": "Forbidden", "code": 403}));
        assert_eq!((status.code, status.reason), (403, Reason::Forbidden));
        assert_eq!(status.message, "admission webhook \"a.b.c\" denied the request: Forbidden");
        assert!(denied("a.b.c", &Value::Null).message.ends_with("without explanation"));
    }

    #[test]
    fn warnings_fit_into_headers() {
        assert_eq!(short("a\r\nb"), "ab");
        assert_eq!(short(&"é".repeat(WARNING_BYTES)).len(), WARNING_BYTES);
    }
}
