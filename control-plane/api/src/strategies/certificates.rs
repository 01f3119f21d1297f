//! CertificateSigningRequest (`pkg/apis/certificates/validation`, `registry/certificates/certificates/strategy.go`). What is in
//! the PEM of a request is read where requests are admitted; here its outside is looked at.

use super::json::items;
use crate::field::{Error, Path};
use crate::strategy::{Strategy, keep_from_old};
use crate::{names, pem};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeSet;

const MIN_SECONDS: i64 = 600;
const REQUEST: &str = "CERTIFICATE REQUEST";
/// A signer that once took whatever came.
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const DOMAIN_MAX_BYTES: usize = 253;
/// A domain, a slash, a namespace, a dot and a name.
const SIGNER_MAX_BYTES: usize = 253 + 1 + 63 + 1 + 253;
const APPROVAL: &[&str] = &["Approved", "Denied"];
const FINAL: &[&str] = &["Approved", "Denied", "Failed"];
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

pub(super) struct CertificateSigningRequest;

fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn conditions(object: &Value) -> &[Value] {
    object.get("status").map_or(&[], |status| items(status, "conditions"))
}

fn of_type<'v>(object: &'v Value, kind: &str) -> Vec<&'v Value> {
    conditions(object).iter().filter(|condition| text(condition, "/type") == kind).collect()
}

impl Strategy for CertificateSigningRequest {
    fn new_status(&self) -> Option<Value> {
        Some(Value::Object(serde_json::Map::new()))
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep_from_old(object, old, "spec");
        keep_from_old(object, old, "status");
    }

    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        keep_from_old(object, old, "spec");
        for kind in APPROVAL {
            keep_instances(object, old, kind);
        }
    }

    /// `approval` changes the conditions alone.
    fn prepare_subresource_update(&self, _subresource: &str, object: &mut Value, old: &Value) {
        let conditions = object.pointer_mut("/status/conditions").map(Value::take);
        keep_from_old(object, old, "spec");
        keep_from_old(object, old, "status");
        let Some(map) = object.as_object_mut() else { return };
        let status = map.entry("status").or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(status) = status.as_object_mut() {
            match conditions {
                Some(conditions) => status.insert("conditions".into(), conditions),
                None => status.remove("conditions"),
            };
        }
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_spec(object, &mut errors);
        check_conditions(object, &mut errors);
        errors
    }

    /// The spec does not change: what was wrong with it is no news.
    fn validate_change(&self, _object: &Value, _old: &Value) -> Vec<Error> {
        Vec::new()
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_conditions(object, &mut errors);
        let status = Path::new("status");
        let at = status.child("certificate");
        let (new, before) = (text(object, "/status/certificate"), text(old, "/status/certificate"));
        if new != before
            && let Some(why) = pem::certificates_problem(&STANDARD.decode(new).unwrap_or_default())
        {
            errors.push(Error::invalid(&at, "<certificate data>", why));
        }
        keep_decisions(object, old, &mut errors);
        let path = status.child("conditions");
        for kind in APPROVAL {
            let (new, old) = (of_type(object, kind), of_type(old, kind));
            let what = match new.len().cmp(&old.len()) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Greater => "add",
                std::cmp::Ordering::Equal if new != old => "modify",
                std::cmp::Ordering::Equal => continue,
            };
            errors.push(Error::forbidden(&path, format!("updates may not {what} a condition of type {kind:?}")));
        }
        if new != before && !before.is_empty() {
            errors.push(Error::forbidden(&at, "updates may not modify existing certificate content"));
        }
        errors
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_conditions(object, &mut errors);
        keep_decisions(object, old, &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", text(object, "/spec/signerName").to_owned())]
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }
}

/// Puts back the conditions of a type where there are as many of it as before (`preserveConditionInstances`).
fn keep_instances(object: &mut Value, old: &Value, kind: &str) {
    let old = of_type(old, kind);
    if of_type(object, kind).len() != old.len() {
        return;
    }
    let list = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    let new = list.into_iter().flatten().filter(|condition| text(condition, "/type") == kind);
    for (new, old) in new.zip(old) {
        new.clone_from(old);
    }
}

