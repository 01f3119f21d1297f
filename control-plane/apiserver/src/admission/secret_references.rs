//! Secrets that pods may name: mirror pods none, and pods of an account that says so only those that it lists
//! (`plugin/pkg/admission/serviceaccount`: `limitSecretReferences`).

use api::meta;
use serde_json::Value;

/// On an account: pods may name no secrets but its own.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
const PLAIN: [(&str, &str); 2] = [("initContainers", "init container"), ("containers", "container")];

fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// Why a mirror pod may not be: it runs before there are accounts and secrets.
pub(super) fn mirror(pod: &Value) -> Result<(), String> {
    if text(pod, "/spec/serviceAccountName").is_some_and(|name| !name.is_empty()) {
        return Err("a mirror pod may not reference service accounts".into());
    }
    if names_secrets(pod) {
        return Err("a mirror pod may not reference secrets".into());
    }
    let sources = list(pod, "/spec/volumes").flat_map(|volume| list(volume, "/projected/sources"));
    if sources.filter_map(|source| source.get("serviceAccountToken")).any(|token| !token.is_null()) {
        return Err("a mirror pod may not use ServiceAccountToken volume projections".into());
    }
    Ok(())
}

/// Whether a pod names any secret, wherever (`VisitPodSecretNames`).
pub(super) fn names_secrets(pod: &Value) -> bool {
    const IN_VOLUMES: [&str; 13] = [
        "/secret/secretName",
        "/azureFile/secretName",
        "/cephfs/secretRef/name",
        "/cinder/secretRef/name",
        "/csi/nodePublishSecretRef/name",
        "/flexVolume/secretRef/name",
        "/glusterfs/secretRef/name",
        "/iscsi/secretRef/name",
        "/rbd/secretRef/name",
        "/scaleIO/secretRef/name",
        "/storageos/secretRef/name",
        "/quobyte/secretRef/name",
        "/portworxVolume/secretRef/name",
    ];
    let in_volume = |volume: &Value| {
        IN_VOLUMES.iter().any(|pointer| volume.pointer(pointer).is_some())
            || list(volume, "/projected/sources").any(|source| source.pointer("/secret/name").is_some())
    };
    let in_container = |container: &Value| {
        list(container, "/env").any(|env| env.pointer("/valueFrom/secretKeyRef").is_some_and(|r| !r.is_null()))
            || list(container, "/envFrom").any(|from| from.get("secretRef").is_some_and(|r| !r.is_null()))
    };
    let containers = ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"];
    list(pod, "/spec/imagePullSecrets").next().is_some()
        || containers.iter().flat_map(|pointer| list(pod, pointer)).any(in_container)
        || list(pod, "/spec/volumes").any(in_volume)
}

