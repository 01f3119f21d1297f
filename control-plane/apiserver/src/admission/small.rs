//! Plugins of a few lines each: `AlwaysDeny`, `AlwaysPullImages`, `DefaultIngressClass`, `DenyServiceExternalIPs`.

use super::{Operation, Plugin, Request};
use api::{Status, meta};
use futures::future::{self, BoxFuture};
use serde_json::Value;
use store::Snapshot;

const INGRESS_CLASSES: &str = "networking.k8s.io/ingressclasses/";
const DEFAULT_INGRESS: &str = "ingressclass.kubernetes.io/is-default-class";
const INGRESS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Refuses every write.
pub(super) struct AlwaysDeny;

impl Plugin for AlwaysDeny {
    fn handles(&self, _request: &Request<'_>) -> bool {
        true
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(future::ready(Err(request.forbidden("admission control is denying all modifications"))))
    }
}

fn is_made(request: &Request<'_>, storage: &str) -> bool {
    request.operation == Operation::Create && request.subresource.is_empty() && request.resource.storage == storage
}

/// Every image is asked of its registry, so that a node's copy helps nobody who may not pull it.
pub(super) struct AlwaysPullImages;

impl Plugin for AlwaysPullImages {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation.is_write()
            && matches!(request.subresource, "" | "ephemeralcontainers")
            && request.resource.storage == "core/pods"
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        for field in ["containers", "initContainers", "ephemeralContainers"] {
            let list = request.object.pointer_mut(&format!("/spec/{field}")).and_then(Value::as_array_mut);
            for container in list.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.insert("imagePullPolicy".into(), "Always".into());
            }
        }
        Box::pin(future::ready(Ok(())))
    }
}

/// An Ingress that names no class gets the default one.
pub(super) struct DefaultIngressClass;

impl Plugin for DefaultIngressClass {
    fn handles(&self, request: &Request<'_>) -> bool {
        is_made(request, "networking.k8s.io/ingresses")
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let says = request.object.pointer("/spec/ingressClassName").is_some_and(|name| !name.is_null())
            || meta::annotation(request.object, INGRESS_ANNOTATION).is_some();
        if !says
            && let Some(class) = default_ingress_class(request.snapshot)
            && let Some(spec) = request.object.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.insert("ingressClassName".into(), class.into());
        }
        Box::pin(future::ready(Ok(())))
    }
}

/// The newest of the default classes; of several as old, the first by name.
fn default_ingress_class(snapshot: &Snapshot) -> Option<String> {
    let mut best: Option<(String, String)> = None;
    for (_, entry) in snapshot.range(INGRESS_CLASSES.as_bytes(), None) {
        let Ok(class) = serde_json::from_slice::<Value>(&entry.value.body) else { continue };
        let born = meta::creation_timestamp(&class).unwrap_or_default().to_owned();
        if meta::annotation(&class, DEFAULT_INGRESS) == Some("true")
            && best.as_ref().is_none_or(|(newest, _)| born > *newest)
        {
            best = Some((born, meta::name(&class).to_owned()));
        }
    }
    best.map(|(_, name)| name)
}

/// No Service gets an external address that it did not have.
pub(super) struct DenyServiceExternalIPs;

impl Plugin for DenyServiceExternalIPs {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation.is_write() && request.subresource.is_empty() && request.resource.storage == "core/services"
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let ips = |object: &Value| -> Vec<Value> {
            object.pointer("/spec/externalIPs").and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let had = request.old.map(ips).unwrap_or_default();
        let result = if ips(request.object).iter().all(|ip| had.contains(ip)) {
            Ok(())
        } else {
            Err(request.forbidden("Use of external IPs is denied by admission control."))
        };
        Box::pin(future::ready(result))
    }
}