fn check_spec(object: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("spec");
    let request = text(object, "/spec/request");
    let bytes = STANDARD.decode(request).unwrap_or_default();
    if pem::next(&String::from_utf8_lossy(&bytes)).is_none_or(|(block, _)| block.label != REQUEST) {
        let why = "PEM block type must be CERTIFICATE REQUEST";
        errors.push(Error::invalid(&path.child("request"), request, why));
    }
    let usages = object.get("spec").map_or(&[][..], |spec| items(spec, "usages"));
    let at = path.child("usages");
    if usages.is_empty() {
        errors.push(Error::required(&at, ""));
    }
    let words = || usages.iter().map(|usage| usage.as_str().unwrap_or_default()).enumerate();
    for (index, usage) in words().filter(|(_, usage)| !USAGES.contains(usage)) {
        errors.push(Error::not_supported(&at.index(index), usage, USAGES));
    }
    let mut seen = BTreeSet::new();
    for (index, usage) in words() {
        if !seen.insert(usage) {
            errors.push(Error::duplicate(&at.index(index), usage));
        }
    }
    check_signer(text(object, "/spec/signerName"), &path.child("signerName"), errors);
    let seconds = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    if let Some(seconds) = seconds.filter(|seconds| *seconds < MIN_SECONDS) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, why));
    }
}

fn check_signer(name: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if name == LEGACY_SIGNER {
        errors.push(Error::invalid(path, name, "the legacy signerName is not allowed via this API version"));
        return;
    }
    if name.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(Error::invalid(path, name, why));
        return;
    };
    if domain.len() > DOMAIN_MAX_BYTES {
        errors.push(Error::too_long(path, DOMAIN_MAX_BYTES));
    }
    check_labels(domain, names::check_dns1123_label, path, errors);
    if !domain.contains('.') {
        errors.push(Error::invalid(path, domain, "should be a domain with at least two segments separated by dots"));
    }
    check_labels(rest, names::check_dns1123_subdomain, path, errors);
    if name.len() > SIGNER_MAX_BYTES {
        errors.push(Error::too_long(path, SIGNER_MAX_BYTES));
    }
}

/// Complains about the first bad label between the dots.
fn check_labels(part: &str, check: fn(&str) -> Vec<String>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let bad = part.split('.').map(|label| (label, check(label))).find(|(_, complaints)| !complaints.is_empty());
    let (label, complaints) = bad.unwrap_or_default();
    errors.extend(
        complaints.into_iter().map(|why| Error::invalid(path, part, format!("validating label {label:?}: {why}"))),
    );
}

fn check_conditions(object: &Value, errors: &mut Vec<Error>) {
    const EXCLUSIVE: &str = "Approved and Denied conditions are mutually exclusive";
    let status = Path::new("status");
    let path = status.child("conditions");
    let mut seen = BTreeSet::new();
    for (index, condition) in conditions(object).iter().enumerate() {
        let at = path.index(index);
        let (kind, truth) = (text(condition, "/type"), text(condition, "/status"));
        if kind.is_empty() {
            errors.push(Error::required(&at.child("type"), ""));
        }
        let allowed: &[&str] = if FINAL.contains(&kind) { &["True"] } else { &["False", "True", "Unknown"] };
        if truth.is_empty() {
            errors.push(Error::required(&at.child("status"), ""));
        } else if !allowed.contains(&truth) {
            errors.push(Error::not_supported(&at.child("status"), truth, allowed));
        }
        let other = match kind {
            "Approved" => Some("Denied"),
            "Denied" => Some("Approved"),
            _ => None,
        };
        if other.is_some_and(|other| seen.contains(other)) {
            errors.push(Error::invalid(&at.child("type"), kind, EXCLUSIVE));
        }
        if !seen.insert(kind) {
            errors.push(Error::duplicate(&at.child("type"), kind));
        }
    }
}

