//! What a cluster holds before anyone has written to it: the system's namespaces and the API server's own Service.
//! Everything that is missing is written in one transaction, so that a first start costs one commit.

use crate::admission::{repair as service_repair, reservations, service_cidrs};
use crate::authz::policy::{self, PolicyObject, Step};
use crate::config::Sharing;
use crate::core::Core;
use crate::objects;
use crate::own_events::Warning;
use crate::user::APISERVER;
use api::{Resource, Status, meta, schema, time};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use store::{Snapshot, Txn};

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// The classes of the system's own pods (`pkg/apis/scheduling/v1/helpers.go`).
const PRIORITY_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];
/// How often a start tries again when another server writes the same things.
const ATTEMPTS: usize = 5;

/// Operations in one transaction where others write to the store, too: etcd takes 128 at once.
const OPERATIONS: usize = 100;

/// # Errors
/// What the store says.
pub(crate) async fn run(core: &Arc<Core>) -> Result<(), Status> {
    for _ in 0..ATTEMPTS {
        let txn = missing(core, &core.latest().await?);
        if txn.is_empty() || write(core, txn).await? {
            let repaired = service_repair::repair(core).await?;
            if repaired > 0 {
                tracing::info!(repaired, "records of Services' addresses repaired");
            }
            return tell_of_another_range(core).await;
        }
    }
    Err(Status::internal("another writer kept changing the system's objects"))
}

/// Writes anew what users have taken away or changed of the server's own Service, its endpoints and the system's
/// namespaces. Roles and classes wait for the next start, as in Kubernetes.
///
/// # Errors
/// What the store says.
pub(crate) async fn repair(core: &Arc<Core>) -> Result<(), Status> {
    let txn = own_objects(core, &core.latest().await?, Txn::new());
    if !txn.is_empty() && write(core, txn).await? {
        tracing::info!("the server's own objects were not as they should be: written anew");
    }
    Ok(())
}

/// Whether all of `txn` was written: at once, or in parts where that would be too much for the store behind.
async fn write(core: &Core, mut txn: Txn) -> Result<bool, Status> {
    if core.sharing == Sharing::Alone {
        return Ok(core.commit(APISERVER, txn).await?.is_ok());
    }
    while !txn.is_empty() {
        let rest = Txn {
            ops: txn.ops.split_off(txn.ops.len().min(OPERATIONS)),
            compare: txn.compare.split_off(txn.compare.len().min(OPERATIONS)),
            author: txn.author.clone(),
        };
        if core.commit(APISERVER, txn).await?.is_err() {
            return Ok(false);
        }
        txn = rest;
    }
    Ok(true)
}

fn missing(core: &Core, snapshot: &Snapshot) -> Txn {
    let mut txn = default_roles(core, snapshot, Txn::new());
    let accounts = core.builtin("", "v1", "serviceaccounts");
    for name in NAMESPACES {
        // A controller would make it, too; pods that come with the cluster need not wait for that.
        let account = json!({"metadata": {"name": "default"}});
        txn = ensure(core, snapshot, txn, &accounts, name, account, Presence::Exists);
    }
    let classes = core.builtin("scheduling.k8s.io", "v1", "priorityclasses");
    for (name, value, description) in PRIORITY_CLASSES {
        let class = json!({"metadata": {"name": name}, "value": value, "description": description});
        txn = ensure(core, snapshot, txn, &classes, "", class, Presence::Exists);
    }
    own_objects(core, snapshot, txn)
}

/// The system's namespaces, and what makes the server reachable from within.
fn own_objects(core: &Core, snapshot: &Snapshot, mut txn: Txn) -> Txn {
    let namespaces = core.builtin("", "v1", "namespaces");
    for name in NAMESPACES {
        txn = ensure(core, snapshot, txn, &namespaces, "", json!({"metadata": {"name": name}}), Presence::Exists);
    }
    let cidrs = core.builtin("networking.k8s.io", "v1", "servicecidrs");
    txn = ensure(core, snapshot, txn, &cidrs, "", service_cidr(core), Presence::Exists);
    txn = own_service(core, snapshot, txn);
    if core.sharing == Sharing::Shared {
        // Who serves the API is for all servers together to say: `crate::peers`.
        return txn;
    }
    let Some(endpoint) = endpoint_ip(core) else { return txn };
    let slices = core.builtin("discovery.k8s.io", "v1", "endpointslices");
    txn = ensure(core, snapshot, txn, &slices, "default", slice(core, endpoint), Presence::Current("/endpoints"));
    let endpoints = core.builtin("", "v1", "endpoints");
    ensure(core, snapshot, txn, &endpoints, "default", endpoints_object(core, endpoint), Presence::Current("/subsets"))
}

