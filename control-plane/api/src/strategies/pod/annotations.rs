//! Annotations of pods and pod templates that say what fields say now (`ValidatePodSpecificAnnotations`).

use super::containers::LISTS;
use super::scheduling::check_tolerations;
use super::volumes::check_descending;
use crate::field::{Error, Path};
use crate::meta;
use crate::strategies::json::{items, present, text};
use serde_json::Value;
use std::cell::LazyCell;
use std::collections::HashSet;

pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Rules of the annotations themselves; `holder` is a pod or a template, `path` that of its annotations.
pub(super) fn check(holder: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(annotations) = meta::annotations(holder).filter(|a| !a.is_empty()) else { return };
    let spec = holder.get("spec").unwrap_or(&Value::Null);
    let value = |key: &str| annotations.get(key).and_then(Value::as_str);
    if let Some(mirror) = value(MIRROR)
        && text(spec, "nodeName").is_empty()
    {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(Error::invalid(&path.key(MIRROR), mirror, detail));
    }
    if let Some(list) = value(TOLERATIONS).filter(|list| !list.is_empty()) {
        match serde_json::from_str::<Vec<Value>>(list) {
            Ok(list) => check_tolerations(&list, &path.child(TOLERATIONS), errors),
            Err(problem) => errors.push(Error::invalid(path, TOLERATIONS, problem.to_string())),
        }
    }
    if let Some(cost) = value(DELETION_COST)
        && !is_deletion_cost(cost)
    {
        errors.push(Error::invalid(&path.key(DELETION_COST), cost, "must be a 32bit integer"));
    }
    let all = || LISTS.iter().flat_map(|list| items(spec, list)).map(|container| text(container, "name"));
    let containers = LazyCell::new(|| all().collect::<HashSet<&str>>());
    for (key, profile) in annotations {
        let profile = profile.as_str().unwrap_or_default();
        if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            check_seccomp(profile, &path.child(key), errors);
        }
        if let Some(name) = key.strip_prefix(APPARMOR) {
            if !containers.contains(name) {
                errors.push(Error::invalid(&path.key(key), name, "container not found"));
            }
            if !(matches!(profile, "" | "runtime/default" | "unconfined") || profile.starts_with("localhost/")) {
                let detail = format!("invalid AppArmor profile name: {profile:?}");
                errors.push(Error::invalid(&path.key(key), profile, detail));
            }
        }
    }
}

/// A whole number of 32 bits without a sign or leading zeroes that change nothing.
fn is_deletion_cost(text: &str) -> bool {
    let canonical = text.strip_prefix('-').unwrap_or(text);
    let leading = canonical.len() > 1 && canonical.starts_with('0');
    !text.starts_with('+') && !leading && text.parse::<i32>().is_ok()
}

fn check_seccomp(profile: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => {}
        other => match other.strip_prefix("localhost/") {
            Some(place) => check_descending(place, path, errors),
            None => errors.push(Error::invalid(path, profile, "must be a valid seccomp profile")),
        },
    }
}

/// An annotation and the field that replaced it say the same, at creation.
pub(super) fn check_matches(holder: &Value, spec_path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(annotations) = meta::annotations(holder).filter(|a| !a.is_empty()) else { return };
    let spec = holder.get("spec").unwrap_or(&Value::Null);
    let value = |key: &str| annotations.get(key).and_then(Value::as_str);
    let profile = |holder: &'_ Value, field: &str| {
        holder.get("securityContext").and_then(|context| present(context, field)).cloned()
    };
    if let (Some(annotation), Some(wanted)) = (value(SECCOMP_POD), profile(spec, "seccompProfile")) {
        let at = spec_path.child("securityContext.seccompProfile");
        check_match("seccomp", annotation, &wanted, &["runtime/default", "docker/default"], &at, errors);
    }
    let on_windows = spec.pointer("/os/name").is_some_and(|name| name == "windows");
    for list in [LISTS[1], LISTS[0], LISTS[2]] {
        let at = spec_path.child(list);
        for (i, container) in items(spec, list).iter().enumerate() {
            let (at, name) = (at.index(i), text(container, "name"));
            let own = profile(container, "seccompProfile");
            if let (Some(annotation), Some(wanted)) = (value(&format!("{SECCOMP_CONTAINER}{name}")), own) {
                let at = at.child("securityContext.seccompProfile");
                check_match("seccomp", annotation, &wanted, &["runtime/default", "docker/default"], &at, errors);
            }
            let own = profile(container, "appArmorProfile").or_else(|| profile(spec, "appArmorProfile"));
            if let (Some(annotation), Some(wanted), false) = (value(&format!("{APPARMOR}{name}")), own, on_windows) {
                let at = at.child("securityContext.appArmorProfile");
                check_match("apparmor", annotation, &wanted, &["runtime/default"], &at, errors);
            }
        }
    }
}

fn check_match(
    what: &str,
    annotation: &str,
    profile: &Value,
    defaults: &[&str],
    path: &Path<'_>,
    errors: &mut Vec<Error>,
) {
    let place = annotation.strip_prefix("localhost/");
    let same_type = match text(profile, "type") {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => defaults.contains(&annotation),
        "Localhost" => place.is_some(),
        _ => true,
    };
    if !same_type {
        let detail = format!("{what} type in annotation and field must match");
        errors.push(Error::forbidden(&path.child("type"), detail));
    } else if text(profile, "type") == "Localhost" && profile.get("localhostProfile").and_then(Value::as_str) != place {
        let detail = format!("{what} profile in annotation and field must match");
        errors.push(Error::forbidden(&path.child("localhostProfile"), detail));
    }
}

/// What an update may not do to annotations.
pub(super) fn check_update(pod: &Value, old: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("metadata.annotations");
    let value = |pod: &Value, key: &str| meta::annotation(pod, key).map(str::to_owned);
    for (key, _) in meta::annotations(old).into_iter().flatten() {
        if value(pod, key) == value(old, key) {
            continue;
        }
        if key.starts_with(APPARMOR) {
            errors.push(Error::forbidden(&path.key(key), "may not remove or update AppArmor annotations"));
        }
        if key == MIRROR {
            errors.push(Error::forbidden(&path.key(key), "may not remove or update mirror pod annotation"));
        }
    }
    for (key, _) in meta::annotations(pod).into_iter().flatten().filter(|(key, _)| value(old, key).is_none()) {
        if key.starts_with(APPARMOR) {
            errors.push(Error::forbidden(&path.key(key), "may not add AppArmor annotations"));
        }
        if key == MIRROR {
            errors.push(Error::forbidden(&path.key(key), "may not add mirror pod annotation"));
        }
    }
}