/// A decision is final.
fn keep_decisions(object: &Value, old: &Value, errors: &mut Vec<Error>) {
    let status = Path::new("status");
    for kind in FINAL {
        if of_type(object, kind).len() < of_type(old, kind).len() {
            let why = format!("updates may not remove a condition of type {kind:?}");
            errors.push(Error::forbidden(&status.child("conditions"), why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(errors: &[Error]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    fn request() -> Value {
        let pem = STANDARD.encode("-----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----\n");
        json!({"spec": {"request": pem, "signerName": "kubernetes.io/kubelet-serving", "usages": ["server auth"]}})
    }

    fn with(kinds: &[&str]) -> Value {
        let conditions: Vec<_> = kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        let mut object = request();
        object["status"] = json!({"conditions": conditions});
        object
    }

    #[test]
    fn a_request_is_pem_for_a_signer_with_usages() {
        assert_eq!(texts(&CertificateSigningRequest.validate(&request())), Vec::<String>::new());
        for (pointer, value, wanted) in [
            ("/spec/usages", json!([]), "spec.usages: Required value"),
            ("/spec/usages", json!(["signing", "signing"]), "spec.usages[1]: Duplicate value: \"signing\""),
            (
                "/spec/request",
                json!(""),
                "spec.request: Invalid value: \"\": PEM block type must be CERTIFICATE REQUEST",
            ),
            ("/spec/signerName", json!(""), "spec.signerName: Required value"),
            (
                "/spec/signerName",
                json!("kubernetes.io/legacy-unknown"),
                "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
            ),
            (
                "/spec/signerName",
                json!("a.b/c/d"),
                "spec.signerName: Invalid value: \"a.b/c/d\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
            ),
            (
                "/spec/signerName",
                json!("ab/c"),
                "spec.signerName: Invalid value: \"ab\": should be a domain with at least two segments separated by dots",
            ),
            (
                "/spec/expirationSeconds",
                json!(599),
                "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)",
            ),
        ] {
            let mut object = request();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            object.pointer_mut(parent).unwrap()[field] = value;
            assert_eq!(texts(&CertificateSigningRequest.validate(&object)), [wanted]);
        }
        let mut odd = request();
        odd["spec"]["usages"] = json!(["odd"]);
        odd["spec"]["signerName"] = "A.b/c_d".into();
        let found = texts(&CertificateSigningRequest.validate(&odd));
        assert!(
            found[0]
                .starts_with("spec.usages[0]: Unsupported value: \"odd\": supported values: \"any\", \"cert sign\""),
            "{found:?}"
        );
        assert!(
            found[1].starts_with(
                "spec.signerName: Invalid value: \"A.b\": validating label \"A\": a lowercase RFC 1123 label"
            ),
            "{found:?}"
        );
        assert!(
            found[2].starts_with(
                "spec.signerName: Invalid value: \"c_d\": validating label \"c_d\": a lowercase RFC 1123 subdomain"
            ),
            "{found:?}"
        );
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn a_decision_is_final_and_made_through_approval() {
        let approve = |new: &[&str], old: &[&str]| {
            texts(&CertificateSigningRequest.validate_subresource_update("approval", &with(new), &with(old)))
        };
        assert_eq!(approve(&["Approved"], &[]), Vec::<String>::new());
        assert_eq!(
            approve(&[], &["Denied"]),
            ["status.conditions: Forbidden: updates may not remove a condition of type \"Denied\""]
        );
        assert_eq!(
            approve(&["Approved", "Denied"], &["Approved"]),
            [
                "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"
            ]
        );
        assert_eq!(approve(&["A", "A"], &[]), ["status.conditions[1].type: Duplicate value: \"A\""]);
        let mut maybe = with(&["Approved"]);
        maybe["status"]["conditions"][0]["status"] = "False".into();
        let found = texts(&CertificateSigningRequest.validate_subresource_update("approval", &maybe, &with(&[])));
        assert_eq!(found, ["status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\""]);
    }

    #[test]
    fn status_gets_certificates_and_no_decisions() {
        let mut new = with(&["Approved", "Failed"]);
        let status = |new: &Value, old: &Value| texts(&CertificateSigningRequest.validate_status_update(new, old));
        assert_eq!(status(&new, &with(&["Approved"])), Vec::<String>::new());
        assert_eq!(
            status(&new, &with(&[])),
            ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
        );
        new["status"]["certificate"] = STANDARD.encode("x").into();
        assert_eq!(
            status(&new, &with(&["Approved"])),
            [
                "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block"
            ]
        );
        let mut old = with(&["Approved"]);
        let mut changed = old.clone();
        changed["status"]["conditions"][0]["message"] = "mine".into();
        CertificateSigningRequest.prepare_status_update(&mut changed, &old);
        assert_eq!(changed, old);
        old["status"]["certificate"] = crate::pem::tests::good().into();
        changed["status"]["certificate"] =
            STANDARD.encode(STANDARD.decode(crate::pem::tests::good()).unwrap().repeat(2)).into();
        assert_eq!(
            status(&changed, &old),
            ["status.certificate: Forbidden: updates may not modify existing certificate content"]
        );
        let mut approval = with(&["Approved"]);
        approval["status"]["certificate"] = "AAAA".into();
        approval["spec"]["signerName"] = "a.b/c".into();
        CertificateSigningRequest.prepare_subresource_update("approval", &mut approval, &request());
        assert_eq!(approval["status"], json!({"conditions": [{"type": "Approved", "status": "True"}]}));
        assert_eq!(approval["spec"], request()["spec"]);
    }
}
