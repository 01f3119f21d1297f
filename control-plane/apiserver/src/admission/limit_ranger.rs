//! `LimitRanger`: what containers leave out is filled in, and what they ask for is held between the limits of their
//! namespace (`plugin/pkg/admission/limitranger`).

use super::parsed::Parsed;
use super::{Operation, Plugin, Request};
use api::amounts::{self, Amounts};
use api::quantity::Quantity;
use api::{Status, meta};
use futures::future::{self, BoxFuture};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const PODS: &str = "core/pods";
const CLAIMS: &str = "core/persistentvolumeclaims";

/// One item of `spec.limits`.
struct Limit {
    kind: String,
    max: Amounts,
    min: Amounts,
    default: Amounts,
    default_request: Amounts,
    ratio: Amounts,
}

fn limits(object: &Value) -> Vec<Limit> {
    let list = object.pointer("/spec/limits").and_then(Value::as_array).into_iter().flatten();
    list.map(|item| Limit {
        kind: item.get("type").and_then(Value::as_str).unwrap_or_default().to_owned(),
        max: amounts::read(item.get("max")),
        min: amounts::read(item.get("min")),
        default: amounts::read(item.get("default")),
        default_request: amounts::read(item.get("defaultRequest")),
        ratio: amounts::read(item.get("maxLimitRequestRatio")),
    })
    .collect()
}

/// The LimitRanges of namespaces.
pub(super) struct LimitRanges(Parsed<Vec<Limit>>);

impl LimitRanges {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Parsed::new(limits)))
    }

    fn of(&self, request: &Request<'_>) -> Vec<Arc<Vec<Limit>>> {
        let prefix = format!("core/limitranges/{}/", request.namespace);
        request.snapshot.range(prefix.as_bytes(), None).map(|(key, entry)| self.0.get(key, entry)).collect()
    }
}

/// The mutating half: defaults of containers.
pub(super) struct Defaults(pub Arc<LimitRanges>);

impl Plugin for Defaults {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation == Operation::Create && request.subresource.is_empty() && request.resource.storage == PODS
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        for limits in self.0.of(request) {
            fill(request.object, &limits);
        }
        Box::pin(future::ready(Ok(())))
    }
}

/// The validating half: what is asked for lies between the limits. Of updates it looks at claims and at pods' resizes: all
/// other amounts never change.
pub(super) struct Bounds(pub Arc<LimitRanges>);

impl Plugin for Bounds {
    fn handles(&self, request: &Request<'_>) -> bool {
        match (request.resource.storage.as_ref(), request.operation, request.subresource) {
            (PODS | CLAIMS, Operation::Create, "") | (PODS, Operation::Update, "resize") => true,
            (CLAIMS, Operation::Update, "") => request.old.is_none_or(|old| meta::deletion_timestamp(old).is_none()),
            _ => false,
        }
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let is_pod = request.resource.storage == PODS;
        let all = self.0.of(request);
        let found = all
            .iter()
            .map(|limits| if is_pod { check_pod(request.object, limits) } else { check_claim(request.object, limits) });
        // The first LimitRange that is violated speaks.
        let result = found.into_iter().find(|violations| !violations.is_empty());
        let result = result.map_or(Ok(()), |violations| Err(request.forbidden(aggregate(&violations))));
        Box::pin(future::ready(result))
    }
}

