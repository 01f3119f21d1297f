//! What every controller stands on: shared informers, work queues, a runner, events, API access.
//! Knows no controller.

pub mod access;
pub mod batch;
pub mod events;
pub mod informer;
pub mod key;
pub mod leader;
pub mod ledger;
pub mod queue;
pub mod reflector;
pub mod runner;
