//! Fixtures for driving the real `skiff` binary: a cluster of one's own in a temporary folder, on free
//! ports and its own address ranges, stopped when the value goes.
//!
//! Invariant: nothing here knows Skiff's crates. What it can do, any user can.

pub mod binary;
pub mod clients;
pub mod cluster;
pub mod command;
pub mod condition;
pub mod etcd;
pub mod kubectl;
pub mod raw;
pub mod registry;
pub mod rest;
pub mod web;

pub use binary::skiff;
pub use cluster::Cluster;
pub use condition::eventually;
pub use rest::Rest;
