//! The pods of a Job. Pure.

use super::account::FINALIZER;
use crate::k8s::api::batch::v1::{Job, JobSpec};
use crate::k8s::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use crate::owners::controller_ref;
use crate::pods;

pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

pub fn pod(job: &Job, spec: &JobSpec) -> Pod {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    let mut pod = pods::from_template(&spec.template, namespace, &pods::name_prefix(name), controller_ref(job));
    pod.metadata.finalizers.get_or_insert_default().push(FINALIZER.into());
    pod
}

/// A pod for one completion index; `failures` of this index so far, where they are counted.
pub fn indexed_pod(job: &Job, spec: &JobSpec, index: i32, failures: Option<i32>) -> Pod {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let mut pod = pod(job, spec);
    pod.metadata.generate_name = Some(pods::name_prefix(&format!("{name}-{index}")));
    pod.metadata.labels.get_or_insert_default().insert(INDEX.into(), index.to_string());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.into(), index.to_string());
    if let Some(failures) = failures {
        annotations.insert(INDEX_FAILURES.into(), failures.to_string());
    }
    if let Some(spec) = pod.spec.as_mut() {
        spec.hostname = Some(format!("{name}-{index}"));
        spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(add_variable);
    }
    pod
}

fn add_variable(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None };
    env.push(EnvVar {
        name: INDEX_VARIABLE.into(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    });
}

/// The completion index of a pod.
pub fn index(pod: &Pod) -> Option<i32> {
    let text = pod.metadata.annotations.as_ref()?.get(INDEX)?;
    text.parse().ok().filter(|index| *index >= 0)
}

/// How often the pod's index had failed before it.
pub fn index_failures(pod: &Pod) -> i32 {
    let text = pod.metadata.annotations.as_ref().and_then(|a| a.get(INDEX_FAILURES));
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}
