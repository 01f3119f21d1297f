//! Resource names and amounts (`pkg/apis/core/validation`, `pkg/apis/core/helper`).

use crate::field::{Error, Path};
use crate::names;
use crate::quantity::Quantity;
use crate::strategies::json::{NON_NEGATIVE, Object, map};
use serde_json::Value;

/// The Quantity regular expression's error text, for values that cannot be read.
const STANDARD_CONTAINER: &[&str] = &["cpu", "memory", "ephemeral-storage"];
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];
const INTEGER: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// A resource that Kubernetes itself defines: unprefixed, or under `kubernetes.io/`.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// A resource of somebody else's, such as `skiff.dev/fuel`: whole numbers, and never overcommitted.
pub(in crate::strategies) fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::is_qualified_name(&format!("requests.{name}"))
}

fn overcommit_allowed(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// A name that may stand in a quota, a limit range or a node's capacity.
pub(in crate::strategies) fn check_resource_name(name: &str, path: &Path<'_>, errors: &mut Vec<Error>) -> bool {
    if !names::is_qualified_name(name) {
        errors.extend(names::check_qualified_name(name).into_iter().map(|m| Error::invalid(path, name, m)));
        return false;
    }
    if !name.contains('/') && !STANDARD.contains(&name) && !is_huge_page(name) && !name.starts_with("count/") {
        errors.push(Error::invalid(path, name, "must be a standard resource type or fully qualified"));
        return false;
    }
    true
}

fn check_container_resource_name(name: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if name.contains('/') {
        if check_resource_name(name, path, errors) && !is_native(name) && !is_extended(name) {
            errors.push(Error::invalid(path, name, "doesn't follow extended resource name standard"));
        }
        return;
    }
    if STANDARD_CONTAINER.contains(&name) || is_huge_page(name) {
        return;
    }
    check_resource_name(name, path, errors);
    errors.push(Error::invalid(path, name, "must be a standard resource for containers"));
}

/// The amount, or a complaint: not a quantity, negative, or a fraction of what comes in wholes.
pub(in crate::strategies) fn check_quantity(
    name: &str,
    value: &Value,
    path: &Path<'_>,
    errors: &mut Vec<Error>,
) -> Option<Quantity> {
    let quantity = match Quantity::from_value(value) {
        Ok(quantity) => quantity,
        Err(error) => {
            errors.push(Error::invalid(path, value.clone(), error.to_string()));
            return None;
        }
    };
    if quantity.is_negative() {
        errors.push(Error::invalid(path, quantity.to_string(), NON_NEGATIVE));
    }
    if (INTEGER.contains(&name) || is_extended(name)) && !quantity.is_integer() {
        errors.push(Error::invalid(path, quantity.to_string(), "must be an integer"));
    }
    Some(quantity)
}

/// A list of resources with any standard or qualified names.
pub(in crate::strategies) fn check_list(list: Option<&Object>, path: &Path<'_>, errors: &mut Vec<Error>) {
    for (name, value) in list.into_iter().flatten() {
        let path = path.key(name);
        check_resource_name(name, &path, errors);
        check_quantity(name, value, &path, errors);
    }
}

/// `resources` of a container: names, amounts, and requests within limits.
pub(in crate::strategies) fn check_requirements(resources: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (limits, requests) = (map(resources, "limits"), map(resources, "requests"));
    let (limit_path, request_path) = (path.child("limits"), path.child("requests"));
    let (mut huge, mut compute) = (false, false);
    for (name, value) in limits.into_iter().flatten() {
        let path = limit_path.key(name);
        check_container_resource_name(name, &path, errors);
        check_quantity(name, value, &path, errors);
        huge |= is_huge_page(name);
        compute |= matches!(name.as_str(), "cpu" | "memory");
    }
    for (name, value) in requests.into_iter().flatten() {
        let path = request_path.key(name);
        check_container_resource_name(name, &path, errors);
        huge |= is_huge_page(name);
        compute |= matches!(name.as_str(), "cpu" | "memory");
        let Some(request) = check_quantity(name, value, &path, errors) else { continue };
        let Some(limit) = limits.and_then(|l| l.get(name)) else {
            if !overcommit_allowed(name) {
                errors.push(Error::required(&limit_path, "Limit must be set for non overcommitable resources"));
            }
            continue;
        };
        let Ok(limit) = Quantity::from_value(limit) else { continue };
        let relation = if request != limit && !overcommit_allowed(name) {
            "equal to"
        } else if request > limit {
            "less than or equal to"
        } else {
            continue;
        };
        let detail = format!("must be {relation} {name} limit of {limit}");
        errors.push(Error::invalid(&request_path, request.to_string(), detail));
    }
    if huge && !compute {
        errors.push(Error::forbidden(path, "HugePages require cpu or memory"));
    }
}
