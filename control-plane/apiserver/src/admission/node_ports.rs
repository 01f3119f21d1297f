//! The node ports of Services: given out of 30000–32767, as in Kubernetes.

use super::allocation_metrics::Scope;
use super::cluster_ip::{Books, Failure};
use super::free::{candidates, static_band};
use super::reservations::Reserved;
use serde_json::{Map, Value};

const FIRST: u16 = 30_000;
const LAST: u16 = 32_767;
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

/// The node ports that a Service has.
pub(super) fn of(service: &Value) -> Vec<u16> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let numbers = ports.iter().filter_map(|port| port.get("nodePort")?.as_u64());
    numbers.filter_map(|port| u16::try_from(port).ok()).filter(|port| *port != 0).collect()
}

/// Checks the ports that the Service names and gives it those it lacks; a Service without node ports loses them. Answers
/// how it comes to each that it did not have.
pub(super) fn assign(books: &Books<'_>, service: &mut Value) -> Result<Vec<Scope>, Failure> {
    let (mut given, mut seen) = (Vec::new(), Vec::new());
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(given) };
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("ClusterIP");
    let wants_none = spec.get("allocateLoadBalancerNodePorts").and_then(Value::as_bool) == Some(false);
    let gives = kind == "NodePort" || (kind == "LoadBalancer" && !wants_none);
    let keeps = matches!(kind, "NodePort" | "LoadBalancer");
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return Ok(given) };
    let number = |port: &Value| port.get("nodePort").and_then(Value::as_i64).filter(|n| *n != 0);
    let named = ports.iter().filter_map(number);
    let mut chosen: Vec<u16> = named.filter_map(|n| u16::try_from(n).ok()).collect();
    for (index, port) in ports.iter_mut().enumerate() {
        let wanted = number(port);
        let Some(port) = port.as_object_mut() else { continue };
        match wanted {
            _ if !keeps => _ = port.remove("nodePort"),
            Some(wanted) => {
                let scope = check(books, index, wanted)?;
                // The same number may stand twice in one Service, for TCP and UDP.
                if !seen.contains(&wanted) {
                    given.extend(scope);
                    seen.push(wanted);
                }
            }
            None if gives => {
                let free = pick(books, &chosen)?;
                chosen.push(free);
                given.push(Scope::Dynamic);
                port.insert("nodePort".into(), free.into());
            }
            None => {}
        }
    }
    Ok(given)
}

/// Whether the Service may have the port that it names; `None`: it has it.
fn check(books: &Books<'_>, index: usize, wanted: i64) -> Result<Option<Scope>, Failure> {
    let refuse = |why: String| Failure::NodePort { index, wanted, why };
    let Some(port) = u16::try_from(wanted).ok().filter(|port| contain(*port)) else {
        let all = shown();
        return Err(refuse(format!("provided port is not in the valid range. The range of valid ports is {all}")));
    };
    let port = Reserved::NodePort(port);
    if books.had.contains(&port) {
        return Ok(None);
    }
    if books.is_free(port) {
        return Ok(Some(Scope::Static));
    }
    Err(refuse("provided port is already allocated".into()))
}

fn pick(books: &Books<'_>, chosen: &[u16]) -> Result<u16, Failure> {
    candidates(0, static_band(SIZE, 32, 128), SIZE, books.core.random())
        .filter_map(|n| u16::try_from(n).ok().map(|n| FIRST + n))
        .find(|port| !chosen.contains(port) && books.is_free(Reserved::NodePort(*port)))
        .ok_or(Failure::PortsExhausted)
}

/// Ports of an update without a node port keep the one that the same port and protocol had.
pub(super) fn carry_over(spec: &mut Map<String, Value>, before: &Map<String, Value>) {
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("ClusterIP");
    if !matches!(kind, "NodePort" | "LoadBalancer") {
        return;
    }
    let protocol = |p: &Value| p.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned();
    let old = before.get("ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return };
    for port in ports.iter_mut().filter(|p| p.get("nodePort").and_then(Value::as_i64).unwrap_or(0) == 0) {
        let same = |o: &&Value| o.get("port") == port.get("port") && protocol(o) == protocol(port);
        if let Some(number) = old.iter().find(same).and_then(|o| o.get("nodePort")).cloned() {
            port["nodePort"] = number;
        }
    }
}