/// Whether the account limits its pods to the secrets that it lists.
fn limits(account: &Value) -> bool {
    matches!(meta::annotation(account, ENFORCE), Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// What a new pod names that its account does not list.
pub(super) fn check(account: &Value, pod: &Value) -> Result<(), String> {
    if !limits(account) {
        return Ok(());
    }
    let name = meta::name(account);
    let secrets: Vec<&str> = list(account, "/secrets").filter_map(|secret| text(secret, "/name")).collect();
    for secret in list(pod, "/spec/volumes").filter_map(|volume| volume.get("secret")).filter(|s| !s.is_null()) {
        let secret = text(secret, "/secretName").unwrap_or_default();
        if !secrets.contains(&secret) {
            return Err(format!("volume with {}", refused(secret, name)));
        }
    }
    for (field, what) in PLAIN {
        check_containers(pod, field, what, &secrets, name)?;
    }
    let pull: Vec<&str> = list(account, "/imagePullSecrets").filter_map(|secret| text(secret, "/name")).collect();
    for (i, secret) in list(pod, "/spec/imagePullSecrets").enumerate() {
        let secret = text(secret, "/name").unwrap_or_default();
        if !pull.contains(&secret) {
            return Err(format!(
                "imagePullSecrets[{i}].name=\"{secret}\" is not allowed because service account {name} does not reference that imagePullSecret"
            ));
        }
    }
    Ok(())
}

/// The same of the containers that are added to a pod that runs.
pub(super) fn check_ephemeral(account: &Value, pod: &Value) -> Result<(), String> {
    if !limits(account) {
        return Ok(());
    }
    let secrets: Vec<&str> = list(account, "/secrets").filter_map(|secret| text(secret, "/name")).collect();
    check_containers(pod, "ephemeralContainers", "ephemeral container", &secrets, meta::name(account))
}

fn check_containers(pod: &Value, field: &str, what: &str, secrets: &[&str], account: &str) -> Result<(), String> {
    for container in list(pod, &format!("/spec/{field}")) {
        let name = text(container, "/name").unwrap_or_default();
        for env in list(container, "/env") {
            if let Some(secret) = text(env, "/valueFrom/secretKeyRef/name").filter(|secret| !secrets.contains(secret)) {
                let variable = text(env, "/name").unwrap_or_default();
                let refused = refused(secret, account);
                return Err(format!("{what} {name} with envVar {variable} referencing {refused}"));
            }
        }
        for from in list(container, "/envFrom") {
            if let Some(secret) = text(from, "/secretRef/name").filter(|secret| !secrets.contains(secret)) {
                return Err(format!("{what} {name} with envFrom referencing {}", refused(secret, account)));
            }
        }
    }
    Ok(())
}

fn refused(secret: &str, account: &str) -> String {
    format!(
        "secret.secretName=\"{secret}\" is not allowed because service account {account} does not reference that secret"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_account_that_says_so_limits_its_pods_to_its_secrets() {
        let mut account = json!({"metadata": {"name": "a", "annotations": {ENFORCE: "true"}},
            "secrets": [{"name": "known"}], "imagePullSecrets": [{"name": "pull"}]});
        let end = "is not allowed because service account a does not reference that";
        let env = |name: &str| json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]);
        for (spec, wanted) in [
            (json!({"volumes": [{"secret": {"secretName": "known"}}]}), String::new()),
            (
                json!({"volumes": [{"secret": {"secretName": "x"}}]}),
                format!("volume with secret.secretName=\"x\" {end} secret"),
            ),
            (
                json!({"initContainers": [{"name": "i", "env": env("x")}]}),
                format!("init container i with envVar E referencing secret.secretName=\"x\" {end} secret"),
            ),
            (json!({"containers": [{"name": "c", "env": env("known")}]}), String::new()),
            (
                json!({"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "x"}}]}]}),
                format!("container c with envFrom referencing secret.secretName=\"x\" {end} secret"),
            ),
            (
                json!({"imagePullSecrets": [{"name": "pull"}, {"name": "x"}]}),
                format!("imagePullSecrets[1].name=\"x\" {end} imagePullSecret"),
            ),
        ] {
            assert_eq!(check(&account, &json!({"spec": spec})).err().unwrap_or_default(), wanted, "{spec}");
        }
        let debug = json!({"spec": {"ephemeralContainers": [{"name": "d", "env": env("x")}]}});
        let told = format!("ephemeral container d with envVar E referencing secret.secretName=\"x\" {end} secret");
        assert_eq!(check_ephemeral(&account, &debug), Err(told));
        account["metadata"]["annotations"][ENFORCE] = "no".into();
        assert_eq!(check_ephemeral(&account, &debug), Ok(()));
    }

    #[test]
    fn mirror_pods_name_neither_accounts_nor_secrets() {
        let told = |spec: Value| mirror(&json!({"spec": spec})).err().unwrap_or_default();
        assert_eq!(told(json!({"containers": [{}], "volumes": [{"emptyDir": {}}]})), "");
        assert_eq!(told(json!({"serviceAccountName": "a"})), "a mirror pod may not reference service accounts");
        let secrets = "a mirror pod may not reference secrets";
        assert_eq!(told(json!({"imagePullSecrets": [{"name": "a"}]})), secrets);
        assert_eq!(told(json!({"volumes": [{"secret": {"secretName": "a"}}]})), secrets);
        assert_eq!(told(json!({"containers": [{"envFrom": [{"secretRef": {"name": "a"}}]}]})), secrets);
        assert_eq!(
            told(json!({"volumes": [{"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]})),
            "a mirror pod may not use ServiceAccountToken volume projections"
        );
    }
}
