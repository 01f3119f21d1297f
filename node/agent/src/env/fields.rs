//! `fieldRef`: reading a pod's own fields into environment variables and downward API files.

use std::net::IpAddr;

use api::field::quoted;
use api::k8s_openapi::api::core::v1::Pod;

/// What a field may refer to besides the pod object itself.
#[derive(Clone, Copy, Debug)]
pub struct PodFacts<'a> {
    pub pod: &'a Pod,
    pub pod_ip: Option<IpAddr>,
    pub host_ip: IpAddr,
    pub node_name: &'a str,
}

/// The value of `path`, or `None` when Kubernetes has no such field.
pub fn value(path: &str, facts: &PodFacts<'_>) -> Option<String> {
    let meta = &facts.pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return None,
        };
        return Some(map.and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    Some(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => pairs(meta.labels.as_ref()),
        "metadata.annotations" => pairs(meta.annotations.as_ref()),
        "spec.nodeName" => facts.node_name.to_owned(),
        "spec.serviceAccountName" => {
            facts.pod.spec.as_ref().and_then(|s| s.service_account_name.clone()).unwrap_or_default()
        }
        "status.hostIP" | "status.hostIPs" => facts.host_ip.to_string(),
        "status.podIP" | "status.podIPs" => facts.pod_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        _ => return None,
    })
}

/// `a.b['key']` → (`a.b`, `key`)
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// A map as the downward API writes it: `key="escaped value"` lines, sorted.
fn pairs(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let mut lines = Vec::new();
    for (key, value) in map.into_iter().flatten() {
        lines.push(format!("{key}={}", quoted(value)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    #[test]
    fn reads_each_supported_field() {
        let pod = Pod {
            metadata: ObjectMeta {
                name: Some("web".into()),
                namespace: Some("shop".into()),
                uid: Some("u1".into()),
                labels: Some([("app".into(), "we\"b".into()), ("b".into(), "2".into())].into()),
                ..Default::default()
            },
            ..Default::default()
        };
        let facts = PodFacts {
            pod: &pod,
            pod_ip: Some([127, 64, 0, 9].into()),
            host_ip: [127, 0, 0, 1].into(),
            node_name: "n1",
        };
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(value(path, &facts).as_deref(), expected, "{path}");
        };
        check("metadata.name", Some("web"));
        check("metadata.namespace", Some("shop"));
        check("metadata.labels['b']", Some("2"));
        check("metadata.labels['none']", Some(""));
        check("metadata.labels", Some("app=\"we\\\"b\"\nb=\"2\""));
        check("metadata.annotations", Some(""));
        check("spec.nodeName", Some("n1"));
        check("status.podIP", Some("127.64.0.9"));
        check("status.hostIP", Some("127.0.0.1"));
        check("spec.containers", None);
        check("metadata.finalizers['x']", None);
    }
}
