//! CertificateSigningRequest (`pkg/apis/certificates/validation`). What is in the PEM is the signers' business.

use crate::field::{Error, Path};
use crate::names;
use crate::strategy::{Strategy, keep_from_old};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const MIN_SECONDS: i64 = 600;
const HEAD: &[u8] = b"-----BEGIN CERTIFICATE REQUEST-----";
const SIGNER_FORM: &str = "must be a fully qualified domain and path of the form 'example.com/signer-name'";

pub(super) struct CertificateSigningRequest;

fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl Strategy for CertificateSigningRequest {
    fn new_status(&self) -> Option<Value> {
        Some(Value::Object(serde_json::Map::new()))
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep_from_old(object, old, "spec");
        keep_from_old(object, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::new("spec");
        let pem = STANDARD.decode(text(object, "/spec/request")).unwrap_or_default();
        if !pem.trim_ascii_start().starts_with(HEAD) {
            let why = "PEM block type must be CERTIFICATE REQUEST";
            errors.push(Error::invalid(&path.child("request"), text(object, "/spec/request"), why));
        }
        let usages = object.pointer("/spec/usages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if usages.is_empty() {
            errors.push(Error::required(&path.child("usages"), ""));
        }
        for (at, usage) in usages.iter().enumerate() {
            if usages[..at].contains(usage) {
                errors.push(Error::duplicate(&path.child("usages").index(at), usage.clone()));
            }
        }
        check_signer(text(object, "/spec/signerName"), &path.child("signerName"), &mut errors);
        let seconds = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
        if let Some(seconds) = seconds.filter(|seconds| *seconds < MIN_SECONDS) {
            let why = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, why));
        }
        errors
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let status = Path::new("status");
        let path = status.child("conditions");
        let has = |object: &Value, kind: &str| {
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
            conditions.into_iter().flatten().any(|condition| text(condition, "/type") == kind)
        };
        let mut errors = Vec::new();
        if has(object, "Approved") && has(object, "Denied") {
            errors.push(Error::invalid(&path, "Denied", "Approved and Denied conditions are mutually exclusive"));
        }
        for kind in ["Approved", "Denied", "Failed"] {
            if has(old, kind) && !has(object, kind) {
                errors.push(Error::forbidden(&path, format!("updates may not remove a condition of type {kind:?}")));
            }
        }
        let certificate = |object: &Value| text(object, "/status/certificate").to_owned();
        if !certificate(old).is_empty() && certificate(object) != certificate(old) {
            let why = "updates may not change non-empty value";
            errors.push(Error::forbidden(&status.child("certificate"), why));
        }
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

fn check_signer(name: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if name.is_empty() {
        return errors.push(Error::required(path, ""));
    }
    match name.split_once('/') {
        Some((domain, rest)) if !rest.is_empty() && domain.contains('.') => {
            let faults = names::check_dns1123_subdomain(domain).into_iter().chain(names::check_dns1123_subdomain(rest));
            errors.extend(faults.map(|why| Error::invalid(path, name, why)));
        }
        _ => errors.push(Error::invalid(path, name, SIGNER_FORM)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_pem_for_a_signer_with_usages() {
        let pem = STANDARD.encode("-----BEGIN CERTIFICATE REQUEST-----\n");
        let good =
            json!({"spec": {"request": pem, "signerName": "kubernetes.io/kubelet-serving", "usages": ["server auth"]}});
        assert!(CertificateSigningRequest.validate(&good).is_empty());
        let bad = json!({"spec": {"request": "", "signerName": "mine", "expirationSeconds": 10}});
        let texts: Vec<_> = CertificateSigningRequest.validate(&bad).iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 4, "{texts:?}");
        assert_eq!(texts[1], "spec.usages: Required value");
    }

    #[test]
    fn a_decision_is_final() {
        let with = |kinds: &[&str]| {
            let conditions: Vec<_> = kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
            json!({"status": {"conditions": conditions}})
        };
        let check =
            |new: &[&str], old: &[&str]| CertificateSigningRequest.validate_status_update(&with(new), &with(old));
        assert!(check(&["Approved"], &[]).is_empty());
        assert_eq!(check(&[], &["Denied"]).len(), 1);
        assert_eq!(check(&["Approved", "Denied"], &["Approved"]).len(), 1);
    }
}
