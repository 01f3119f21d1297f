//! The plugins, in Kubernetes' names and order: filters say why a node cannot take a pod, scores
//! how well it would.

pub(crate) mod affinity;
pub(crate) mod fit;
pub(crate) mod taints;

use std::fmt;
use std::sync::Arc;

use crate::node::Place;
use crate::pod::Pod;

/// Why a node cannot take a pod, in kube-scheduler's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    Unschedulable,
    Taint,
    Affinity,
    /// The pod may only go to nodes it names, and this is none of them.
    NotNamed,
    Ports,
    TooManyPods,
    Insufficient(Arc<str>),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unschedulable => f.write_str("node(s) were unschedulable"),
            Self::Taint => f.write_str("node(s) had untolerated taint(s)"),
            Self::Affinity => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::NotNamed => f.write_str("node(s) didn't satisfy plugin(s) [NodeAffinity]"),
            Self::Ports => f.write_str("node(s) didn't have free ports for the requested pod ports"),
            Self::TooManyPods => f.write_str("Too many pods"),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
        }
    }
}

/// A node's refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub reasons: Vec<Reason>,
    pub remedy: Remedy,
}

/// Whether removing pods could make a node suitable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    FewerPods,
    None,
}

impl Refusal {
    fn for_good(reason: Reason) -> Self {
        Self { reasons: vec![reason], remedy: Remedy::None }
    }
}

/// The filters, in Kubernetes' order; the first one that refuses speaks.
pub(crate) fn filter(place: &Place, pod: &Pod) -> Result<(), Refusal> {
    if place.node.unschedulable && !taints::tolerates_unschedulable(pod) {
        return Err(Refusal::for_good(Reason::Unschedulable));
    }
    if !taints::tolerates(place, pod) {
        return Err(Refusal::for_good(Reason::Taint));
    }
    if !affinity::matches(&place.node, pod) {
        return Err(Refusal::for_good(Reason::Affinity));
    }
    if takes_port(place, pod) {
        return Err(Refusal { reasons: vec![Reason::Ports], remedy: Remedy::FewerPods });
    }
    fit::filter(place, pod)
}

fn takes_port(place: &Place, pod: &Pod) -> bool {
    let taken = &place.used.host_ports;
    pod.host_ports.iter().any(|port| taken.iter().any(|other| port.conflicts(other)))
}
