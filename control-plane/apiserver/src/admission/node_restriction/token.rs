//! A kubelet asks for tokens of its own pods only, and for audiences that they use or that it may ask for.

use super::{pod_entry, text};
use crate::admission::Request;
use crate::authz::Attributes;
use crate::objects::Facts;
use api::Status;
use serde::Deserialize;
use serde_json::Value;

/// A right to a token for any audience: the audience is the resource, the account the name.
const VERB: &str = "request-serviceaccounts-token-audience";

/// A kubelet's question for a token of an account.
struct Asked<'a>(&'a Request<'a>);

/// Of a pod what its tokens may be for.
#[derive(Deserialize)]
struct Mounts {
    spec: Volumes,
}

#[derive(Deserialize)]
struct Volumes {
    #[serde(default)]
    volumes: Vec<Value>,
}

impl Asked<'_> {
    fn refuse(&self, why: impl std::fmt::Display) -> Result<(), Status> {
        Err(Status::forbidden("", "serviceaccounts", self.0.name, why))
    }

    fn object(&self, key: &str) -> Option<Value> {
        let entry = self.0.snapshot.get(key.as_bytes())?;
        serde_json::from_slice(&entry.value.body).ok()
    }

    /// The CSI driver of the volume that a claim is bound to.
    fn driver_of(&self, claim: &str) -> Option<String> {
        let claim = self.object(&format!("core/persistentvolumeclaims/{}/{claim}", self.0.namespace))?;
        let volume = self.object(&format!("core/persistentvolumes/{}", text(&claim, "/spec/volumeName")))?;
        Some(text(&volume, "/spec/csi/driver").to_owned())
    }

    /// Whether a volume of the pod shows a token for `audience`, or is of a driver that gets one.
    fn uses(&self, pod: &str, volumes: &[Value], audience: &str) -> bool {
        volumes.iter().any(|volume| {
            let mut sources = volume.pointer("/projected/sources").and_then(Value::as_array).into_iter().flatten();
            let token = |source: &Value| {
                let token = source.get("serviceAccountToken").filter(|token| token.is_object());
                token.is_some_and(|token| text(token, "/audience") == audience)
            };
            sources.any(token) || self.driver(pod, volume).is_some_and(|driver| self.gets(&driver, audience))
        })
    }

    fn driver(&self, pod: &str, volume: &Value) -> Option<String> {
        let driver = if volume.get("ephemeral").is_some_and(Value::is_object) {
            self.driver_of(&format!("{pod}-{}", text(volume, "/name")))?
        } else if volume.get("persistentVolumeClaim").is_some_and(Value::is_object) {
            self.driver_of(text(volume, "/persistentVolumeClaim/claimName"))?
        } else {
            text(volume, "/csi/driver").to_owned()
        };
        Some(driver).filter(|driver| !driver.is_empty())
    }

    fn gets(&self, driver: &str, audience: &str) -> bool {
        let driver = self.object(&format!("storage.k8s.io/csidrivers/{driver}")).unwrap_or_default();
        let requests = driver.pointer("/spec/tokenRequests").and_then(Value::as_array);
        requests.into_iter().flatten().any(|request| text(request, "/audience") == audience)
    }

    fn check_audience(&self, pod: &str, volumes: &[Value], spec: &Value) -> Result<(), Status> {
        let audiences = spec.get("audiences").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let audience = match audiences {
            [] => "",
            [one] => one.as_str().unwrap_or_default(),
            _ => return self.refuse("node may only request 0 or 1 audiences"),
        };
        if self.uses(pod, volumes, audience) {
            return Ok(());
        }
        let attributes = Attributes::resource(VERB, ("", audience), self.0.namespace, self.0.name);
        if self.0.core.authorizers.allows(self.0.user, &attributes).is_ok() {
            return Ok(());
        }
        self.refuse(format_args!(
            "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
            self.0.user.name
        ))
    }
}

/// Whether the kubelet of `node` may have the token that the request is for.
///
/// # Errors
/// 403, and 404 for a pod that is not there.
pub(super) fn check(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let asked = Asked(request);
    let nothing = Value::Null;
    let spec = request.object.get("spec").unwrap_or(&nothing);
    let reference = |field: &str| text(spec, &format!("/boundObjectRef/{field}"));
    if reference("apiVersion") != "v1" || reference("kind") != "Pod" || reference("name").is_empty() {
        return asked.refuse("node requested token not bound to a pod");
    }
    let uid = reference("uid");
    if uid.is_empty() {
        return asked.refuse("node requested token with a pod binding without a uid");
    }
    let Some(entry) = pod_entry(request.snapshot, request.namespace, reference("name")) else {
        return Err(Status::not_found("", "pods", reference("name")));
    };
    let pod = Facts::of(&entry.value.body).map_err(Status::internal)?;
    if pod.metadata.uid != uid {
        return asked.refuse(format_args!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        ));
    }
    if pod.spec.node_name.as_deref().unwrap_or_default() != node {
        return asked.refuse("node requested token bound to a pod scheduled on a different node");
    }
    let mounts: Mounts = serde_json::from_slice(&entry.value.body).map_err(Status::internal)?;
    asked.check_audience(reference("name"), &mounts.spec.volumes, spec)
}
