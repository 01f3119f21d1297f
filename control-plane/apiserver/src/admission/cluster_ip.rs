//! Service addresses and node ports: which are taken is what the Services in the store say, kept in memory.
//!
//! Invariant: an address is reserved before the Service that has it is committed and is given back only after the
//! commit that drops it (or a failed one), so no two Services ever have the same.

use super::node_ports;
use crate::net::Cidr;
use api::{Kinds, Resource, Status, field, meta};
use field::{Error as FieldError, Path};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use store::Snapshot;

/// What Services have taken.
pub(crate) struct ServiceAddresses {
    cidr: Cidr,
    taken: Mutex<Taken>,
}

#[derive(Default)]
pub(super) struct Taken {
    ips: HashSet<Ipv4Addr>,
    pub(super) node_ports: HashSet<u16>,
    /// Where the search for a free address goes on.
    next: u32,
}

/// Reservations of one write. Dropped without [`Assignment::keep`], they are given back.
#[must_use]
pub(crate) struct Assignment {
    owner: Arc<ServiceAddresses>,
    ips: Vec<Ipv4Addr>,
    ports: Vec<u16>,
    /// What the write gives up: free once it is committed.
    old_ips: Vec<Ipv4Addr>,
    old_ports: Vec<u16>,
}

impl Assignment {
    /// The write is committed.
    pub(crate) fn keep(mut self) {
        self.ips.clear();
        self.ports.clear();
        let (ips, ports) = (std::mem::take(&mut self.old_ips), std::mem::take(&mut self.old_ports));
        self.owner.free(&ips, &ports);
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        if !(self.ips.is_empty() && self.ports.is_empty()) {
            self.owner.free(&self.ips, &self.ports);
        }
    }
}

impl ServiceAddresses {
    /// What the Services of `snapshot` have.
    pub(crate) fn rebuild(cidr: Cidr, snapshot: &Snapshot, kinds: &Kinds) -> Self {
        let mut taken = Taken { next: 1, ..Taken::default() };
        if let Some(services) = kinds.find("", "v1", "services") {
            for (_, entry) in snapshot.range(&crate::objects::prefix(&services, ""), None) {
                if let Ok(service) = serde_json::from_slice::<Value>(&entry.value.body) {
                    taken.ips.extend(cluster_ips(&service));
                    taken.node_ports.extend(node_ports::of(&service));
                }
            }
        }
        // The first address is the API server's own, whether its Service exists yet or not.
        taken.ips.extend(cidr.nth(0));
        Self { cidr, taken: Mutex::new(taken) }
    }

    /// The address of the API server's own Service.
    pub(crate) fn first(&self) -> Option<Ipv4Addr> {
        self.cidr.nth(0)
    }

    /// Fills the addresses and node ports of a Service that is to be written in place of `old`.
    ///
    /// # Errors
    /// 422 for an address or port that cannot be had; 500 when none is left.
    pub(crate) fn assign(self: &Arc<Self>, service: &mut Value, old: Option<&Value>) -> Result<Assignment, Status> {
        if let Some(old) = old {
            carry_over(service, old);
        }
        let had: Vec<Ipv4Addr> = old.map(cluster_ips).unwrap_or_default();
        let had_ports: Vec<u16> = old.map(node_ports::of).unwrap_or_default();
        let mut assignment =
            Assignment { owner: Arc::clone(self), ips: vec![], ports: vec![], old_ips: vec![], old_ports: vec![] };
        let mut taken = self.taken.lock();
        let outcome = self
            .assign_ip(&mut taken, service, &had, &mut assignment)
            .and_then(|()| node_ports::assign(&mut taken, service, &had_ports, &mut assignment.ports));
        drop(taken);
        outcome.map_err(|error| error.status(service))?;
        let (ips, ports) = (cluster_ips(service), node_ports::of(service));
        assignment.old_ips = had.into_iter().filter(|ip| !ips.contains(ip)).collect();
        assignment.old_ports = had_ports.into_iter().filter(|port| !ports.contains(port)).collect();
        Ok(assignment)
    }

    #[cfg(test)]
    pub(crate) fn has(&self, ip: &str) -> bool {
        ip.parse().is_ok_and(|ip| self.taken.lock().ips.contains(&ip))
    }

