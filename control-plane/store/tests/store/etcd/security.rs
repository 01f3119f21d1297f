//! TLS and users.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use store::etcd::{Login, Options, Tls};
use store::{OpenError, Store, Txn};

use super::server::write;
use super::{Disk, Server};
use crate::{text, value};

/// A CA, and what it signed: for the server and for a client.
struct Certificates {
    ca: String,
    server: (String, String),
    client: (String, String),
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let signed = |names: &[&str]| {
            let key = KeyPair::generate().unwrap();
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
            (certificate.pem(), key.serialize_pem())
        };
        Self { server: signed(&["127.0.0.1", "localhost"]), client: signed(&["skiff"]), ca: ca.pem() }
    }

    fn server(&self) -> Server {
        Server::start_with(Disk::Fast, "https", |folder| {
            let file = |flag: &str, name: &str, pem: &str| [flag.to_owned(), write(folder, name, pem.as_bytes())];
            let mut arguments = vec!["--client-cert-auth".to_owned()];
            arguments.extend(file("--cert-file", "server.crt", &self.server.0));
            arguments.extend(file("--key-file", "server.key", &self.server.1));
            arguments.extend(file("--trusted-ca-file", "ca.crt", &self.ca));
            write(folder, "client.crt", self.client.0.as_bytes());
            write(folder, "client.key", self.client.1.as_bytes());
            arguments
        })
    }
}

fn tls(folder: &Path) -> Tls {
    let file = |name: &str| folder.join(name);
    Tls::from_files(Some(&file("ca.crt")), Some(&file("client.crt")), Some(&file("client.key"))).unwrap()
}

async fn refused(options: Options) -> String {
    match Store::connect(options).await {
        Ok(_) => panic!("it opened"),
        Err(error @ (OpenError::Etcd { .. } | OpenError::EtcdRefused { .. })) => error.to_string(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn tls_with_a_client_certificate() {
    let server = Certificates::new().server();
    let url = format!("etcds://{}/x", server.endpoint());
    let options = |tls| Options { tls: Some(tls), ..Options::from_url(&url).unwrap() };
    let store = Store::connect(options(tls(server.folder()))).await.unwrap();
    store.commit(Txn::create("a", value("1"))).await.unwrap();
    assert_eq!(text(&store.latest().await.unwrap(), "a").as_deref(), Some("1"));
    store.close().await;
    let anonymous = Tls { identity: None, ..tls(server.folder()) };
    refused(options(anonymous)).await;
    let stranger = Tls { ca: Some(Certificates::new().ca.into_bytes()), ..tls(server.folder()) };
    let reason = refused(options(stranger)).await;
    assert!(reason.contains("certificate"), "{reason}");
    let garbage = Tls { ca: Some(b"garbage".to_vec()), ..Tls::default() };
    refused(options(garbage)).await;
    let plain = Options::new(vec![server.endpoint()]);
    refused(plain).await;
}

#[tokio::test]
async fn a_user_with_a_password_survives_the_end_of_the_session() {
    let mut server = Server::start(Disk::Synced);
    for command in [
        "user add root:secret",
        "user grant-role root root",
        "role add skiff",
        "role grant-permission skiff readwrite --prefix=true /skiff/",
        "user add skiff:p@ss",
        "user grant-role skiff skiff",
        "auth enable",
    ] {
        server.ctl(&command.split(' ').collect::<Vec<_>>());
    }
    let login = |user: &str, password: &str| {
        let login = Login { user: user.to_owned(), password: password.to_owned() };
        Options { login: Some(login), ..super::options(&server) }
    };
    let error = Store::connect(login("skiff", "wrong")).await.err();
    assert!(matches!(error, Some(OpenError::EtcdRefused { .. })), "trying again does not help: {error:?}");
    let reason = refused(login("skiff", "wrong")).await;
    assert!(reason.contains("authentication failed"), "{reason}");
    let reason = refused(super::options(&server)).await;
    assert!(reason.contains("user name is empty"), "{reason}");
    let elsewhere = Options { prefix: "/elsewhere/".to_owned(), ..login("skiff", "p@ss") };
    let reason = refused(elsewhere).await;
    assert!(reason.contains("permission denied"), "{reason}");
    let store = Store::connect(login("skiff", "p@ss")).await.unwrap();
    let mut watch = store.watch(b"", store.revision()).unwrap();
    store.commit(Txn::create("a", value("1"))).await.unwrap();
    // Tokens are forgotten with the process.
    server.kill();
    server.restart();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while let Err(error) = store.commit(Txn::new().put("a", value("2"))).await {
        assert!(std::time::Instant::now() < deadline, "{error}");
    }
    let mut seen = 0;
    while seen < 2 {
        seen += watch.next().await.unwrap().events.len();
    }
    store.compact(store.revision()).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_password_that_nobody_asks_for_does_no_harm() {
    let server = Server::start(Disk::Fast);
    let url = format!("etcd://skiff:p%40ss@{}", server.endpoint());
    let store = Store::connect(Options::from_url(&url).unwrap()).await.unwrap();
    store.commit(Txn::create("a", value("1"))).await.unwrap();
}