/// Kubernetes' default roles and bindings: made where they are missing, completed where something was taken away.
fn default_roles(core: &Core, snapshot: &Snapshot, mut txn: Txn) -> Txn {
    for PolicyObject { plural, namespace, object } in policy::objects() {
        let resource = core.builtin("rbac.authorization.k8s.io", "v1", plural);
        let key = objects::key(&resource, &namespace, meta::name(&object));
        let Some(entry) = snapshot.get(&key) else {
            txn = txn.require(&key, 0).put(&key, fresh(core, &resource, object));
            continue;
        };
        let body = &entry.value.body;
        let stored = match policy::step(&object, body, || objects::parse(&resource, body, None).ok()) {
            Step::Nothing => continue,
            Step::Update(updated) => objects::encode(&resource, &updated, core.now().as_second()),
            Step::Replace => fresh(core, &resource, object),
        };
        txn = txn.require(&key, entry.mod_revision).put(&key, stored);
    }
    txn
}

/// The API server's own Service, and the record of its address. One that is there keeps the address that it has, whatever
/// `--service-cluster-ip-range` says now.
fn own_service(core: &Core, snapshot: &Snapshot, txn: Txn) -> Txn {
    let kept = service_address(core, snapshot);
    let Some(ip) = kept.or(core.services.first()) else { return txn };
    let (key, record) = reservations::of_apiserver(core, ip);
    let txn = match snapshot.get(&key) {
        None => txn.require(&key, 0).put(&key, record),
        Some(entry) if kept.is_none() && !reservations::is_apiservers(ip, entry) => {
            tracing::error!(%ip, "the Service default/kubernetes cannot be made: another one has its address");
            return txn;
        }
        Some(_) => txn,
    };
    let services = core.builtin("", "v1", "services");
    ensure(core, snapshot, txn, &services, "default", service(core, ip.into()), Presence::Exists)
}

/// The address that the API server's own Service has; `None` where there is no such Service.
pub(crate) fn service_address(core: &Core, snapshot: &Snapshot) -> Option<Ipv4Addr> {
    let key = objects::key(&core.builtin("", "v1", "services"), "default", "kubernetes");
    let service: Value = serde_json::from_slice(&snapshot.get(&key)?.value.body).ok()?;
    service.pointer("/spec/clusterIP")?.as_str()?.parse().ok()
}

/// Tells of a default ServiceCIDR that is not what `--service-cluster-ip-range` says: the object counts, as in Kubernetes.
async fn tell_of_another_range(core: &Core) -> Result<(), Status> {
    let snapshot = core.latest().await?;
    let cidrs = core.builtin("networking.k8s.io", "v1", "servicecidrs");
    let Some(entry) = snapshot.get(&objects::key(&cidrs, "", service_cidrs::DEFAULT)) else { return Ok(()) };
    let object = objects::parse(&cidrs, &entry.value.body, None)?;
    let stored: Vec<&str> = object
        .pointer("/spec/cidrs")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let flag = core.services.default_range().to_string();
    if stored == [flag.as_str()] {
        return Ok(());
    }
    let stored = stored.join(" ");
    tracing::warn!(
        servicecidr = stored,
        flag,
        "the ServiceCIDR \"kubernetes\" does not match --service-cluster-ip-range: addresses come from the object's range"
    );
    let warning = Warning {
        component: "kubernetes-service-cidr-controller",
        reason: "KubernetesDefaultServiceCIDRInconsistent",
        action: None,
        message: format!(
            "The default ServiceCIDR [{stored}] does not match the controller flag configurations [{flag}]"
        ),
    };
    let txn = warning.join(core, &snapshot, Txn::new(), ("networking.k8s.io/v1", "ServiceCIDR"), &object);
    if !txn.is_empty() {
        // Who comes first of several servers tells it.
        let _ = core.commit(APISERVER, txn).await?;
    }
    Ok(())
}

/// An object of the server's own, as it is stored when it is made now.
pub(crate) fn fresh(core: &Core, resource: &Arc<Resource>, mut object: Value) -> store::Value {
    object["kind"] = resource.kind.as_ref().into();
    object["apiVersion"] = resource.api_version().into();
    schema::prune(resource.schema.get(), &mut object);
    resource.strategy.default(&mut object);
    // What users may not say about status, the server may.
    let status = object.get("status").cloned();
    resource.strategy.prepare_create(&mut object);
    if let Some(status) = status {
        object["status"] = status;
    }
    let uid = uuid::Uuid::new_v4().to_string();
    let has_generation = resource.strategy.has_generation();
    meta::default_create(&mut object, &meta::Creation { uid: &uid, now: core.now(), random: 0, has_generation });
    objects::encode(resource, &object, core.now().as_second())
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
    txn.require(&key, 0).put(&key, fresh(core, resource, object))
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

/// The range that addresses come from, in the state that the controller would bring it to.
fn service_cidr(core: &Core) -> Value {
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "", "lastTransitionTime": time::format(core.now()),
        "message": "Kubernetes Service CIDR is ready",
    });
    json!({
        "metadata": {"name": service_cidrs::DEFAULT, "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
        "spec": {"cidrs": [core.services.default_range().to_string()]}, "status": {"conditions": [ready]},
    })
}

/// Where the server can be reached: what it was told to say, or the address it listens on, or loopback when that is all.
pub(crate) fn endpoint_ip(core: &Core) -> Option<IpAddr> {
    match core.advertise.unwrap_or(core.address.ip()) {
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
