//! What a cluster holds before anyone has written to it: the system's namespaces and the API server's own Service.
//! Everything that is missing is written in one transaction, so that a first start costs one commit.

use crate::core::Core;
use crate::objects;
use crate::user::APISERVER;
use api::{Resource, Status, meta};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use store::{Snapshot, Txn};

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// How often a start tries again when another server writes the same things.
const ATTEMPTS: usize = 5;

/// # Errors
/// What the store says.
pub(crate) async fn run(core: &Arc<Core>) -> Result<(), Status> {
    for _ in 0..ATTEMPTS {
        let txn = missing(core, &core.store.snapshot());
        if txn.is_empty() || core.commit(APISERVER, txn).await?.is_ok() {
            return Ok(());
        }
    }
    Err(Status::internal("another writer kept changing the system's objects"))
}

fn missing(core: &Core, snapshot: &Snapshot) -> Txn {
    let mut txn = Txn::new();
    let namespaces = core.builtin("", "v1", "namespaces");
    for name in NAMESPACES {
        txn = ensure(core, snapshot, txn, &namespaces, "", json!({"metadata": {"name": name}}), Presence::Exists);
    }
    let Some(service_ip) = core.services.first() else { return txn };
    let services = core.builtin("", "v1", "services");
    txn = ensure(core, snapshot, txn, &services, "default", service(core, service_ip.into()), Presence::Exists);
    let Some(endpoint) = endpoint_ip(core) else { return txn };
    let slices = core.builtin("discovery.k8s.io", "v1", "endpointslices");
    txn = ensure(core, snapshot, txn, &slices, "default", slice(core, endpoint), Presence::Current("/endpoints"));
    let endpoints = core.builtin("", "v1", "endpoints");
    ensure(core, snapshot, txn, &endpoints, "default", endpoints_object(core, endpoint), Presence::Current("/subsets"))
}

/// When an object of ours counts as there.
#[derive(Clone, Copy)]
enum Presence {
    Exists,
    /// What it says at these paths is still so: the port of the last start may not be this one's.
    Current(&'static str),
}

fn ensure(
    core: &Core,
    snapshot: &Snapshot,
    txn: Txn,
    resource: &Arc<Resource>,
    namespace: &str,
    mut object: Value,
    presence: Presence,
) -> Txn {
    let key = objects::key(resource, namespace, meta::name(&object));
    let found = snapshot.get(&key);
    object["kind"] = resource.kind.as_ref().into();
    object["apiVersion"] = resource.api_version().into();
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    resource.strategy.default(&mut object);
    if let Some(entry) = found {
        let Presence::Current(path) = presence else { return txn };
        let Ok(mut old) = objects::parse(resource, &entry.value.body, None) else { return txn };
        let same = |name: &str| old.get(name) == object.get(name);
        if same(path.trim_start_matches('/')) && same("ports") {
            return txn;
        }
        for field in [path.trim_start_matches('/'), "ports"] {
            if let Some(value) = object.get(field) {
                old[field] = value.clone();
            }
        }
        let stored = objects::encode(resource, &old, core.now().as_second());
        return txn.require(&key, entry.mod_revision).put(&key, stored);
    }
    resource.strategy.prepare_create(&mut object);
    let uid = uuid::Uuid::new_v4().to_string();
    let has_generation = resource.strategy.has_generation();
    meta::default_create(&mut object, &meta::Creation { uid: &uid, now: core.now(), random: 0, has_generation });
    let stored = objects::encode(resource, &object, core.now().as_second());
    txn.require(&key, 0).put(&key, stored)
}

fn labels() -> Value {
    json!({"component": "apiserver", "provider": "kubernetes"})
}

fn service(core: &Core, ip: IpAddr) -> Value {
    json!({
        "metadata": {"name": "kubernetes", "labels": labels()},
        "spec": {
            "type": "ClusterIP", "clusterIP": ip.to_string(), "clusterIPs": [ip.to_string()],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": core.address.port()}],
        },
        "status": {"loadBalancer": {}},
    })
}

/// Where the server can be reached from this host: the address it listens on, or loopback when that is all of them.
fn endpoint_ip(core: &Core) -> Option<IpAddr> {
    match core.address.ip() {
        ip if ip.is_unspecified() => Some(IpAddr::from([127, 0, 0, 1])),
        ip @ IpAddr::V4(_) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn slice(core: &Core, ip: IpAddr) -> Value {
    json!({
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ip.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": core.address.port(), "protocol": "TCP"}],
    })
}

fn endpoints_object(core: &Core, ip: IpAddr) -> Value {
    json!({
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{
            "addresses": [{"ip": ip.to_string()}],
            "ports": [{"name": "https", "port": core.address.port(), "protocol": "TCP"}],
        }],
    })
}
