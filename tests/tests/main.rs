//! Every test that drives the real binary, and the rules about the code base itself.

mod api;
mod comeback;
mod containers;
mod deployments;
mod faults;
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
mod up;
mod watch;
