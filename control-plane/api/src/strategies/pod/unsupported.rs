//! What a pod spec asks for that this version accepts, as Kubernetes does, and does not act on. Silence would be a
//! promise: each is told as a warning.

use super::super::json::{items, text};
use serde_json::Value;

/// One warning for each such part of the spec at `path`.
pub(super) fn warnings(spec: &Value, path: &str) -> Vec<String> {
    let mut out = Vec::new();
    for rule in ["podAffinity", "podAntiAffinity"] {
        if spec["affinity"][rule].is_object() {
            out.push(format!("{path}.affinity.{rule}: skiff: the scheduler of this version does not look at it"));
        }
    }
    if !items(spec, "topologySpreadConstraints").is_empty() {
        out.push(format!("{path}.topologySpreadConstraints: skiff: the scheduler of this version does not look at it"));
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in items(spec, list).iter().enumerate() {
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                for handler in ["exec", "grpc"] {
                    if container[probe][handler].is_object() {
                        out.push(format!(
                            "{path}.{list}[{index}].{probe}.{handler}: skiff: not in this version; it counts as passed"
                        ));
                    }
                }
            }
        }
    }
    for index in 0..items(spec, "ephemeralContainers").len() {
        out.push(format!("{path}.ephemeralContainers[{index}]: skiff: the agent of this version does not start it"));
    }
    for (index, volume) in items(spec, "volumes").iter().enumerate() {
        if volume["persistentVolumeClaim"].is_object() {
            let name = text(volume, "name");
            out.push(format!(
                "{path}.volumes[{index}] ({name}): skiff: no claims in this version; the pod will not start"
            ));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::warnings;
    use serde_json::json;

    #[test]
    fn names_what_is_not_acted_on_and_nothing_else() {
        let spec = json!({
            "affinity": {"nodeAffinity": {}, "podAntiAffinity": {}},
            "topologySpreadConstraints": [{"maxSkew": 1}],
            "containers": [
                {"name": "a", "readinessProbe": {"httpGet": {"port": 80}}},
                {"name": "b", "livenessProbe": {"exec": {"command": ["x"]}}},
            ],
            "volumes": [{"name": "e", "emptyDir": {}}, {"name": "d", "persistentVolumeClaim": {"claimName": "c"}}],
        });
        let fields: Vec<String> =
            warnings(&spec, "spec").iter().filter_map(|w| w.split(": ").next().map(str::to_owned)).collect();
        assert_eq!(
            fields,
            [
                "spec.affinity.podAntiAffinity",
                "spec.topologySpreadConstraints",
                "spec.containers[1].livenessProbe.exec",
                "spec.volumes[1] (d)",
            ]
        );
        assert!(warnings(&json!({"containers": [{"name": "a"}]}), "spec").is_empty());
        assert!(warnings(&json!("odd"), "spec").is_empty());
    }
}
