//! Resource names and amounts (`pkg/apis/core/validation`, `pkg/apis/core/helper`).

use crate::field::{Error, Path};
use crate::names;
use crate::quantity::Quantity;
use crate::strategies::json::{NON_NEGATIVE, Object, check_name, items, map, present, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

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

pub(in crate::strategies) fn overcommit_allowed(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// A name that may stand in a quota, a limit range or a node's capacity.
pub(in crate::strategies) fn check_resource_name(name: &str, path: &Path<'_>, errors: &mut Vec<Error>) -> bool {
    if !names::is_qualified_name(name) {
        errors.extend(names::check_qualified_name(name).into_iter().map(|m| Error::invalid(path, name, m)));
        return false;
    }
    if !name.contains('/')
        && !STANDARD.contains(&name)
        && !is_huge_page(name)
        && !name.starts_with("requests.hugepages-")
    {
        errors.push(Error::invalid(path, name, "must be a standard resource type or fully qualified"));
        return false;
    }
    true
}

/// A name that may stand in the resources of a container, or in the limits of pods and containers.
pub(in crate::strategies) fn check_container_resource_name(name: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_resource_name(name, path, errors);
    if name.contains('/') {
        if !is_native(name) && !is_extended(name) {
            errors.push(Error::invalid(path, name, "doesn't follow extended resource name standard"));
        }
    } else if !STANDARD_CONTAINER.contains(&name) && !is_huge_page(name) {
        errors.push(Error::invalid(path, name, "must be a standard resource for containers"));
    }
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

/// The names that a list of amounts may have.
type NameRule = fn(&str, &Path<'_>, &mut Vec<Error>);

/// `resources` of a container: names, amounts, requests within limits, claims of the pod.
pub(super) fn check_requirements(resources: &Value, claims: &BTreeSet<&str>, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_amounts(resources, check_container_resource_name, path, errors);
    check_claim_names(resources, claims, &path.child("claims"), errors);
}

fn check_amounts(resources: &Value, check_resource: NameRule, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (limits, requests) = (map(resources, "limits"), map(resources, "requests"));
    let (limit_path, request_path) = (path.child("limits"), path.child("requests"));
    let (mut huge, mut compute) = (false, false);
    for (name, value) in limits.into_iter().flatten() {
        let path = limit_path.key(name);
        check_resource(name, &path, errors);
        let limit = check_quantity(name, value, &path, errors);
        check_huge_page(name, limit, &path, errors);
        huge |= is_huge_page(name);
        compute |= matches!(name.as_str(), "cpu" | "memory");
    }
    for (name, value) in requests.into_iter().flatten() {
        let path = request_path.key(name);
        check_resource(name, &path, errors);
        huge |= is_huge_page(name);
        compute |= matches!(name.as_str(), "cpu" | "memory");
        let request = check_quantity(name, value, &path, errors);
        if let Some(request) = request {
            check_within(name, request, limits, &limit_path, &request_path, errors);
        }
        check_huge_page(name, request, &path, errors);
    }
    if huge && !compute {
        errors.push(Error::forbidden(path, "HugePages require cpu or memory"));
    }
}

fn check_within(
    name: &str,
    request: Quantity,
    limits: Option<&Object>,
    limit_path: &Path<'_>,
    request_path: &Path<'_>,
    errors: &mut Vec<Error>,
) {
    let Some(limit) = limits.and_then(|l| l.get(name)) else {
        if !overcommit_allowed(name) {
            errors.push(Error::required(limit_path, "Limit must be set for non overcommitable resources"));
        }
        return;
    };
    let Ok(limit) = Quantity::from_value(limit) else { return };
    let relation = if request != limit && !overcommit_allowed(name) {
        "equal to"
    } else if request > limit {
        "less than or equal to"
    } else {
        return;
    };
    let detail = format!("must be {relation} {name} limit of {limit}");
    errors.push(Error::invalid(request_path, request.to_string(), detail));
}

/// Huge pages come in whole pages.
fn check_huge_page(name: &str, amount: Option<Quantity>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let size = name.strip_prefix("hugepages-").and_then(|size| Quantity::parse(size).ok());
    let (Some(size), Some(amount)) = (size, amount) else { return };
    let (size, bytes) = (size.value(), amount.value());
    if size <= 0 || bytes < 0 || bytes % size != 0 {
        let detail = format!("{amount} is not positive integer multiple of {name}");
        errors.push(Error::invalid(path, amount.to_string(), detail));
    }
}

/// `resources.claims`: each one of the pod's, each once.
fn check_claim_names(resources: &Value, claims: &BTreeSet<&str>, list: &Path<'_>, errors: &mut Vec<Error>) {
    let (mut seen, mut plain, mut requests) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::<&str, usize>::new());
    for (i, claim) in items(resources, "claims").iter().enumerate() {
        let (path, name, request) = (list.index(i), text(claim, "name"), text(claim, "request"));
        if name.is_empty() {
            errors.push(Error::required(&path, ""));
            continue;
        }
        if plain.contains(name) {
            errors.push(Error::duplicate(&path, name));
        } else {
            let key = if request.is_empty() { name.to_owned() } else { format!("{name}/{request}") };
            if !request.is_empty() {
                check_name(request, &path.child("request"), names::check_dns1123_label, errors);
            }
            if seen.contains(&key) {
                errors.push(Error::duplicate(&path, key.as_str()));
            } else if request.is_empty() {
                for _ in 0..requests.get(name).copied().unwrap_or(0) {
                    errors.push(Error::duplicate(&path, name));
                }
            }
            if request.is_empty() {
                plain.insert(name);
            } else {
                *requests.entry(name).or_default() += 1;
            }
            seen.insert(key);
        }
        if !claims.contains(name) {
            let mut error = Error::not_found(&path, name);
            error.detail = if claims.is_empty() {
                "must be one of the names in pod.spec.resourceClaims which is empty".into()
            } else {
                let known: Vec<&str> = claims.iter().copied().collect();
                format!("must be one of the names in pod.spec.resourceClaims: {}", known.join(", "))
            };
            errors.push(error);
        }
    }
}

/// `resources` of a pod as a whole (`validatePodResources`).
pub(super) fn check_pod_level(spec: &Value, resources: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if spec.pointer("/os/name").is_some_and(|name| name == "windows") {
        return errors.push(Error::forbidden(path, "may not be set for a windows pod"));
    }
    if present(resources, "claims").is_some() {
        let detail = "claims may not be set for Resources at pod-level";
        errors.push(Error::forbidden(&path.child("claims"), detail));
    }
    check_amounts(resources, check_pod_resource_name, path, errors);
    let (requests, limits) = (path.child("requests"), path.child("limits"));
    let own = |list: &str, name: &str| map(resources, list)?.get(name).and_then(|v| Quantity::from_value(v).ok());
    for (name, sum) in crate::amounts::containers(spec, "requests") {
        if let Some(amount) = own("requests", &name).filter(|amount| sum > *amount) {
            let detail = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.push(Error::invalid(&requests.key(&name), amount.to_string(), detail));
        }
    }
    for (name, sum) in crate::amounts::containers(spec, "limits").into_iter().filter(|(name, _)| is_huge_page(name)) {
        if let Some(amount) = own("limits", &name).filter(|amount| sum > *amount) {
            let detail = format!("must be greater than or equal to aggregate container limits of {sum}");
            errors.push(Error::invalid(&limits.key(&name), amount.to_string(), detail));
        }
    }
    let list = path.child("containers");
    for (i, container) in items(spec, "containers").iter().enumerate() {
        let inner = container.get("resources").and_then(|r| map(r, "limits"));
        for (name, value) in inner.into_iter().flatten() {
            let (Some(most), Ok(limit)) = (own("limits", name), Quantity::from_value(value)) else { continue };
            if limit > most {
                let at = list.index(i);
                let detail = format!("must be less than or equal to pod limits of {most}");
                errors.push(Error::invalid(&at.key(name).child("limits"), limit.to_string(), detail));
            }
        }
    }
}

fn check_pod_resource_name(name: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if check_resource_name(name, path, errors) && !matches!(name, "cpu" | "memory") && !is_huge_page(name) {
        errors.push(Error::not_supported(path, name, &["cpu", "memory"]));
    }
}
