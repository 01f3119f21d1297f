//! The rules of `ObjectMeta` (`apimachinery/pkg/api/validation/objectmeta.go`).

use super::{ANNOTATIONS_MAX_BYTES, finalizers, generation, name, namespace, owner_references};
use crate::field::{Error, Path};
use crate::kinds::Resource;
use crate::names;
use serde_json::{Map, Value};
use std::net::IpAddr;

pub(crate) const IMMUTABLE: &str = "field is immutable";

/// How the objects of a kind may be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    Subdomain,
    /// A subdomain of at most this many bytes.
    ShortSubdomain(usize),
    Label,
    PathSegment,
    /// An IP address.
    Address,
}

impl NameRule {
    fn check(self, text: &str) -> Vec<String> {
        match self {
            Self::Subdomain => names::check_dns1123_subdomain(text),
            Self::ShortSubdomain(limit) => {
                let mut errors = names::check_dns1123_subdomain(text);
                if text.len() > limit {
                    errors.push(format!("must be no more than {limit} characters"));
                }
                errors
            }
            Self::Label => names::check_dns1123_label(text),
            Self::PathSegment => names::check_path_segment(text),
            Self::Address => match text.parse::<IpAddr>() {
                Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
                    vec!["must not be an IPv4-mapped IPv6 address".into()]
                }
                Ok(_) => Vec::new(),
                Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
            },
        }
    }
}

/// The rule of a kind.
#[must_use]
pub fn name_rule(group: &str, kind: &str) -> NameRule {
    match (group, kind) {
        ("", "Namespace" | "Service") | ("apps", "StatefulSet") => NameRule::Label,
        ("networking.k8s.io", "IPAddress") => NameRule::Address,
        ("rbac.authorization.k8s.io", _) | ("certificates.k8s.io", "CertificateSigningRequest") => {
            NameRule::PathSegment
        }
        ("batch", "CronJob") => NameRule::ShortSubdomain(52),
        _ => NameRule::Subdomain,
    }
}

/// Everything wrong with the metadata of an object to be created.
#[must_use]
pub fn validate_create(resource: &Resource, object: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("metadata");
    let rule = name_rule(&resource.group, &resource.kind);
    let generate = object.pointer("/metadata/generateName").and_then(Value::as_str).unwrap_or_default();
    if !generate.is_empty() {
        // The trailing dash of a prefix is fine: the suffix follows it.
        let masked = if generate.len() > 1 && generate.ends_with('-') {
            format!("{}a", &generate[..generate.len() - 1])
        } else {
            generate.into()
        };
        for message in rule.check(&masked) {
            errors.push(Error::invalid(&path.child("generateName"), generate, message));
        }
    }
    match name(object) {
        "" => errors.push(Error::required(&path.child("name"), "name or generateName is required")),
        text => {
            for message in rule.check(text) {
                errors.push(Error::invalid(&path.child("name"), text, message));
            }
        }
    }
    check_namespace(resource, object, &path, &mut errors);
    check_common(resource, object, &path, &mut errors);
    errors
}

/// Everything wrong with the metadata of an update. Expects `default_update` to have run.
#[must_use]
pub fn validate_update(resource: &Resource, object: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("metadata");
    if super::deletion_timestamp(old).is_some() {
        let added: Vec<&str> = finalizers(object).filter(|f| !finalizers(old).any(|o| o == *f)).collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            );
            errors.push(Error::forbidden(&path.child("finalizers"), detail));
        }
    }
    if generation(object) < generation(old) {
        errors.push(Error::invalid(&path.child("generation"), generation(object), "must not be decremented"));
    }
    let empty = Value::Null;
    let (new_meta, old_meta) = (object.get("metadata").unwrap_or(&empty), old.get("metadata").unwrap_or(&empty));
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let (new, before) = (&new_meta[field], &old_meta[field]);
        if new != before {
            errors.push(Error::invalid(&path.child(field), new.clone(), IMMUTABLE));
        }
    }
    check_common(resource, object, &path, &mut errors);
    errors
}

/// What an update without a resourceVersion gets where the kind wants one (`unconditional_update` is false).
#[must_use]
pub fn resource_version_required() -> Error {
    Error::invalid(&Path::new("metadata.resourceVersion"), 0, "must be specified for an update")
}

