//! Certificates: made once, renewed where they must be, never overwritten when broken.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn names() -> Names {
    Names::new(Some("127.96.0.1".parse().unwrap()), &[])
}

#[test]
fn a_directory_is_filled_once_and_reused() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::load_or_create(dir.path(), &names()).unwrap();
    let second = Pki::load_or_create(dir.path(), &names()).unwrap();
    assert_eq!(first.ca_pem(), second.ca_pem());
    assert_eq!(first.serving().certificate_pem, second.serving().certificate_pem);
    assert_eq!(first.admin().certificate_pem, second.admin().certificate_pem);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

#[test]
fn new_names_renew_the_serving_certificate_only() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::load_or_create(dir.path(), &names()).unwrap();
    let more = Names::new(Some("127.96.0.1".parse().unwrap()), &["api.example.com".into(), "10.0.0.9".into()]);
    let second = Pki::load_or_create(dir.path(), &more).unwrap();
    assert_ne!(first.serving().certificate_pem, second.serving().certificate_pem);
    assert_eq!(first.admin().certificate_pem, second.admin().certificate_pem);
    let third = Pki::load_or_create(dir.path(), &more).unwrap();
    assert_eq!(third.serving().certificate_pem, second.serving().certificate_pem);
}

#[test]
fn a_broken_ca_is_reported_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    Pki::load_or_create(dir.path(), &names()).unwrap();
    std::fs::write(dir.path().join("ca.crt"), "nonsense").unwrap();
    assert!(matches!(Pki::load_or_create(dir.path(), &names()), Err(PkiError::Broken { .. })));
    assert_eq!(std::fs::read(dir.path().join("ca.crt")).unwrap(), b"nonsense");
    std::fs::remove_file(dir.path().join("ca.key")).unwrap();
    assert!(matches!(Pki::load_or_create(dir.path(), &names()), Err(PkiError::Broken { .. })));
}

#[test]
fn leaves_of_another_ca_or_unreadable_ones_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::load_or_create(dir.path(), &names()).unwrap();
    let other = Pki::ephemeral(&names()).unwrap();
    std::fs::write(dir.path().join("admin.crt"), &other.admin().certificate_pem).unwrap();
    std::fs::write(dir.path().join("admin.key"), &other.admin().key_pem).unwrap();
    std::fs::write(dir.path().join("apiserver.key"), "").unwrap();
    let second = Pki::load_or_create(dir.path(), &names()).unwrap();
    assert_eq!(first.ca_pem(), second.ca_pem());
    assert_ne!(second.admin().certificate_pem, other.admin().certificate_pem);
    assert_ne!(second.serving().key_pem, "");
}

#[test]
fn the_admin_kubeconfig_is_yaml_with_all_data_inline() {
    let pki = Pki::ephemeral(&names()).unwrap();
    let text = pki.kubeconfig("https://127.0.0.1:6443", "kubernetes-admin", pki.admin());
    let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(value["clusters"][0]["cluster"]["server"], "https://127.0.0.1:6443");
    assert!(value["users"][0]["user"]["client-key-data"].as_str().unwrap().len() > 100);
}
