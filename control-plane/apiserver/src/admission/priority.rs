//! `Priority`: a pod's priority is that of its class, or of the class that is the default; only one class is
//! (`plugin/pkg/admission/priority`).

use super::parsed::Parsed;
use super::{Operation, Plugin, Request};
use api::{Status, meta};
use futures::future::{self, BoxFuture};
use serde_json::Value;
use std::sync::Arc;
use store::Snapshot;

const CLASSES: &str = "scheduling.k8s.io/priorityclasses/";
const LOWER: &str = "PreemptLowerPriority";

/// What pods ask of a PriorityClass.
struct Class {
    name: String,
    value: i64,
    policy: String,
    is_default: bool,
}

impl Class {
    fn of(object: &Value) -> Self {
        let policy = object.get("preemptionPolicy").and_then(Value::as_str).unwrap_or(LOWER);
        Self {
            name: meta::name(object).to_owned(),
            value: object.get("value").and_then(Value::as_i64).unwrap_or(0),
            policy: policy.to_owned(),
            is_default: object.get("globalDefault") == Some(&Value::Bool(true)),
        }
    }
}

pub(super) struct Priority {
    classes: Parsed<Class>,
}

impl Priority {
    pub(super) fn new() -> Self {
        Self { classes: Parsed::new(Class::of) }
    }

    /// The default class; of several, which a race may have made, that of the lowest priority.
    fn default_class(&self, snapshot: &Snapshot) -> Option<Arc<Class>> {
        let all = snapshot.range(CLASSES.as_bytes(), None).map(|(key, entry)| self.classes.get(key, entry));
        all.filter(|class| class.is_default).min_by_key(|class| class.value)
    }

    fn pod(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let old = request.old.and_then(|old| old.get("spec"));
        let Some(spec) = request.object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        if let Some(old) = old {
            // An update that leaves them out keeps them; one that changes them fails validation.
            for field in ["priority", "preemptionPolicy"] {
                if spec.get(field).is_none_or(Value::is_null)
                    && let Some(value) = old.get(field)
                {
                    spec.insert(field.into(), value.clone());
                }
            }
            return Ok(());
        }
        let named = spec.get("priorityClassName").and_then(Value::as_str).unwrap_or_default();
        let class = if named.is_empty() {
            self.default_class(request.snapshot)
        } else {
            let key = format!("{CLASSES}{named}");
            let Some(entry) = request.snapshot.get(key.as_bytes()) else {
                let why = format!("no PriorityClass with name {named} was found");
                return Err(request.forbidden(why));
            };
            Some(self.classes.get(key.as_bytes(), entry))
        };
        let (value, policy) = class.as_ref().map_or((0, LOWER), |class| (class.value, class.policy.as_str()));
        if let Some(given) = spec.get("priority").and_then(Value::as_i64).filter(|given| *given != value) {
            let why = format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
            );
            return Err(request.forbidden(why));
        }
        if let Some(given) = spec.get("preemptionPolicy").and_then(Value::as_str).filter(|given| *given != policy) {
            let why = format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
            );
            return Err(request.forbidden(why));
        }
        if let Some(class) = class.as_ref().filter(|_| named.is_empty()) {
            spec.insert("priorityClassName".into(), class.name.clone().into());
        }
        spec.insert("priority".into(), value.into());
        spec.insert("preemptionPolicy".into(), policy.into());
        Ok(())
    }
}

impl Plugin for Priority {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation.is_write() && request.subresource.is_empty() && request.resource.storage == "core/pods"
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(future::ready(self.pod(request)))
    }
}

/// The validating half: there is one default class.
pub(super) struct OneDefault(pub Arc<Priority>);

impl Plugin for OneDefault {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation.is_write()
            && request.subresource.is_empty()
            && request.resource.storage == "scheduling.k8s.io/priorityclasses"
            && request.object.get("globalDefault") == Some(&Value::Bool(true))
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let other = self
            .0
            .default_class(request.snapshot)
            .filter(|class| request.operation == Operation::Create || class.name != meta::name(request.object));
        let result = other.map_or(Ok(()), |class| {
            let name = &class.name;
            Err(request
                .forbidden(format!("PriorityClass {name} is already marked as default. Only one default can exist")))
        });
        Box::pin(future::ready(result))
    }
}
