//! What an object becomes when it goes back: yesterday's intent, today's report. Pure.

use super::policy;
use crate::history::kinds::Place;
use api::meta;
use serde_json::Value;

/// Annotations that a controller writes to keep count; going back would only confuse it.
const COUNTERS: &str = "deployment.kubernetes.io/";
/// Metadata that no user decides.
const SERVERS_OWN: [&str; 7] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// The part of an object that somebody decided.
pub(super) fn intent(place: &Place, object: &Value) -> Value {
    let mut intent = object.clone();
    if let Some(fields) = intent.as_object_mut() {
        fields.remove("status");
    }
    if policy::is_pod(place)
        && let Some(spec) = intent.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.remove("nodeName");
    }
    if let Some(metadata) = meta::metadata_mut(&mut intent) {
        metadata.retain(|key, _| !SERVERS_OWN.contains(&key.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| !key.starts_with(COUNTERS));
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    intent
}

/// `target` in place of `current`, which has the same identity: what somebody decided from `target`, the rest from
/// `current`.
pub(super) fn update(place: &Place, target: &Value, current: &Value) -> Value {
    let mut object = target.clone();
    copy(&mut object, current, &["status"]);
    if policy::is_pod(place) {
        copy_in(&mut object, current, "spec", "nodeName");
    }
    for field in ["uid", "creationTimestamp", "generation"] {
        copy_in(&mut object, current, "metadata", field);
    }
    counters(&mut object, current);
    count(place, &mut object, current);
    object
}

/// `target` where nothing is now. `newest` is the last that there was of it.
pub(super) fn create(place: &Place, target: &Value, newest: Option<&Value>) -> Value {
    let mut object = target.clone();
    if policy::is_pod(place) {
        // A pod that comes back is scheduled and started anew.
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("nodeName");
        }
        match &place.resource {
            Some(row) => row.strategy.prepare_create(&mut object),
            None => remove(&mut object, "status"),
        }
    } else if !policy::keeps_status(place) {
        remove(&mut object, "status");
    }
    if let Some(newest) = newest.filter(|newest| meta::uid(newest) == meta::uid(target)) {
        copy_in(&mut object, newest, "metadata", "generation");
        count(place, &mut object, newest);
    }
    object
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

/// Generations only grow: whoever has seen one must not take this content for that.
fn count(place: &Place, object: &mut Value, before: &Value) {
    let counts = place.resource.as_ref().map_or(meta::generation(before) > 0, |row| row.strategy.has_generation());
    if counts {
        meta::bump_generation(object, before);
    }
}

fn counters(object: &mut Value, current: &Value) {
    let kept: Vec<_> = meta::annotations(current)
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(COUNTERS))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let Some(metadata) = meta::metadata_mut(object) else { return };
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !key.starts_with(COUNTERS));
    }
    if !kept.is_empty() {
        let annotations = metadata.entry("annotations").or_insert_with(|| serde_json::json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.extend(kept);
        }
    }
}

fn copy(into: &mut Value, from: &Value, fields: &[&str]) {
    let Some(map) = into.as_object_mut() else { return };
    for field in fields {
        match from.get(field) {
            Some(value) => map.insert((*field).into(), value.clone()),
            None => map.remove(*field),
        };
    }
}

fn copy_in(into: &mut Value, from: &Value, part: &str, field: &str) {
    let empty = Value::Null;
    if let Some(into) = into.get_mut(part) {
        copy(into, from.get(part).unwrap_or(&empty), &[field]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::kinds::Storages;
    use serde_json::json;

    fn place(key: &str) -> Place {
        Storages::new(&api::Kinds::builtin()).place(key.as_bytes())
    }

    fn deployment(generation: i64, replicas: i64, revision: &str, ready: i64) -> Value {
        json!({"kind": "Deployment", "metadata": {"name": "web", "uid": "u", "generation": generation,
            "annotations": {"deployment.kubernetes.io/revision": revision, "mine": "x"}},
            "spec": {"replicas": replicas}, "status": {"readyReplicas": ready}})
    }

    #[test]
    fn intent_goes_back_and_the_report_stays() {
        let place = place("apps/deployments/default/web");
        let (then, now) = (deployment(1, 1, "1", 1), deployment(4, 3, "2", 3));
        let back = update(&place, &then, &now);
        assert_eq!(back["spec"]["replicas"], 1);
        assert_eq!(back["status"]["readyReplicas"], 3);
        assert_eq!(back["metadata"]["generation"], 5);
        assert_eq!(back["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
        assert_ne!(intent(&place, &then), intent(&place, &now));
        assert_eq!(intent(&place, &then), intent(&place, &deployment(7, 1, "9", 5)));
    }

    #[test]
    fn what_comes_back_keeps_its_identity_and_counts_on() {
        let place = place("apps/deployments/default/web");
        let back = create(&place, &deployment(1, 1, "1", 1), Some(&deployment(4, 3, "2", 3)));
        assert_eq!(back["metadata"]["uid"], "u");
        assert_eq!(back["metadata"]["generation"], 5);
        assert_eq!(back.get("status"), None);
    }

    #[test]
    fn a_pod_that_comes_back_begins_anew() {
        let place = place("core/pods/default/p");
        let pod = json!({"kind": "Pod", "metadata": {"name": "p", "uid": "u"},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1"}});
        let back = create(&place, &pod, Some(&pod));
        assert_eq!(back["spec"].get("nodeName"), None);
        assert_eq!(back["status"]["phase"], "Pending");
        assert_eq!(back["status"].get("podIP"), None);
        let mut unbound = pod.clone();
        unbound["spec"].as_object_mut().unwrap().remove("nodeName");
        assert_eq!(intent(&place, &pod), intent(&place, &unbound));
        assert_eq!(update(&place, &unbound, &pod)["spec"]["nodeName"], "n");
    }

    #[test]
    fn a_finished_job_stays_finished() {
        let place = place("batch/jobs/default/j");
        let job = json!({"kind": "Job", "metadata": {"name": "j", "uid": "u"}, "status": {"succeeded": 1}});
        assert_eq!(create(&place, &job, None)["status"]["succeeded"], 1);
    }
}
