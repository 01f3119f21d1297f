//! The strategies of the built-in kinds: Kubernetes' defaults, validation and update rules, one file for a
//! kind or a family of kinds.
//!
//! The order that the pipeline keeps at creation: `default`, `meta::default_create` (a Job's selector is
//! made of its uid), `prepare_create`, `validate`.

mod addresses;
mod apps;
pub mod autoscaler;
mod batch;
mod certificates;
mod claim_sources;
mod classes;
mod cluster;
mod config;
mod crd;
mod cron;
mod deprecated;
mod discovery;
pub mod events;
#[cfg(test)]
mod fact_tests;
mod hooks;
#[cfg(test)]
mod hostile_tests;
mod internal;
mod internal_diff;
mod job_policies;
mod json;
mod limits;
pub mod match_conditions;
mod networking;
mod passive;
pub mod pod;
mod policy;
mod rbac;
#[cfg(test)]
mod rule_tests;
mod service;
mod service_unsaid;
mod stateful;
mod storage;
#[cfg(test)]
mod tests;
mod volumes;
mod workloads;

use crate::kinds::Columns;
use crate::strategy::{Plain, Strategy};
use std::sync::Arc;

const RBAC: &str = "rbac.authorization.k8s.io";
const HOOKS: &str = "admissionregistration.k8s.io";

/// The strategy of a built-in kind; `Plain` for kinds without rules of their own.
#[must_use]
pub fn for_kind(group: &str, kind: &str) -> Arc<dyn Strategy> {
    match (group, kind) {
        ("", "Pod") => Arc::new(pod::Pod),
        ("", "PodTemplate") => Arc::new(cluster::PodTemplate),
        ("", "ReplicationController") => Arc::new(apps::ReplicationController),
        ("", "Service") => Arc::new(service::Service),
        ("", "Endpoints") => Arc::new(discovery::Endpoints),
        ("", "ConfigMap") => Arc::new(config::ConfigMap),
        ("", "Secret") => Arc::new(config::Secret),
        ("", "Namespace") => Arc::new(cluster::Namespace),
        ("", "Node") => Arc::new(cluster::Node),
        ("", "Event") => Arc::new(events::CoreEvent),
        (events::EVENTS_GROUP, "Event") => Arc::new(events::NewEvent),
        ("", "LimitRange") => Arc::new(limits::LimitRange),
        ("", "ResourceQuota") => Arc::new(limits::ResourceQuota),
        ("", "PersistentVolume") => Arc::new(volumes::PersistentVolume),
        ("", "PersistentVolumeClaim") => Arc::new(volumes::PersistentVolumeClaim),
        ("", "ServiceAccount") => Arc::new(cluster::ServiceAccount),
        ("apps", "Deployment") => Arc::new(apps::Deployment),
        ("apps", "ReplicaSet") => Arc::new(apps::ReplicaSet),
        ("apps", "DaemonSet") => Arc::new(apps::DaemonSet),
        ("apps", "StatefulSet") => Arc::new(stateful::StatefulSet),
        ("apps", "ControllerRevision") => Arc::new(apps::ControllerRevision),
        ("autoscaling", "HorizontalPodAutoscaler") => Arc::new(autoscaler::Autoscaler),
        ("batch", "Job") => Arc::new(batch::Job),
        ("batch", "CronJob") => Arc::new(batch::CronJob),
        (HOOKS, "MutatingWebhookConfiguration") => Arc::new(hooks::Webhooks::Mutating),
        (HOOKS, "ValidatingWebhookConfiguration") => Arc::new(hooks::Webhooks::Validating),
        (crate::crd::GROUP, "CustomResourceDefinition") => Arc::new(crd::CustomResourceDefinition),
        (RBAC, "Role") => Arc::new(rbac::Rbac::Role),
        (RBAC, "ClusterRole") => Arc::new(rbac::Rbac::ClusterRole),
        (RBAC, "RoleBinding") => Arc::new(rbac::Rbac::RoleBinding),
        (RBAC, "ClusterRoleBinding") => Arc::new(rbac::Rbac::ClusterRoleBinding),
        ("certificates.k8s.io", "CertificateSigningRequest") => Arc::new(certificates::CertificateSigningRequest),
        ("coordination.k8s.io", "Lease") => Arc::new(discovery::Lease),
        ("discovery.k8s.io", "EndpointSlice") => Arc::new(discovery::EndpointSlice),
        _ => passive::find(group, kind).unwrap_or_else(|| Arc::new(Plain)),
    }
}

/// The printed columns of a built-in kind.
#[must_use]
pub fn columns_for(group: &str, kind: &str) -> Columns {
    crate::table::columns_for(group, kind)
}