    /// A deleted Service gives back what it had.
    pub(crate) fn release(&self, service: &Value) {
        self.free(&cluster_ips(service), &node_ports::of(service));
    }

    fn free(&self, ips: &[Ipv4Addr], ports: &[u16]) {
        let mut taken = self.taken.lock();
        for ip in ips.iter().filter(|ip| Some(**ip) != self.cidr.nth(0)) {
            taken.ips.remove(ip);
        }
        for port in ports {
            taken.node_ports.remove(port);
        }
    }

    fn assign_ip(
        &self,
        taken: &mut Taken,
        service: &mut Value,
        had: &[Ipv4Addr],
        out: &mut Assignment,
    ) -> Result<(), Failure> {
        let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        if spec.get("type").and_then(Value::as_str) == Some("ExternalName") {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                spec.remove(field);
            }
            return Ok(());
        }
        let listed = spec.get("clusterIPs").and_then(|ips| ips.get(0)).and_then(Value::as_str);
        let wanted = spec.get("clusterIP").and_then(Value::as_str).filter(|ip| !ip.is_empty()).or(listed);
        let address = match wanted.map(String::from) {
            Some(none) if none == "None" => none,
            Some(wanted) => {
                self.reserve(taken, &wanted, had, out)?;
                wanted
            }
            None => self.pick(taken, out)?.to_string(),
        };
        spec.insert("clusterIP".into(), address.clone().into());
        spec.insert("clusterIPs".into(), json!([address]));
        spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
        Ok(())
    }

    fn reserve(&self, taken: &mut Taken, wanted: &str, had: &[Ipv4Addr], out: &mut Assignment) -> Result<(), Failure> {
        let refuse = |why: String| Failure::Ip { wanted: wanted.into(), why };
        let Ok(ip) = wanted.parse::<Ipv4Addr>() else {
            return Err(refuse("must be a valid IP address, (e.g. 10.9.8.7)".into()));
        };
        if had.contains(&ip) {
            return Ok(());
        }
        if self.cidr.position(ip).is_none() {
            return Err(refuse(format!(
                "failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}",
                self.cidr
            )));
        }
        if !taken.ips.insert(ip) {
            return Err(refuse(format!("failed to allocate IP {ip}: provided IP is already allocated")));
        }
        out.ips.push(ip);
        Ok(())
    }

    fn pick(&self, taken: &mut Taken, out: &mut Assignment) -> Result<Ipv4Addr, Failure> {
        let usable = self.cidr.usable();
        for _ in 0..usable {
            let position = taken.next % usable.max(1);
            taken.next = position + 1;
            if let Some(ip) = self.cidr.nth(position).filter(|ip| taken.ips.insert(*ip)) {
                out.ips.push(ip);
                return Ok(ip);
            }
        }
        Err(Failure::Exhausted)
    }
}

/// Why a Service cannot have what it asks for.
pub(super) enum Failure {
    Ip { wanted: String, why: String },
    NodePort { index: usize, wanted: i64, why: String },
    Exhausted,
    PortsExhausted,
}

impl Failure {
    fn status(self, service: &Value) -> Status {
        let spec = Path::new("spec");
        let ports = spec.child("ports");
        let error = match self {
            Self::Ip { wanted, why } => FieldError::invalid(&spec.child("clusterIPs"), json!([wanted]), why),
            Self::NodePort { index, wanted, why } => {
                FieldError::invalid(&ports.index(index).child("nodePort"), wanted, why)
            }
            Self::Exhausted => return Status::internal("failed to allocate a serviceIP: range is full"),
            Self::PortsExhausted => return Status::internal("failed to allocate a nodePort: range is full"),
        };
        Status::invalid("", "Service", meta::name(service), &[error])
    }
}

/// Whether the kind is the one that has addresses.
pub(crate) fn concerns(resource: &Resource) -> bool {
    resource.storage == "core/services"
}

