//! Kinds that are served in two versions and stored in one.

use api::Resource;
use api::strategies::{autoscaler, events};
use serde_json::Value;

const AUTOSCALERS: &str = "autoscaling/horizontalpodautoscalers";

/// A stored object in the version that `resource` serves.
pub(super) fn to_served(object: &mut Value, resource: &Resource) {
    convert(object, resource, Direction::ToServed);
    object["apiVersion"] = resource.api_version().into();
}

/// An object of `resource`'s version in the one that is stored.
pub(super) fn to_stored(object: &mut Value, resource: &Resource) {
    convert(object, resource, Direction::ToStored);
    object["apiVersion"] = resource.storage_api_version.as_ref().into();
}

/// An object of `resource`'s version that takes the place of `stored`, in the version that is stored.
pub(super) fn to_stored_over(object: &mut Value, resource: &Resource, stored: &Value) {
    to_stored(object, resource);
    if resource.storage.as_ref() == AUTOSCALERS {
        autoscaler::restore(object, stored);
    }
}

/// An object that `from` serves as `to` would serve it; both are rows of one storage.
pub(crate) fn between(object: &Value, from: &Resource, to: &Resource) -> Value {
    let mut object = object.clone();
    to_stored(&mut object, from);
    to_served(&mut object, to);
    object
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServed,
    ToStored,
}

fn convert(object: &mut Value, resource: &Resource, direction: Direction) {
    if super::wire::is_native(resource) {
        return;
    }
    match (resource.storage.as_ref(), direction) {
        ("core/events", Direction::ToServed) => events::convert(object, &resource.group),
        ("core/events", Direction::ToStored) => events::convert(object, ""),
        (AUTOSCALERS, Direction::ToServed) => autoscaler::to_v1(object),
        (AUTOSCALERS, Direction::ToStored) => autoscaler::to_v2(object),
        _ => {}
    }
}
