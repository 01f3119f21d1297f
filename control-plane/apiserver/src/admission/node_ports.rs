//! The node ports of Services: given out of 30000–32767, as in Kubernetes.

use super::allocation_metrics::Scope;
use super::cluster_ip::{Books, Failure};
use super::free::{candidates, static_band};
use super::reservations::Reserved;
use serde_json::Value;
use std::collections::HashMap;

const FIRST: u16 = 30_000;
const LAST: u16 = 32_767;
const HEALTH_CHECK: &str = "healthCheckNodePort";
/// How many there are.
pub(super) const SIZE: u32 = LAST as u32 - FIRST as u32 + 1;

/// Whether a port is one of them.
pub(super) fn contain(port: u16) -> bool {
    (FIRST..=LAST).contains(&port)
}

/// As messages show them.
pub(super) fn shown() -> String {
    format!("{FIRST}-{LAST}")
}

/// The node ports that a Service has, that of its health checks among them.
pub(super) fn of(service: &Value) -> Vec<u16> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let check = service.pointer("/spec/healthCheckNodePort").and_then(Value::as_u64);
    let numbers = ports.iter().filter_map(|port| port.get("nodePort")?.as_u64()).chain(check);
    numbers.filter_map(|port| u16::try_from(port).ok()).filter(|port| *port != 0).collect()
}

/// Whether ports that lack a number share one with those of the same port: 53 for TCP and for UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// As in a new Service.
    SamePort,
    No,
}

/// Checks the ports that the Service names and gives it those it lacks. Answers how it comes to each that it did not have.
pub(super) fn assign(books: &Books<'_>, service: &mut Value, sharing: Sharing) -> Result<Vec<Scope>, Failure> {
    let mut given = assign_ports(books, service, sharing)?;
    given.extend(assign_check(books, service)?);
    Ok(given)
}

/// The port that a balancer asks whether this node has endpoints.
fn assign_check(books: &Books<'_>, service: &mut Value) -> Result<Option<Scope>, Failure> {
    let chosen = of(service);
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(None) };
    let says = |field: &str, value: &str| spec.get(field).and_then(Value::as_str) == Some(value);
    if !says("type", "LoadBalancer") || !says("externalTrafficPolicy", "Local") {
        return Ok(None);
    }
    match spec.get(HEALTH_CHECK).and_then(Value::as_i64).filter(|port| *port != 0) {
        Some(wanted) => check(books, wanted).map_err(|why| Failure::HealthCheck { wanted, why }),
        None => {
            spec.insert(HEALTH_CHECK.into(), pick(books, &chosen)?.into());
            Ok(Some(Scope::Dynamic))
        }
    }
}

fn assign_ports(books: &Books<'_>, service: &mut Value, sharing: Sharing) -> Result<Vec<Scope>, Failure> {
    let (mut given, mut seen) = (Vec::new(), Vec::new());
    let mut chosen = of(service);
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(given) };
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("ClusterIP");
    let wants_none = spec.get("allocateLoadBalancerNodePorts").and_then(Value::as_bool) == Some(false);
    let gives = kind == "NodePort" || (kind == "LoadBalancer" && !wants_none);
    if !matches!(kind, "NodePort" | "LoadBalancer") {
        return Ok(given);
    }
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return Ok(given) };
    let number = |port: &Value| port.get("nodePort").and_then(Value::as_i64).filter(|n| *n != 0);
    let target = |port: &Value| port.get("port").and_then(Value::as_i64).unwrap_or(0);
    // The numbers of ports, wherever in the list they are named.
    let mut shared: HashMap<i64, i64> = HashMap::new();
    if sharing == Sharing::SamePort {
        for port in ports.iter() {
            if let Some(number) = number(port) {
                shared.entry(target(port)).or_insert(number);
            }
        }
    }
    for (index, port) in ports.iter_mut().enumerate() {
        let target = target(port);
        match number(port) {
            Some(wanted) => {
                let scope = check(books, wanted).map_err(|why| Failure::NodePort { index, wanted, why })?;
                // The same number may stand twice in one Service, for TCP and UDP.
                if !seen.contains(&wanted) {
                    given.extend(scope);
                    seen.push(wanted);
                }
            }
            None if !gives => {}
            None => {
                let number = match shared.get(&target) {
                    Some(number) => *number,
                    None => {
                        let free = pick(books, &chosen)?;
                        chosen.push(free);
                        given.push(Scope::Dynamic);
                        i64::from(free)
                    }
                };
                if sharing == Sharing::SamePort {
                    shared.insert(target, number);
                }
                port["nodePort"] = number.into();
            }
        }
    }
    Ok(given)
}

/// Whether the Service may have the port that it names; `None`: it has it.
fn check(books: &Books<'_>, wanted: i64) -> Result<Option<Scope>, String> {
    let Some(port) = u16::try_from(wanted).ok().filter(|port| contain(*port)) else {
        return Err(format!("provided port is not in the valid range. The range of valid ports is {}", shown()));
    };
    let port = Reserved::NodePort(port);
    if books.had.contains(&port) {
        return Ok(None);
    }
    if books.is_free(port) {
        return Ok(Some(Scope::Static));
    }
    Err("provided port is already allocated".into())
}

fn pick(books: &Books<'_>, chosen: &[u16]) -> Result<u16, Failure> {
    candidates(0, static_band(SIZE, 32, 128), SIZE, books.core.random())
        .filter_map(|n| u16::try_from(n).ok().map(|n| FIRST + n))
        .find(|port| !chosen.contains(port) && books.is_free(Reserved::NodePort(*port)))
        .ok_or(Failure::PortsExhausted)
}