/// What an update leaves out stays as it was, while the type stays one that has addresses.
fn carry_over(service: &mut Value, old: &Value) {
    let kind = |v: &Value| v.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP") == "ExternalName";
    if kind(service) || kind(old) {
        return;
    }
    let before = old.get("spec").and_then(Value::as_object);
    let (Some(spec), Some(before)) = (service.get_mut("spec").and_then(Value::as_object_mut), before) else { return };
    if spec.get("clusterIP").and_then(Value::as_str).is_none_or(str::is_empty) && !spec.contains_key("clusterIPs") {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = before.get(field) {
                spec.insert(field.into(), value.clone());
            }
        }
    }
    node_ports::carry_over(spec, before);
}

fn cluster_ips(service: &Value) -> Vec<Ipv4Addr> {
    service.pointer("/spec/clusterIP").and_then(Value::as_str).and_then(|ip| ip.parse().ok()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(cidr: &str) -> Arc<ServiceAddresses> {
        let store = store::Store::open(store::Options::memory()).unwrap();
        Arc::new(ServiceAddresses::rebuild(cidr.parse().unwrap(), &store.snapshot(), &Kinds::builtin()))
    }

    fn service(spec: &Value) -> Value {
        json!({"metadata": {"name": "s"}, "spec": spec})
    }

    fn ip(service: &Value) -> &str {
        service["spec"]["clusterIP"].as_str().unwrap_or("-")
    }

    #[test]
    fn addresses_are_given_once_and_come_back() {
        let all = addresses("10.0.0.0/29");
        let mut services: Vec<Value> = (0..5).map(|_| service(&json!({"ports": []}))).collect();
        for s in &mut services {
            all.assign(s, None).unwrap().keep();
        }
        let distinct: HashSet<&str> = services.iter().map(ip).collect();
        assert_eq!(distinct.len(), 5);
        assert!(!distinct.contains("10.0.0.1"), "the first address is the API server's");
        assert_eq!(all.assign(&mut service(&json!({})), None).err().unwrap().code, 500);
        all.release(&services[2]);
        let mut again = service(&json!({}));
        all.assign(&mut again, None).unwrap().keep();
        assert_eq!(ip(&again), ip(&services[2]));
    }

    #[test]
    fn a_dropped_assignment_frees_its_address() {
        let all = addresses("10.0.0.0/24");
        let asked = json!({"clusterIP": "10.0.0.7"});
        drop(all.assign(&mut service(&asked), None).unwrap());
        all.assign(&mut service(&asked), None).unwrap().keep();
        let error = all.assign(&mut service(&asked), None).err().unwrap();
        insta::assert_snapshot!(error.message, @r#"Service "s" is invalid: spec.clusterIPs: Invalid value: ["10.0.0.7"]: failed to allocate IP 10.0.0.7: provided IP is already allocated"#);
        let outside = all.assign(&mut service(&json!({"clusterIP": "10.9.0.7"})), None).err().unwrap();
        assert_eq!(outside.code, 422);
    }

    #[test]
    fn headless_and_external_services_have_none() {
        let all = addresses("10.0.0.0/24");
        let mut headless = service(&json!({"clusterIP": "None"}));
        all.assign(&mut headless, None).unwrap().keep();
        assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
        let mut plain = service(&json!({}));
        all.assign(&mut plain, None).unwrap().keep();
        let mut external = service(&json!({"type": "ExternalName", "clusterIP": ip(&plain)}));
        all.assign(&mut external, Some(&plain)).unwrap().keep();
        assert_eq!(ip(&external), "-");
        let mut reuse = service(&json!({"clusterIP": ip(&plain)}));
        all.assign(&mut reuse, None).unwrap().keep();
    }

    #[test]
    fn an_update_keeps_what_it_leaves_out() {
        let all = addresses("10.0.0.0/24");
        let mut old = service(&json!({"type": "NodePort", "ports": [{"port": 80}]}));
        all.assign(&mut old, None).unwrap().keep();
        let mut new = service(&json!({"type": "NodePort", "ports": [{"port": 80, "name": "x"}]}));
        all.assign(&mut new, Some(&old)).unwrap().keep();
        assert_eq!(ip(&new), ip(&old));
        assert_eq!(new["spec"]["ports"][0]["nodePort"], old["spec"]["ports"][0]["nodePort"]);
    }
}
