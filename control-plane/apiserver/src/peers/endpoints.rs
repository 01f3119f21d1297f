//! The endpoints of the Service `default/kubernetes`: all servers that are there. Servers on the same port share an
//! EndpointSlice, for a slice has one list of ports.

use crate::bootstrap;
use crate::core::Core;
use crate::objects::{self, Index};
use api::Resource;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use store::{Snapshot, Txn};

const NAMESPACE: &str = "default";
const SERVICE: (&str, &str) = ("kubernetes.io/service-name", "kubernetes");
/// Whoever else makes slices for the Service keeps them.
const MANAGED_BY: (&str, &str) = ("endpointslice.kubernetes.io/managed-by", "skiff.dev/apiserver");

/// Adds to `txn` what makes the objects say `live`; nothing where they do.
pub(super) fn reconcile(core: &Core, snapshot: &Snapshot, live: &BTreeSet<SocketAddr>, mut txn: Txn) -> Txn {
    let mut by_port: BTreeMap<u16, Vec<IpAddr>> = BTreeMap::new();
    for server in live {
        by_port.entry(server.port()).or_default().push(server.ip());
    }
    let endpoints = core.builtin("", "v1", "endpoints");
    txn = write(core, snapshot, txn, &endpoints, endpoints_object(&by_port), &["subsets"]);
    let slices = core.builtin("discovery.k8s.io", "v1", "endpointslices");
    let mut kept = BTreeSet::new();
    for (index, (port, ips)) in by_port.iter().enumerate() {
        let name = if index == 0 { "kubernetes".into() } else { format!("kubernetes-{port}") };
        kept.insert(objects::key(&slices, NAMESPACE, &name));
        txn = write(core, snapshot, txn, &slices, slice(&name, *port, ips), &["endpoints", "ports"]);
    }
    let range = objects::prefix(&slices, NAMESPACE);
    let ours = snapshot.range(&range, None).filter(|(_, e)| Index::of(e).label(MANAGED_BY.0) == Some(MANAGED_BY.1));
    for (key, entry) in ours.filter(|(key, _)| !kept.contains(*key)) {
        txn = txn.require(key, entry.mod_revision).delete(key);
    }
    txn
}

/// Creates `object`, or gives the one that is there its `fields`.
fn write(
    core: &Core,
    snapshot: &Snapshot,
    txn: Txn,
    resource: &Arc<Resource>,
    mut object: Value,
    fields: &[&str],
) -> Txn {
    object["metadata"]["namespace"] = NAMESPACE.into();
    let key = objects::key(resource, NAMESPACE, api::meta::name(&object));
    let Some(entry) = snapshot.get(&key) else {
        return txn.require(&key, 0).put(&key, bootstrap::fresh(core, resource, object));
    };
    let Ok(mut old) = objects::parse(resource, &entry.value.body, None) else { return txn };
    resource.strategy.default(&mut object);
    if fields.iter().all(|field| old.get(*field) == object.get(*field)) {
        return txn;
    }
    for field in fields {
        old[*field] = object[*field].take();
    }
    txn.require(&key, entry.mod_revision).put(&key, objects::encode(resource, &old, core.now().as_second()))
}

fn port(number: u16) -> Value {
    json!([{"name": "https", "port": number, "protocol": "TCP"}])
}

fn slice(name: &str, number: u16, ips: &[IpAddr]) -> Value {
    let endpoints: Vec<Value> =
        ips.iter().map(|ip| json!({"addresses": [ip.to_string()], "conditions": {"ready": true}})).collect();
    json!({
        "metadata": {"name": name, "labels": BTreeMap::from([SERVICE, MANAGED_BY])},
        "addressType": "IPv4", "endpoints": endpoints, "ports": port(number),
    })
}

fn endpoints_object(by_port: &BTreeMap<u16, Vec<IpAddr>>) -> Value {
    let subset = |(number, ips): (&u16, &Vec<IpAddr>)| {
        let addresses: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
        json!({"addresses": addresses, "ports": port(*number)})
    };
    json!({
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": by_port.iter().map(subset).collect::<Vec<Value>>(),
    })
}
