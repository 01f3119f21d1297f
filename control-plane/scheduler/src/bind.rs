//! The one write that counts: `POST pods/{name}/binding`.

use kube::Client;
use kube::core::Request;
use kube::core::params::PostParams;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::pod::Pod;

/// Why a pod was not bound.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// The pod is gone.
    #[error("the pod does not exist any more")]
    Gone,
    /// Somebody else bound or deleted it; the watch will tell.
    #[error("the pod has changed meanwhile: {0}")]
    Overtaken(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Unreachable(String),
}

/// Give `pod` the node.
pub(crate) async fn bind(client: &Client, pod: &Pod, node: &str) -> Result<(), BindError> {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": &*pod.name, "namespace": &*pod.namespace, "uid": &*pod.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let request = Request::new(format!("/api/v1/namespaces/{}/pods", pod.namespace))
        .create_subresource("binding", &pod.name, &PostParams::default(), body.to_string().into_bytes())
        .map_err(|error| BindError::Refused(error.to_string()))?;
    match client.request::<IgnoredAny>(request).await {
        Ok(IgnoredAny) => Ok(()),
        Err(kube::Error::Api(status)) => Err(match status.code {
            404 => BindError::Gone,
            409 => BindError::Overtaken(status.message.clone()),
            _ => BindError::Refused(status.message.clone()),
        }),
        Err(error) => Err(BindError::Unreachable(error.to_string())),
    }
}
