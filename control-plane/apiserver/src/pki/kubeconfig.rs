//! Kubeconfig files for one cluster and one user, all data inline.

use super::KeyPair;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// What a kubeconfig says.
pub struct Access<'a> {
    /// Name of the cluster and of the context.
    pub cluster: &'a str,
    pub user: &'a str,
    /// `https://host:port`.
    pub server: &'a str,
    pub ca_pem: &'a str,
    pub credentials: &'a KeyPair,
}

/// The file's text (YAML).
#[must_use]
pub fn render(access: &Access<'_>) -> String {
    let Access { cluster, user, server, .. } = access;
    let ca = STANDARD.encode(access.ca_pem);
    let certificate = STANDARD.encode(&access.credentials.certificate_pem);
    let key = STANDARD.encode(&access.credentials.key_pem);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: {cluster}
  cluster:
    server: {server}
    certificate-authority-data: {ca}
contexts:
- name: {cluster}
  context:
    cluster: {cluster}
    user: {user}
current-context: {cluster}
preferences: {{}}
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
"
    )
}
