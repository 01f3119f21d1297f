//! The node ports of Services: given out of 30000–32767, as in Kubernetes.

use super::cluster_ip::{Books, Failure, candidates, static_band};
use super::reservations::Reserved;
use serde_json::{Map, Value};

const FIRST: u16 = 30_000;
const LAST: u16 = 32_767;

/// The node ports that a Service has.
pub(super) fn of(service: &Value) -> Vec<u16> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let numbers = ports.iter().filter_map(|port| port.get("nodePort")?.as_u64());
    numbers.filter_map(|port| u16::try_from(port).ok()).filter(|port| *port != 0).collect()
}

/// Checks the ports that the Service names and gives it those it lacks; a Service without node ports loses them.
pub(super) fn assign(books: &Books<'_>, service: &mut Value) -> Result<(), Failure> {
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("ClusterIP");
    let wants_none = spec.get("allocateLoadBalancerNodePorts").and_then(Value::as_bool) == Some(false);
    let gives = kind == "NodePort" || (kind == "LoadBalancer" && !wants_none);
    let keeps = matches!(kind, "NodePort" | "LoadBalancer");
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return Ok(()) };
    let number = |port: &Value| port.get("nodePort").and_then(Value::as_i64).filter(|n| *n != 0);
    let named = ports.iter().filter_map(number);
    let mut chosen: Vec<u16> = named.filter_map(|n| u16::try_from(n).ok()).collect();
    for (index, port) in ports.iter_mut().enumerate() {
        let wanted = number(port);
        let Some(port) = port.as_object_mut() else { continue };
        match wanted {
            _ if !keeps => _ = port.remove("nodePort"),
            Some(wanted) => check(books, index, wanted)?,
            None if gives => {
                let free = pick(books, &chosen)?;
                chosen.push(free);
                port.insert("nodePort".into(), free.into());
            }
            None => {}
        }
    }
    Ok(())
}

fn check(books: &Books<'_>, index: usize, wanted: i64) -> Result<(), Failure> {
    let refuse = |why: &str| Failure::NodePort { index, wanted, why: why.into() };
    let Some(port) = u16::try_from(wanted).ok().filter(|n| (FIRST..=LAST).contains(n)) else {
        return Err(refuse("provided port is not in the valid range. The range of valid ports is 30000-32767"));
    };
    let port = Reserved::NodePort(port);
    if books.had.contains(&port) || books.is_free(port) {
        return Ok(());
    }
    Err(refuse("provided port is already allocated"))
}

fn pick(books: &Books<'_>, chosen: &[u16]) -> Result<u16, Failure> {
    let size = u32::from(LAST - FIRST) + 1;
    candidates(0, static_band(size, 32, 128), size, books.core.random())
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
