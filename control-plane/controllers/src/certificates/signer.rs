//! The signers that Kubernetes has, and what each wants of a request (`pkg/apis/certificates/helpers.go`,
//! `pkg/controller/certificates/signer`). Pure.

use super::Facts;

const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    Client,
    KubeletClient,
    KubeletServing,
    LegacyUnknown,
}

impl Signer {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "kubernetes.io/kube-apiserver-client" => Self::Client,
            "kubernetes.io/kube-apiserver-client-kubelet" => Self::KubeletClient,
            "kubernetes.io/kubelet-serving" => Self::KubeletServing,
            "kubernetes.io/legacy-unknown" => Self::LegacyUnknown,
            _ => return None,
        })
    }

    /// # Errors
    /// What the signer does not accept, in Kubernetes' words.
    pub(super) fn check(self, facts: &Facts, usages: &[String]) -> Result<(), String> {
        match self {
            Self::Client => client_usages(usages),
            Self::KubeletClient => kubelet_client(facts, usages),
            Self::KubeletServing => kubelet_serving(facts, usages),
            Self::LegacyUnknown => Ok(()),
        }
    }
}

fn client_usages(usages: &[String]) -> Result<(), String> {
    let mut has_client_auth = false;
    for usage in usages {
        match usage.as_str() {
            "digital signature" | "key encipherment" => {}
            "client auth" => has_client_auth = true,
            other => return Err(format!("invalid usage for client certificate: {other}")),
        }
    }
    if has_client_auth { Ok(()) } else { Err("missing required usage for client certificate: client auth".into()) }
}

pub(super) fn kubelet_client(facts: &Facts, usages: &[String]) -> Result<(), String> {
    node_subject(facts)?;
    if facts.dns_names > 0 {
        return Err("DNS subjectAltNames are not allowed".into());
    }
    if facts.ip_addresses > 0 {
        return Err("IP subjectAltNames are not allowed".into());
    }
    if facts.other_names > 0 {
        return Err("Email and URI subjectAltNames are not allowed".into());
    }
    exact_usages(usages, "client auth")
}

fn kubelet_serving(facts: &Facts, usages: &[String]) -> Result<(), String> {
    node_subject(facts)?;
    if facts.dns_names + facts.ip_addresses == 0 {
        return Err("DNS or IP subjectAltName is required".into());
    }
    if facts.other_names > 0 {
        return Err("Email and URI subjectAltNames are not allowed".into());
    }
    exact_usages(usages, "server auth")
}

fn node_subject(facts: &Facts) -> Result<(), String> {
    if facts.organizations != [NODES] {
        return Err(format!("subject organization is not {NODES}"));
    }
    if !facts.common_name.starts_with(NODE_PREFIX) {
        return Err(format!("subject common name does not begin with {NODE_PREFIX}"));
    }
    Ok(())
}

/// `digital signature` and `wanted`, with `key encipherment` or without.
fn exact_usages(usages: &[String], wanted: &str) -> Result<(), String> {
    let has = |usage: &str| usages.iter().any(|own| own == usage);
    let known = |usage: &String| [wanted, "digital signature", "key encipherment"].contains(&usage.as_str());
    if has(wanted) && has("digital signature") && usages.iter().all(known) {
        return Ok(());
    }
    Err(format!("usages did not match [{wanted} digital signature] or [{wanted} digital signature key encipherment]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usages(list: &[&str]) -> Vec<String> {
        list.iter().map(|usage| (*usage).to_owned()).collect()
    }

    #[test]
    fn each_signer_wants_what_kubernetes_wants() {
        let node = Facts {
            common_name: "system:node:n1".into(),
            organizations: vec!["system:nodes".into()],
            ..Facts::default()
        };
        let client = usages(&["digital signature", "client auth"]);
        assert_eq!(Signer::KubeletClient.check(&node, &client), Ok(()));
        assert!(Signer::KubeletClient.check(&Facts { dns_names: 1, ..node.clone() }, &client).is_err());
        assert!(Signer::KubeletClient.check(&Facts { common_name: "bob".into(), ..node.clone() }, &client).is_err());
        assert!(Signer::KubeletClient.check(&node, &usages(&["client auth"])).is_err());
        let serving = usages(&["digital signature", "key encipherment", "server auth"]);
        assert!(Signer::KubeletServing.check(&node, &serving).is_err());
        assert_eq!(Signer::KubeletServing.check(&Facts { ip_addresses: 1, ..node }, &serving), Ok(()));
        let anyone = Facts::default();
        assert_eq!(Signer::Client.check(&anyone, &usages(&["client auth"])), Ok(()));
        assert!(Signer::Client.check(&anyone, &usages(&["server auth"])).is_err());
        assert!(Signer::Client.check(&anyone, &[]).is_err());
        assert_eq!(Signer::of("example.com/mine"), None);
    }
}