/// Errors as Go's `Aggregate` prints them.
fn aggregate(violations: &[String]) -> String {
    match violations {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn fill(pod: &mut Value, limits: &[Limit]) {
    let (mut requests, mut ceilings) = (Amounts::new(), Amounts::new());
    for limit in limits.iter().filter(|limit| limit.kind == "Container") {
        requests.extend(limit.default_request.clone());
        ceilings.extend(limit.default.clone());
    }
    if requests.is_empty() && ceilings.is_empty() {
        return;
    }
    let mut notes = Vec::new();
    for (field, what) in [("containers", "container"), ("initContainers", "init container")] {
        let list = pod.pointer_mut(&format!("/spec/{field}")).and_then(Value::as_array_mut);
        for container in list.into_iter().flatten().filter_map(Value::as_object_mut) {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let filled = fill_container(container, &requests, &ceilings);
            for (names, kind) in filled.iter().zip(["request", "limit"]).filter(|(names, _)| !names.is_empty()) {
                notes.push(format!("{} {kind} for {what} {name}", names.join(", ")));
            }
        }
    }
    if notes.is_empty() {
        return;
    }
    let note = format!("LimitRanger plugin set: {}", notes.join("; "));
    if let Some(metadata) = meta::metadata_mut(pod) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if !annotations.is_object() {
            *annotations = json!({});
        }
        annotations[ANNOTATION] = note.into();
    }
}

/// The names of what was filled in: requests, limits.
fn fill_container(container: &mut Map<String, Value>, requests: &Amounts, limits: &Amounts) -> [Vec<String>; 2] {
    let resources = container.entry("resources").or_insert_with(|| json!({}));
    if !resources.is_object() {
        *resources = json!({});
    }
    [("requests", requests), ("limits", limits)].map(|(field, defaults)| {
        let mut names = Vec::new();
        for (name, amount) in defaults {
            if resources.get(field).and_then(|list| list.get(name)).is_none() {
                if !resources[field].is_object() {
                    resources[field] = json!({});
                }
                resources[field][name] = amount.to_string().into();
                names.push(name.clone());
            }
        }
        names
    })
}

fn check_pod(pod: &Value, limits: &[Limit]) -> Vec<String> {
    let mut violations = Vec::new();
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    for limit in limits {
        match limit.kind.as_str() {
            "Container" => {
                for field in ["containers", "initContainers"] {
                    for container in spec.get(field).and_then(Value::as_array).into_iter().flatten() {
                        let requests = amounts::read(container.pointer("/resources/requests"));
                        let ceilings = amounts::read(container.pointer("/resources/limits"));
                        check(limit, &requests, &ceilings, &mut violations);
                    }
                }
            }
            "Pod" => check(limit, &amounts::pod_requests(spec), &amounts::pod_limits(spec), &mut violations),
            _ => {}
        }
    }
    violations
}

fn check(limit: &Limit, requests: &Amounts, limits: &Amounts, violations: &mut Vec<String>) {
    let Limit { kind, .. } = limit;
    for (name, enforced) in &limit.min {
        let head = format!("minimum {name} usage per {kind} is {enforced}");
        match (requests.get(name), limits.get(name)) {
            (None, _) => violations.push(format!("{head}.  No request is specified")),
            (Some(request), _) if request < enforced => violations.push(format!("{head}, but request is {request}")),
            (_, Some(limit)) if limit < enforced => violations.push(format!("{head}, but limit is {limit}")),
            _ => {}
        }
    }
    for (name, enforced) in &limit.max {
        let head = format!("maximum {name} usage per {kind} is {enforced}");
        match (requests.get(name), limits.get(name)) {
            (_, None) => violations.push(format!("{head}.  No limit is specified")),
            (_, Some(limit)) if limit > enforced => violations.push(format!("{head}, but limit is {limit}")),
            (Some(request), _) if request > enforced => violations.push(format!("{head}, but request is {request}")),
            _ => {}
        }
    }
    for (name, enforced) in &limit.ratio {
        violations.extend(check_ratio((name, kind), *enforced, requests.get(name), limits.get(name)));
    }
}

fn check_ratio(
    (name, kind): (&str, &str),
    enforced: Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let head = format!("{name} max limit to request ratio per {kind} is {enforced}");
    let Some(request) = request.filter(|request| !request.is_zero()) else {
        return Some(format!("{head}, but no request is specified or request is 0"));
    };
    let Some(limit) = limit.filter(|limit| !limit.is_zero()) else {
        return Some(format!("{head}, but no limit is specified or limit is 0"));
    };
    let ratio = as_float(*limit) / as_float(*request);
    (ratio > as_float(enforced)).then(|| format!("{head}, but provided ratio is {ratio:.6}"))
}

#[expect(clippy::cast_precision_loss, reason = "Kubernetes compares ratios as floating point numbers, too")]
fn as_float(amount: Quantity) -> f64 {
    amount.nanos() as f64 / 1e9
}

fn check_claim(claim: &Value, limits: &[Limit]) -> Vec<String> {
    let requests = amounts::read(claim.pointer("/spec/resources/requests"));
    let mut violations = Vec::new();
    for limit in limits.iter().filter(|limit| limit.kind == "PersistentVolumeClaim") {
        let bounds =
            limit.min.iter().map(|bound| ("minimum", bound)).chain(limit.max.iter().map(|bound| ("maximum", bound)));
        for (word, (name, enforced)) in bounds {
            let head = format!("{word} {name} usage per PersistentVolumeClaim is {enforced}");
            match requests.get(name) {
                None => violations.push(format!("{head}.  No request is specified")),
                Some(request)
                    if (word == "minimum" && request < enforced) || (word == "maximum" && request > enforced) =>
                {
                    violations.push(format!("{head}, but request is {request}"));
                }
                Some(_) => {}
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value, reason = "documents are written where they are used")]

    use super::*;

    fn range(limit: Value) -> Vec<Limit> {
        limits(&json!({"spec": {"limits": [limit]}}))
    }

    fn pod(resources: Value) -> Value {
        json!({"metadata": {}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn what_containers_leave_out_is_filled_in_and_noted() {
        let range = range(
            json!({"type": "Container", "default": {"cpu": "1", "memory": "2Gi"}, "defaultRequest": {"cpu": "500m"}}),
        );
        let mut object = pod(json!({"limits": {"memory": "1Gi"}}));
        object["spec"]["initContainers"] = json!([{"name": "i"}]);
        fill(&mut object, &range);
        assert_eq!(
            object["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})
        );
        assert_eq!(
            object["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu request for container c; cpu limit for container c; \
             cpu request for init container i; cpu, memory limit for init container i"
        );
        let before = object.clone();
        fill(&mut object, &range);
        assert_eq!(object, before);
    }

    #[test]
    fn violations_are_told_as_kubernetes_tells_them() {
        let container = |bound: &str, amount: &str| range(json!({"type": "Container", bound: {"cpu": amount}}));
        let both = |request: &str, limit: &str| pod(json!({"requests": {"cpu": request}, "limits": {"cpu": limit}}));
        let cases = [
            (
                container("min", "100m"),
                pod(json!({})),
                "minimum cpu usage per Container is 100m.  No request is specified",
            ),
            (container("min", "100m"), both("50m", "1"), "minimum cpu usage per Container is 100m, but request is 50m"),
            (
                container("max", "1"),
                pod(json!({"requests": {"cpu": "1"}})),
                "maximum cpu usage per Container is 1.  No limit is specified",
            ),
            (container("max", "1"), both("1", "2"), "maximum cpu usage per Container is 1, but limit is 2"),
            (
                container("maxLimitRequestRatio", "2"),
                both("1", "3"),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
            ),
            (
                container("maxLimitRequestRatio", "2"),
                pod(json!({})),
                "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
            ),
            (
                range(json!({"type": "Pod", "max": {"cpu": "1"}})),
                both("1", "2"),
                "maximum cpu usage per Pod is 1, but limit is 2",
            ),
        ];
        for (range, object, wanted) in cases {
            assert_eq!(check_pod(&object, &range), [wanted]);
        }
        assert!(check_pod(&both("1", "2"), &container("maxLimitRequestRatio", "2")).is_empty());
        let claim = json!({"spec": {"resources": {"requests": {"storage": "5Gi"}}}});
        let claims =
            range(json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}));
        assert_eq!(
            check_claim(&claim, &claims),
            ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 5Gi"]
        );
        assert_eq!(aggregate(&["a".into(), "b".into()]), "[a, b]");
    }
}
