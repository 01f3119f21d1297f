//! The node ports of Services: given out of 30000–32767, as in Kubernetes.

use super::cluster_ip::{Failure, Taken};
use serde_json::{Map, Value};

const FIRST: u16 = 30_000;
const LAST: u16 = 32_767;

/// The node ports that a Service has.
pub(super) fn of(service: &Value) -> Vec<u16> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let numbers = ports.iter().filter_map(|port| port.get("nodePort")?.as_u64());
    numbers.filter_map(|port| u16::try_from(port).ok()).filter(|port| *port != 0).collect()
}

/// Reserves the ports that the Service names and gives it those it lacks; a Service without node ports loses them.
pub(super) fn assign(
    taken: &mut Taken,
    service: &mut Value,
    had: &[u16],
    reserved: &mut Vec<u16>,
) -> Result<(), Failure> {
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("ClusterIP");
    let wants_none = spec.get("allocateLoadBalancerNodePorts").and_then(Value::as_bool) == Some(false);
    let gives = kind == "NodePort" || (kind == "LoadBalancer" && !wants_none);
    let keeps = matches!(kind, "NodePort" | "LoadBalancer");
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return Ok(()) };
    for (index, port) in ports.iter_mut().enumerate() {
        let Some(port) = port.as_object_mut() else { continue };
        match port.get("nodePort").and_then(Value::as_i64).filter(|n| *n != 0) {
            _ if !keeps => _ = port.remove("nodePort"),
            Some(wanted) => reserve(taken, index, wanted, had, reserved)?,
            None if gives => {
                let free = (FIRST..=LAST).find(|n| taken.node_ports.insert(*n)).ok_or(Failure::PortsExhausted)?;
                reserved.push(free);
                port.insert("nodePort".into(), free.into());
            }
            None => {}
        }
    }
    Ok(())
}

fn reserve(taken: &mut Taken, index: usize, wanted: i64, had: &[u16], reserved: &mut Vec<u16>) -> Result<(), Failure> {
    let refuse = |why: &str| Failure::NodePort { index, wanted, why: why.into() };
    let Some(port) = u16::try_from(wanted).ok().filter(|n| (FIRST..=LAST).contains(n)) else {
        return Err(refuse("provided port is not in the valid range. The range of valid ports is 30000-32767"));
    };
    // The same number may stand twice in one Service, for TCP and UDP.
    if had.contains(&port) || reserved.contains(&port) {
        return Ok(());
    }
    if !taken.node_ports.insert(port) {
        return Err(refuse("provided port is already allocated"));
    }
    reserved.push(port);
    Ok(())
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
