//! The kinds of apps and batch, and ReplicationControllers.

use super::Context;
use super::format::{
    AGE, CONTAINERS, Definition, IMAGES, NAME, age, bool_word, columns, condition, containers, int, items, labels, map,
    selector, since, text,
};
use crate::kinds::Columns;
use crate::meta;
use crate::selector::Labels;
use crate::time;
use serde_json::Value;

const SELECTOR: Definition = ("Selector", "string", 1, "The query over pods that the object's count is of.");

const DEPLOYMENTS: &[Definition] = &[
    NAME,
    ("Ready", "string", 0, "Number of the pod with ready state"),
    ("Up-to-date", "string", 0, "Number of pods that have the desired template."),
    ("Available", "string", 0, "Number of pods that have been ready for at least minReadySeconds."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const REPLICAS: &[Definition] = &[
    NAME,
    ("Desired", "integer", 0, "The number of desired pods."),
    ("Current", "integer", 0, "The most recently observed number of pods."),
    ("Ready", "integer", 0, "The number of ready pods."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const DAEMONS: &[Definition] = &[
    NAME,
    ("Desired", "integer", 0, "The number of nodes that should run the daemon pod."),
    ("Current", "integer", 0, "The number of nodes that run at least one daemon pod and should."),
    ("Ready", "integer", 0, "The number of nodes with a ready daemon pod."),
    ("Up-to-date", "integer", 0, "The number of nodes that run an updated daemon pod."),
    ("Available", "integer", 0, "The number of nodes with an available daemon pod."),
    ("Node Selector", "string", 0, "The labels that a node must have."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const STATEFUL: &[Definition] =
    &[NAME, ("Ready", "string", 0, "Number of the pod with ready state"), AGE, CONTAINERS, IMAGES];

const JOBS: &[Definition] = &[
    NAME,
    ("Status", "string", 0, "Status of the job."),
    ("Completions", "string", 0, "The number of pods which reached phase Succeeded."),
    ("Duration", "string", 0, "Time required to complete the job."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const CRON_JOBS: &[Definition] = &[
    NAME,
    ("Schedule", "string", 0, "The schedule in Cron format."),
    ("Timezone", "string", 0, "The time zone name for the given schedule."),
    ("Suspend", "boolean", 0, "Whether subsequent executions are suspended."),
    ("Active", "integer", 0, "The number of currently running jobs."),
    ("Last Schedule", "string", 0, "When the job was last successfully scheduled."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const REVISIONS: &[Definition] = &[
    NAME,
    ("Controller", "string", 0, "Controller of the object"),
    ("Revision", "string", 0, "Revision indicates the revision of the state represented by Data."),
    AGE,
];

const TEMPLATE: &str = "/spec/template/spec/containers";

/// The columns of `autoscaling/v1 Scale`.
pub(super) fn scale() -> Columns {
    const DESIRED: &str = "Number of desired instances of the scaled object.";
    const AVAILABLE: &str = "Number of observed instances of the scaled object.";
    let definitions = [NAME, ("Desired", "integer", 0, DESIRED), ("Available", "integer", 0, AVAILABLE), AGE];
    columns(&definitions, |scale, context| {
        let (desired, available) = (int(scale, "/spec/replicas"), int(scale, "/status/replicas"));
        vec![meta::name(scale).into(), desired.into(), available.into(), age(scale, context)]
    })
}

pub(super) fn find(group: &str, kind: &str) -> Option<Columns> {
    Some(match (group, kind) {
        ("apps", "Deployment") => columns(DEPLOYMENTS, deployment),
        ("apps", "ReplicaSet") => columns(REPLICAS, |o, c| replicas(o, c, selector(o.pointer("/spec/selector")))),
        ("", "ReplicationController") => columns(REPLICAS, |o, c| replicas(o, c, labels(map(o, "/spec/selector")))),
        ("apps", "DaemonSet") => columns(DAEMONS, daemon_set),
        ("apps", "StatefulSet") => columns(STATEFUL, stateful_set),
        ("apps", "ControllerRevision") => columns(REVISIONS, revision),
        ("batch", "Job") => columns(JOBS, job),
        ("batch", "CronJob") => columns(CRON_JOBS, cron_job),
        _ => return None,
    })
}

fn deployment(object: &Value, context: &Context) -> Vec<Value> {
    let (names, images) = containers(object, TEMPLATE);
    let selector = match Labels::from_label_selector(object.pointer("/spec/selector")) {
        Ok(selector) => selector.to_string(),
        Err(_) => "<invalid>".into(),
    };
    vec![
        meta::name(object).into(),
        format!("{}/{}", int(object, "/status/readyReplicas"), int(object, "/spec/replicas")).into(),
        int(object, "/status/updatedReplicas").into(),
        int(object, "/status/availableReplicas").into(),
        age(object, context),
        names.into(),
        images.into(),
        selector.into(),
    ]
}

fn replicas(object: &Value, context: &Context, selector: String) -> Vec<Value> {
    let (names, images) = containers(object, TEMPLATE);
    vec![
        meta::name(object).into(),
        int(object, "/spec/replicas").into(),
        int(object, "/status/replicas").into(),
        int(object, "/status/readyReplicas").into(),
        age(object, context),
        names.into(),
        images.into(),
        selector.into(),
    ]
}

fn daemon_set(object: &Value, context: &Context) -> Vec<Value> {
    let (names, images) = containers(object, TEMPLATE);
    let count = |field: &str| Value::from(int(object, field));
    vec![
        meta::name(object).into(),
        count("/status/desiredNumberScheduled"),
        count("/status/currentNumberScheduled"),
        count("/status/numberReady"),
        count("/status/updatedNumberScheduled"),
        count("/status/numberAvailable"),
        labels(map(object, "/spec/template/spec/nodeSelector")).into(),
        age(object, context),
        names.into(),
        images.into(),
        selector(object.pointer("/spec/selector")).into(),
    ]
}

fn stateful_set(object: &Value, context: &Context) -> Vec<Value> {
    let (names, images) = containers(object, TEMPLATE);
    let ready = format!("{}/{}", int(object, "/status/readyReplicas"), int(object, "/spec/replicas"));
    vec![meta::name(object).into(), ready.into(), age(object, context), names.into(), images.into()]
}

fn job(object: &Value, context: &Context) -> Vec<Value> {
    let (names, images) = containers(object, TEMPLATE);
    vec![
        meta::name(object).into(),
        job_status(object).into(),
        job_completions(object).into(),
        job_duration(object, context).into(),
        age(object, context),
        names.into(),
        images.into(),
        selector(object.pointer("/spec/selector")).into(),
    ]
}

fn job_status(object: &Value) -> &'static str {
    let holds = |type_: &str| condition(object, "/status/conditions", type_) == Some("True");
    if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if meta::deletion_timestamp(object).is_some() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn job_completions(object: &Value) -> String {
    let succeeded = int(object, "/status/succeeded");
    let parallelism = int(object, "/spec/parallelism");
    match object.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(completions) => format!("{succeeded}/{completions}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    }
}

fn job_duration(object: &Value, context: &Context) -> String {
    let moment = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).and_then(time::parse);
    match (moment("/status/startTime"), moment("/status/completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => time::human_duration(end.unwrap_or(context.now).duration_since(start)),
    }
}

fn cron_job(object: &Value, context: &Context) -> Vec<Value> {
    let (names, images) = containers(object, "/spec/jobTemplate/spec/template/spec/containers");
    let last = match object.pointer("/status/lastScheduleTime") {
        Some(Value::String(_)) => since(object, "/status/lastScheduleTime", context),
        _ => "<none>".into(),
    };
    let zone = object.pointer("/spec/timeZone").and_then(Value::as_str).unwrap_or("<none>");
    vec![
        meta::name(object).into(),
        text(object, "/spec/schedule").into(),
        zone.into(),
        bool_word(object.pointer("/spec/suspend")).into(),
        items(object, "/status/active").len().into(),
        last.into(),
        age(object, context),
        names.into(),
        images.into(),
        selector(object.pointer("/spec/jobTemplate/spec/selector")).into(),
    ]
}

fn revision(object: &Value, context: &Context) -> Vec<Value> {
    let owner = meta::owner_references(object).iter().find(|o| o["controller"] == true);
    let controller = owner.map_or_else(
        || "<none>".into(),
        |owner| {
            let group = text(owner, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
            let kind = text(owner, "/kind").to_lowercase();
            let dot = if group.is_empty() { "" } else { "." };
            format!("{kind}{dot}{group}/{}", text(owner, "/name"))
        },
    );
    vec![meta::name(object).into(), controller.into(), int(object, "/revision").into(), age(object, context)]
}
