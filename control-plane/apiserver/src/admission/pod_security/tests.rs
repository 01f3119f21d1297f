#![allow(clippy::needless_pass_by_value, reason = "documents are written where they are used")]

use super::checks::violations;
use super::policy::{Level, Rule, Version};
use serde_json::{Value, json};

fn found(level: Level, minor: Option<u32>, spec: Value) -> String {
    let version = minor.map_or(Version::Latest, Version::Minor);
    violations(Rule { level, version }, &json!({"metadata": {}, "spec": spec})).details()
}

#[test]
fn a_plain_pod_is_told_all_that_restricted_asks_for() {
    let plain = json!({"containers": [{"name": "c"}]});
    assert_eq!(found(Level::Baseline, None, plain.clone()), "");
    assert_eq!(
        found(Level::Restricted, None, plain.clone()),
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    assert_eq!(
        found(Level::Restricted, Some(7), plain),
        "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)"
    );
    let hardened = json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [{"name": "c", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}],
    });
    assert_eq!(found(Level::Restricted, None, hardened), "");
}

#[test]
fn each_check_of_baseline_speaks_as_kubernetes_does() {
    let with = |security: Value| json!({"containers": [{"name": "c", "securityContext": security}]});
    let own = |security: Value| json!({"securityContext": security, "containers": [{"name": "c"}]});
    let cases = [
        (
            json!({"hostNetwork": true, "hostPID": true, "containers": []}),
            "host namespaces (hostNetwork=true, hostPID=true)",
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"hostPort": 80}]}, {"name": "b", "ports": [{"hostPort": 443}]}]}),
            "hostPorts (containers \"a\", \"b\" use hostPorts 443, 80)",
        ),
        (json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), "hostPath volumes (volume \"v\")"),
        (
            with(json!({"privileged": true})),
            "privileged (container \"c\" must not set securityContext.privileged=true)",
        ),
        (
            with(json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}})),
            "non-default capabilities (container \"c\" must not include \"SYS_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            with(json!({"procMount": "Unmasked"})),
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            own(json!({"seLinuxOptions": {"type": "spc_t", "user": "u"}})),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set)",
        ),
        (
            own(json!({"seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (own(json!({"sysctls": [{"name": "kernel.msgmax"}]})), "forbidden sysctls (kernel.msgmax)"),
        (
            own(json!({"windowsOptions": {"hostProcess": true}})),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            own(json!({"appArmorProfile": {"type": "Unconfined"}})),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            json!({"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "h"}}}]}),
            "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"h\")",
        ),
    ];
    for (spec, wanted) in cases {
        assert_eq!(found(Level::Baseline, None, spec.clone()), wanted);
        assert_eq!(found(Level::Privileged, None, spec), "");
    }
}

#[test]
fn restricted_tells_once_what_baseline_forbids_too() {
    let spec =
        json!({"volumes": [{"name": "v", "hostPath": {}}], "containers": [], "securityContext": {"runAsUser": 0}});
    assert_eq!(
        found(Level::Restricted, None, spec),
        "restricted volume types (volume \"v\" uses restricted volume type \"hostPath\"), runAsUser=0 (pod must not set runAsUser=0)"
    );
}

#[test]
fn an_update_is_looked_at_when_it_changes_what_runs() {
    let pod = |image: &str, label: &str| json!({"metadata": {"labels": {"a": label}}, "spec": {"containers": [{"name": "c", "image": image}]}});
    assert!(!super::is_significant(&pod("x", "1"), &pod("x", "2")));
    assert!(super::is_significant(&pod("y", "1"), &pod("x", "1")));
    let mut debugged = pod("x", "1");
    debugged["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "x"}]);
    assert!(super::is_significant(&debugged, &pod("x", "1")));
}
