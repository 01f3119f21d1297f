//! Who one is and what one may do, as kubectl users see it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tests::cluster::Options;
use tests::kubectl::{apply, fails, run};
use tests::{Cluster, eventually};

const LIMIT: Duration = Duration::from_secs(60);

/// A kubeconfig beside the administrator's whose user is known by `args` (of `kubectl config set-credentials`).
async fn other_user(cluster: &Cluster, args: &[&str]) -> PathBuf {
    let file = cluster.scratch().join("other.kubeconfig");
    let text = run(cluster, &["config", "view", "--raw", "--minify", "-o", "jsonpath={.clusters[0].cluster}"]).await;
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": value}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let path = file.to_str().unwrap();
    let mut all = vec!["config", "--kubeconfig", path, "set-credentials", "u"];
    all.extend(args);
    run(cluster, &all).await;
    file
}

#[tokio::test]
async fn a_token_of_an_account_has_the_accounts_rights() {
    let cluster = Cluster::up().await;
    run(&cluster, &["create", "serviceaccount", "robot"]).await;
    let token = run(&cluster, &["create", "token", "robot", "--duration=10m"]).await;
    let file = other_user(&cluster, &[&format!("--token={}", token.trim())]).await;
    let robot = ["--kubeconfig", file.to_str().unwrap()];
    let who = run(&cluster, &[&robot[..], &["auth", "whoami"]].concat()).await;
    assert!(who.contains("system:serviceaccount:default:robot") && who.contains("system:serviceaccounts"), "{who}");
    let refused = fails(&cluster, &[&robot[..], &["get", "pods"]].concat()).await;
    assert_eq!(
        refused.trim(),
        r#"Error from server (Forbidden): pods is forbidden: User "system:serviceaccount:default:robot" cannot list resource "pods" in API group "" in the namespace "default""#
    );
    run(&cluster, &["create", "rolebinding", "robots", "--clusterrole=view", "--serviceaccount=default:robot"]).await;
    run(&cluster, &[&robot[..], &["get", "pods"]].concat()).await;
    run(&cluster, &["delete", "serviceaccount", "robot"]).await;
    let refused = fails(&cluster, &[&robot[..], &["get", "pods"]].concat()).await;
    assert!(refused.contains("Unauthorized") || refused.contains("must be logged in"), "{refused}");
}

#[tokio::test]
async fn rights_are_listed_and_borrowed() {
    let cluster = Cluster::up().await;
    run(&cluster, &["create", "clusterrolebinding", "viewers", "--clusterrole=view", "--group=viewers"]).await;
    let bob = ["--as=bob", "--as-group=viewers"];
    let list = run(&cluster, &[&bob[..], &["auth", "can-i", "--list"]].concat()).await;
    assert!(list.lines().any(|line| line.starts_with("configmaps ") && line.contains("[get list watch]")), "{list}");
    assert_eq!(run(&cluster, &[&bob[..], &["auth", "can-i", "get", "pods"]].concat()).await.trim(), "yes");
    let no = fails(&cluster, &[&bob[..], &["auth", "can-i", "create", "pods"]].concat()).await;
    assert!(!no.contains("Error"), "{no}");
    let refused = fails(&cluster, &[&bob[..], &["create", "configmap", "x"]].concat()).await;
    assert!(refused.contains(r#"User "bob" cannot create resource "configmaps""#), "{refused}");
    assert_eq!(run(&cluster, &["auth", "can-i", "*", "*"]).await.trim(), "yes");
    // Whoever manages roles of one namespace passes on no more than they have.
    run(&cluster, &["create", "rolebinding", "admins", "--clusterrole=admin", "--user=eve"]).await;
    run(&cluster, &["--as=eve", "create", "role", "r", "--verb=get", "--resource=pods"]).await;
    let refused = fails(&cluster, &["--as=eve", "create", "role", "s", "--verb=get", "--resource=nodes"]).await;
    assert!(refused.contains("is attempting to grant RBAC permissions not currently held"), "{refused}");
}

#[tokio::test]
async fn roles_are_put_together_from_their_parts() {
    let cluster = Cluster::up().await;
    apply(
        &cluster,
        r#"{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "cars",
            "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
            "rules": [{"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["cars"]}]}"#,
    )
    .await;
    for role in ["view", "edit", "admin"] {
        eventually("the aggregated roles have the new rule", LIMIT, || async {
            let resources = run(&cluster, &["get", "clusterrole", role, "-o", "jsonpath={.rules[*].resources}"]).await;
            if resources.contains("cars") { Ok(()) } else { Err(resources) }
        })
        .await;
    }
}

#[tokio::test]
async fn tokens_from_a_file_are_known_and_modes_can_be_chosen() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("tokens.csv");
    std::fs::write(&file, "s3cret,alice,1,\"system:masters,dev\"\n").unwrap();
    let args = vec!["--token-auth-file".into(), file.to_str().unwrap().into()];
    let cluster = Cluster::start(Options { args, ..Options::default() }).await.unwrap();
    let alice = other_user(&cluster, &["--token=s3cret"]).await;
    let who = run(&cluster, &["--kubeconfig", alice.to_str().unwrap(), "auth", "whoami"]).await;
    assert!(who.contains("alice") && who.contains("dev"), "{who}");
    let args = vec!["--authorization-mode".into(), "AlwaysAllow".into()];
    let cluster = Cluster::start(Options { args, ..Options::default() }).await.unwrap();
    run(&cluster, &["--as=nobody", "get", "pods"]).await;
}

fn openssl(args: &[&str], folder: &Path) {
    let output = Command::new("openssl").args(args).current_dir(folder).output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_certificate_is_asked_for_approved_and_used() {
    use base64::Engine as _;
    let cluster = Cluster::up().await;
    let folder = cluster.scratch();
    openssl(&["genrsa", "-out", "carol.key", "2048"], folder);
    openssl(&["req", "-new", "-key", "carol.key", "-subj", "/O=dev/O=ops/CN=carol", "-out", "carol.csr"], folder);
    let request = base64::engine::general_purpose::STANDARD.encode(std::fs::read(folder.join("carol.csr")).unwrap());
    let manifest = serde_json::json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "carol"},
        "spec": {"request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
                 "expirationSeconds": 3600},
    });
    apply(&cluster, &manifest.to_string()).await;
    let pending = run(&cluster, &["get", "csr", "carol"]).await;
    assert!(pending.contains("Pending") && pending.contains("kubernetes-admin"), "{pending}");
    run(&cluster, &["certificate", "approve", "carol"]).await;
    let certificate = eventually("the certificate is there", LIMIT, || async {
        let text = run(&cluster, &["get", "csr", "carol", "-o", "jsonpath={.status.certificate}"]).await;
        if text.is_empty() { Err("none yet") } else { Ok(text) }
    })
    .await;
    let pem = base64::engine::general_purpose::STANDARD.decode(certificate).unwrap();
    std::fs::write(folder.join("carol.crt"), pem).unwrap();
    let (certificate, key) = (folder.join("carol.crt"), folder.join("carol.key"));
    let certificate = format!("--client-certificate={}", certificate.display());
    let carol = other_user(&cluster, &[&certificate, &format!("--client-key={}", key.display())]).await;
    let who = run(&cluster, &["--kubeconfig", carol.to_str().unwrap(), "auth", "whoami"]).await;
    assert!(who.contains("carol") && who.contains("[dev ops system:authenticated]"), "{who}");
    let shown = run(&cluster, &["get", "csr", "carol"]).await;
    assert!(shown.contains("Approved,Issued"), "{shown}");
}