fn check_namespace(resource: &Resource, object: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (path, text) = (path.child("namespace"), namespace(object));
    if !resource.namespaced() {
        if !text.is_empty() {
            errors.push(Error::forbidden(&path, "not allowed on this type"));
        }
    } else if text.is_empty() {
        errors.push(Error::required(&path, ""));
    } else {
        errors.extend(names::check_dns1123_label(text).into_iter().map(|m| Error::invalid(&path, text, m)));
    }
}

fn check_common(resource: &Resource, object: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if generation(object) < 0 {
        errors.push(Error::invalid(
            &path.child("generation"),
            generation(object),
            "must be greater than or equal to 0",
        ));
    }
    validate_labels(super::labels(object), &path.child("labels"), errors);
    check_annotations(super::annotations(object), &path.child("annotations"), errors);
    check_owners(owner_references(object), &path.child("ownerReferences"), errors);
    let list = path.child("finalizers");
    check_finalizers(object, &list, errors);
    // Custom kinds may have finalizers without a path, for they always could; the kinds that make them, too.
    let lenient = matches!(resource.group.as_ref(), "apiextensions.k8s.io" | "apiregistration.k8s.io");
    if resource.custom.is_none() && !lenient {
        for (i, finalizer) in finalizers(object).enumerate() {
            check_plain_finalizer(finalizer, &list.index(i), errors);
        }
    }
}

/// A finalizer without a domain is one of Kubernetes' own.
pub(crate) fn check_plain_finalizer(finalizer: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if !finalizer.contains('/') && !matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion") {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        errors.push(Error::invalid(path, finalizer, detail));
    }
}

/// The rules of a map of labels, wherever it stands (`spec.template.metadata.labels`, selectors, …).
pub fn validate_labels(labels: Option<&Map<String, Value>>, path: &Path<'_>, errors: &mut Vec<Error>) {
    for (key, value) in labels.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if !names::is_qualified_name(key) {
            errors.extend(names::check_qualified_name(key).into_iter().map(|m| Error::invalid(path, key.as_str(), m)));
        }
        if !names::is_label_value(value) {
            errors.extend(names::check_label_value(value).into_iter().map(|m| Error::invalid(path, value, m)));
        }
    }
}

pub(crate) fn check_annotations(annotations: Option<&Map<String, Value>>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut bytes = 0_usize;
    for (key, value) in annotations.into_iter().flatten() {
        bytes = bytes.saturating_add(key.len()).saturating_add(value.as_str().map_or(0, str::len));
        if !names::is_qualified_name(key) {
            // Upper case is allowed in the prefix of an annotation.
            let lower = key.to_ascii_lowercase();
            errors
                .extend(names::check_qualified_name(&lower).into_iter().map(|m| Error::invalid(path, key.as_str(), m)));
        }
    }
    if bytes > ANNOTATIONS_MAX_BYTES {
        errors.push(Error::too_long(path, ANNOTATIONS_MAX_BYTES));
    }
}

fn check_owners(owners: &[Value], path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut controller: Option<String> = None;
    for owner in owners {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let api_version = text("apiVersion");
        if api_version.rsplit('/').next().is_none_or(str::is_empty) {
            errors.push(Error::invalid(&path.child("apiVersion"), api_version, "version must not be empty"));
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                errors.push(Error::invalid(&path.child(field), "", "must not be empty"));
            }
        }
        if api_version == "v1" && text("kind") == "Event" {
            errors.push(Error::invalid(path, owner.clone(), "/v1, Kind=Event is disallowed from being an owner"));
        }
        if owner["controller"] == true {
            let this = format!("{}/{}", text("kind"), text("name"));
            match &controller {
                Some(first) => errors.push(Error::invalid(
                    path,
                    owners.to_vec(),
                    format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"),
                )),
                None => controller = Some(this),
            }
        }
    }
}

fn check_finalizers(object: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (mut orphan, mut foreground) = (false, false);
    for finalizer in finalizers(object) {
        orphan |= finalizer == "orphan";
        foreground |= finalizer == "foregroundDeletion";
        errors.extend(names::check_qualified_name(finalizer).into_iter().map(|m| Error::invalid(path, finalizer, m)));
    }
    if orphan && foreground {
        let all: Vec<Value> = finalizers(object).map(Value::from).collect();
        errors.push(Error::invalid(path, all, "finalizer orphan and foregroundDeletion cannot be both set"));
    }
}
