//! `ipFamilies` and `ipFamilyPolicy` of Services: defaults, and what a cluster with IPv4 alone cannot give
//! (`initIPFamilyFields` in `pkg/registry/core/service/storage/alloc.go`). Which families there are is said by
//! `--service-cluster-ip-range`, not by ServiceCIDRs, as in Kubernetes.
//!
//! What is malformed is passed over here: validation tells of it.

use api::field::{Error, Path};
use serde_json::{Map, Value, json};

type Object = Map<String, Value>;

const FOUR: &str = "IPv4";
const SIX: &str = "IPv6";

/// Fills both fields of a Service that is to be written in place of `old`. `ExternalName` is not for here.
pub(super) fn init(spec: &mut Object, old: Option<&Object>) -> Vec<Error> {
    if old.is_some_and(|old| prefers_the_same(spec, old)) {
        return Vec::new();
    }
    let bare = is_bare(spec);
    if text(spec, "ipFamilyPolicy").is_empty() {
        let default = if bare { "RequireDualStack" } else { "SingleStack" };
        let policy = old.map_or("", |old| text(old, "ipFamilyPolicy"));
        let policy = if policy.is_empty() { default } else { policy };
        spec.insert("ipFamilyPolicy".into(), policy.into());
    }
    let policy = text(spec, "ipFamilyPolicy").to_owned();
    if let Some(old) = old.filter(|_| policy == "SingleStack") {
        for field in ["clusterIPs", "ipFamilies"] {
            if spec.get(field) == old.get(field)
                && let Some(list) = spec.get_mut(field).and_then(Value::as_array_mut)
            {
                list.truncate(1);
            }
        }
    }
    let errors = infer(spec, &policy);
    if !errors.is_empty() {
        return errors;
    }
    if bare {
        complete_bare(spec, &policy);
        return Vec::new();
    }
    let errors = missing(spec, &policy);
    if errors.is_empty() && list(spec, "ipFamilies").is_empty() {
        spec.insert("ipFamilies".into(), json!([FOUR]));
    }
    errors
}

/// Families of addresses that are named, and whether there are more of both than the policy allows.
fn infer(spec: &mut Object, policy: &str) -> Vec<Error> {
    let (mut errors, path) = (Vec::new(), Path::new("spec"));
    let mut families = list(spec, "ipFamilies").to_vec();
    if policy == "SingleStack" {
        for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
            if list(spec, field).len() == 2 {
                let detail =
                    format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
                errors.push(Error::invalid(&path.child("ipFamilyPolicy"), policy, detail));
            }
        }
    }
    let addresses = path.child("clusterIPs");
    for (i, ip) in list(spec, "clusterIPs").iter().filter_map(Value::as_str).enumerate() {
        if ip == "None" {
            break;
        }
        if i < families.len() {
            continue;
        }
        if ip.contains(':') {
            let detail = format!("{SIX} is not configured on this cluster");
            errors.push(Error::invalid(&addresses.index(i), list(spec, "clusterIPs").to_vec(), detail));
        } else {
            families.push(FOUR.into());
        }
    }
    if errors.is_empty() && !families.is_empty() {
        spec.insert("ipFamilies".into(), families.into());
    }
    errors
}

/// A headless Service without a selector is about whatever its owner lists: it may be of families that the cluster lacks.
fn complete_bare(spec: &mut Object, policy: &str) {
    let mut families = list(spec, "ipFamilies").to_vec();
    if families.is_empty() {
        families.push(FOUR.into());
    }
    if families.len() < 2 && policy != "SingleStack" {
        let other = if families[0] == FOUR { SIX } else { FOUR };
        families.push(other.into());
    }
    spec.insert("ipFamilies".into(), families.into());
}

fn missing(spec: &Object, policy: &str) -> Vec<Error> {
    let (mut errors, path) = (Vec::new(), Path::new("spec"));
    if policy == "RequireDualStack" {
        let detail = "this cluster is not configured for dual-stack services";
        errors.push(Error::invalid(&path.child("ipFamilyPolicy"), policy, detail));
    }
    let families = path.child("ipFamilies");
    for (i, family) in list(spec, "ipFamilies").iter().enumerate().filter(|(_, family)| **family == SIX) {
        errors.push(Error::invalid(&families.index(i), family.clone(), "not configured on this cluster"));
    }
    errors
}

/// Headless, and without a selector.
fn is_bare(spec: &Object) -> bool {
    let selects = spec.get("selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
    text(spec, "clusterIP") == "None" && !selects
}

/// Whether a Service goes on to prefer two families without a word about which: then it keeps what it has.
fn prefers_the_same(new: &Object, old: &Object) -> bool {
    let prefers = |spec: &Object| text(spec, "ipFamilyPolicy") == "PreferDualStack";
    prefers(new)
        && prefers(old)
        && ["clusterIPs", "ipFamilies"].iter().all(|field| list(new, field) == list(old, field))
}

fn text<'a>(spec: &'a Object, field: &str) -> &'a str {
    spec.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(spec: &'a Object, field: &str) -> &'a [Value] {
    spec.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Families and policy afterwards, or the errors.
    fn init_of(spec: &Value, old: Option<&Value>) -> String {
        let mut spec = spec.as_object().unwrap().clone();
        let errors = init(&mut spec, old.and_then(Value::as_object));
        match errors.is_empty() {
            true => format!("{} {}", text(&spec, "ipFamilyPolicy"), spec["ipFamilies"]),
            false => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        }
    }

    #[test]
    fn a_cluster_of_one_family_gives_that_one() {
        let both = json!(["IPv4", "IPv6"]);
        for (spec, expected) in [
            (json!({}), r#"SingleStack ["IPv4"]"#),
            (json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}), r#"SingleStack ["IPv4"]"#),
            (json!({"ipFamilyPolicy": "PreferDualStack"}), r#"PreferDualStack ["IPv4"]"#),
            (
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                r#"spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services"#,
            ),
            (
                json!({"ipFamilies": ["IPv6"]}),
                r#"spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster"#,
            ),
            (
                json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": both}),
                r#"spec.ipFamilies[1]: Invalid value: "IPv6": not configured on this cluster"#,
            ),
            (
                json!({"ipFamilies": both}),
                r#"spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"#,
            ),
            (
                json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]}),
                r#"spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster"#,
            ),
            (json!({"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}}), r#"SingleStack ["IPv4"]"#),
            (json!({"clusterIP": "None", "clusterIPs": ["None"]}), r#"RequireDualStack ["IPv4","IPv6"]"#),
            (
                json!({"clusterIP": "None", "clusterIPs": ["None"], "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}),
                r#"SingleStack ["IPv6"]"#,
            ),
        ] {
            assert_eq!(init_of(&spec, None), expected, "{spec}");
        }
    }

    #[test]
    fn an_update_keeps_or_narrows_what_there_was() {
        let bare = json!({"clusterIP": "None", "clusterIPs": ["None"], "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]});
        let mut single = bare.clone();
        single["ipFamilyPolicy"] = "SingleStack".into();
        assert_eq!(init_of(&single, Some(&bare)), r#"SingleStack ["IPv4"]"#);
        assert_eq!(init_of(&bare, Some(&bare)), r#"RequireDualStack ["IPv4","IPv6"]"#);
        // From a cluster that had two.
        let dual = json!({"clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"]});
        assert_eq!(init_of(&dual, Some(&dual)), r#"PreferDualStack ["IPv4","IPv6"]"#);
    }
}
