//! `RuntimeClass`: a pod's class must exist; what pods of the class cost beside their containers, and where they may run,
//! goes into the pod (`plugin/pkg/admission/runtimeclass`).

use super::parsed::Parsed;
use super::{Operation, Plugin, Request};
use api::Status;
use api::quantity::Quantity;
use futures::future::{self, BoxFuture};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const CLASSES: &str = "node.k8s.io/runtimeclasses/";

/// What pods ask of a RuntimeClass.
pub(super) struct Class {
    overhead: Option<Map<String, Value>>,
    node_selector: Map<String, Value>,
    tolerations: Vec<Value>,
}

impl Class {
    fn of(object: &Value) -> Self {
        let map = |pointer: &str| object.pointer(pointer).and_then(Value::as_object).cloned();
        let tolerations = object.pointer("/scheduling/tolerations").and_then(Value::as_array);
        Self {
            overhead: object
                .get("overhead")
                .filter(|o| o.is_object())
                .map(|_| map("/overhead/podFixed").unwrap_or_default()),
            node_selector: map("/scheduling/nodeSelector").unwrap_or_default(),
            tolerations: tolerations.cloned().unwrap_or_default(),
        }
    }
}

/// The classes, shared by the two halves.
pub(super) struct Classes(Parsed<Class>);

impl Classes {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Parsed::new(Class::of)))
    }

    fn of(&self, request: &Request<'_>) -> Result<Option<Arc<Class>>, Status> {
        let Some(name) = class_name(request) else { return Ok(None) };
        let key = format!("{CLASSES}{name}");
        match request.snapshot.get(key.as_bytes()) {
            Some(entry) => Ok(Some(self.0.get(key.as_bytes(), entry))),
            None => Err(request.forbidden(format!("pod rejected: RuntimeClass \"{name}\" not found"))),
        }
    }
}

fn class_name<'a>(request: &'a Request<'_>) -> Option<&'a str> {
    request.object.pointer("/spec/runtimeClassName").and_then(Value::as_str)
}

fn is_new_pod(request: &Request<'_>) -> bool {
    request.operation == Operation::Create && request.subresource.is_empty() && request.resource.storage == "core/pods"
}

/// Whether two lists of resources say the same amounts.
fn same_amounts(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    let amount = |value: Option<&Value>| value.and_then(|v| Quantity::from_value(v).ok());
    a.len() == b.len()
        && a.iter().all(|(name, value)| b.contains_key(name) && amount(Some(value)) == amount(b.get(name)))
}

fn overhead(spec: &Value) -> Option<&Map<String, Value>> {
    spec.get("overhead").and_then(Value::as_object)
}

/// The mutating half: overhead, node selector, tolerations.
pub(super) struct Settings(pub Arc<Classes>);

impl Settings {
    fn apply(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let Some(class) = self.0.of(request)? else { return Ok(()) };
        let conflict = {
            let spec = request.object.get("spec").unwrap_or(&Value::Null);
            let given = overhead(spec).zip(class.overhead.as_ref());
            if given.is_some_and(|(pod, class)| !same_amounts(pod, class)) {
                Some("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned())
            } else {
                selector_conflict(spec, &class.node_selector)
            }
        };
        if let Some(why) = conflict {
            return Err(request.forbidden(why));
        }
        let Some(spec) = request.object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        if let Some(fixed) = &class.overhead {
            spec.insert("overhead".into(), Value::Object(fixed.clone()));
        }
        if !class.node_selector.is_empty() {
            let selector = spec.entry("nodeSelector").or_insert_with(|| json!({}));
            if let Some(selector) = selector.as_object_mut() {
                selector.extend(class.node_selector.clone());
            }
        }
        if !class.tolerations.is_empty() {
            let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
            if let Some(tolerations) = tolerations.as_array_mut() {
                let new: Vec<_> = class.tolerations.iter().filter(|t| !tolerations.contains(t)).cloned().collect();
                tolerations.extend(new);
            }
        }
        Ok(())
    }
}

fn selector_conflict(spec: &Value, wanted: &Map<String, Value>) -> Option<String> {
    let given = spec.get("nodeSelector").and_then(Value::as_object)?;
    let (key, value, theirs) =
        wanted.iter().find_map(|(key, value)| Some((key, value, given.get(key).filter(|theirs| *theirs != value)?)))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some(format!(
        "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
        text(value),
        text(theirs)
    ))
}

impl Plugin for Settings {
    fn handles(&self, request: &Request<'_>) -> bool {
        is_new_pod(request) && class_name(request).is_some()
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(future::ready(self.apply(request)))
    }
}

/// The validating half: the overhead is the class's, whoever changed the pod since.
pub(super) struct Overhead(pub Arc<Classes>);

impl Overhead {
    fn check(&self, request: &Request<'_>) -> Result<(), Status> {
        let class = self.0.of(request)?;
        let given = request.object.get("spec").and_then(overhead);
        let why = match (class.as_ref().and_then(|class| class.overhead.as_ref()), given) {
            (None, None) => return Ok(()),
            (Some(wanted), Some(given)) if same_amounts(wanted, given) => return Ok(()),
            (None, Some(_)) => "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            (Some(_), _) => "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        };
        Err(request.forbidden(why))
    }
}

impl Plugin for Overhead {
    fn handles(&self, request: &Request<'_>) -> bool {
        is_new_pod(request)
            && (class_name(request).is_some() || request.object.get("spec").and_then(overhead).is_some())
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(future::ready(self.check(request)))
    }
}
