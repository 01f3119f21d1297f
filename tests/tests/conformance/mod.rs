//! Kubernetes' own end-to-end suites, scenario by scenario: the same requests and the same expectations, with
//! WebAssembly programs in the place of its test images. Each function has the name of Kubernetes' test.

#![allow(clippy::needless_pass_by_value, reason = "what is handed over is written where it is handed over: json!(…)")]

mod apps_deployment;
mod apps_disruption;
mod apps_job;
mod apps_replicas;
mod auth;
#[cfg(feature = "clients")]
mod cli;
#[cfg(feature = "clients")]
mod cli_cluster;
mod hooks;
mod integration;
mod machinery_conversion;
mod machinery_crds;
mod machinery_gc;
mod machinery_namespaces;
mod machinery_protocol;
mod machinery_quota;
mod machinery_watch;
mod machinery_webhooks;
mod network;
mod network_endpoints;
mod node;
mod node_configuration;
mod node_containers;
mod operations;
mod scene;
mod scheduling;
mod stage;
mod storage;
