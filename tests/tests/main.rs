//! Every test that drives the real binary, and the rules about the code base itself.

mod api;
mod faults;
#[cfg(feature = "clients")]
mod kubectl;
mod pods;
mod rules;
mod up;
mod watch;
