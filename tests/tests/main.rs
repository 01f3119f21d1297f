//! Every test that drives the real binary, and the rules about the code base itself.

#![allow(clippy::unwrap_used, reason = "in a test, helpers included, whatever is not as expected ends it")]

mod api;
#[cfg(feature = "clients")]
mod auth;
mod comeback;
mod containers;
#[cfg(feature = "clients")]
mod crds;
mod deployments;
mod faults;
mod history;
mod images;
mod jobs;
#[cfg(feature = "clients")]
mod kubectl;
mod lifecycle;
mod logs;
mod many;
mod multi;
mod objects;
mod pods;
mod rules;
mod run;
mod scheduling;
mod services;
#[cfg(feature = "clients")]
mod ssa;
mod store;
#[cfg(feature = "clients")]
mod two_servers;
mod up;
mod watch;
