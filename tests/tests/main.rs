//! Every test that drives the real binary, and the rules about the code base itself.

#![allow(clippy::unwrap_used, reason = "in a test, helpers included, whatever is not as expected ends it")]

#[cfg(feature = "clients")]
mod admission;
mod api;
#[cfg(feature = "clients")]
mod auth;
#[cfg(feature = "clients")]
mod autoscalers;
mod comeback;
#[cfg(feature = "clients")]
mod commands;
mod conformance;
mod containers;
#[cfg(feature = "clients")]
mod crds;
mod deployments;
mod faults;
#[cfg(feature = "clients")]
mod helm;
mod history;
mod hostile;
mod images;
mod jobs;
mod kube_rs;
#[cfg(feature = "clients")]
mod kubectl;
mod lifecycle;
mod logs;
mod many;
mod multi;
#[cfg(feature = "clients")]
mod node_client;
mod objects;
mod pods;
#[cfg(feature = "clients")]
mod python;
mod rules;
mod run;
mod scheduling;
mod service_cidrs;
mod services;
#[cfg(feature = "clients")]
mod ssa;
mod store;
#[cfg(feature = "clients")]
mod two_servers;
mod up;
mod watch;
mod wire;
