//! Pulls from a real registry on a free port: what works, and what each failure is called.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod registry;

use std::fs;
use std::path::Path;
use std::time::Duration;

use images::{Config, FileImages, Image, ImageError, ImageStore, Keyring};
use registry::{Access, Fault, IMAGE_INDEX, IMAGE_MANIFEST, Registry, digest};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The smallest module, made different by a custom section.
fn module(salt: u8) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend([0, 3, 1, b's', salt]);
    module
}

struct Setup {
    folder: TempDir,
    store: ImageStore,
    registry: Registry,
}

async fn setup() -> Setup {
    let folder = TempDir::new().unwrap();
    let mut config = Config::new(folder.path().join("images"));
    config.file_images = FileImages::Allow;
    config.read_timeout = Duration::from_secs(20);
    Setup { store: ImageStore::open(config).unwrap(), registry: Registry::start().await, folder }
}

impl Setup {
    async fn pull(&self, name: &str) -> Result<Image, ImageError> {
        self.store.pull(&self.registry.name(name), &Keyring::empty()).await
    }

    /// Files that a pull left unfinished.
    fn leftovers(&self) -> usize {
        let folders = fs::read_dir(self.folder.path().join("images/tmp")).unwrap();
        folders.map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count() - 1).sum()
    }
}

fn keyring(registry: &str, user: &str, password: &str) -> Keyring {
    let mut keyring = Keyring::empty();
    let json = json!({"auths": {registry: {"username": user, "password": password}}});
    keyring.add_docker_config_json(json.to_string().as_bytes()).unwrap();
    keyring
}

#[tokio::test]
async fn a_wasm_artifact() {
    let setup = setup().await;
    let manifest = setup.registry.artifact("me/app", "v1", &module(1));
    let image = setup.pull("me/app:v1").await.unwrap();
    assert_eq!(image.reference, setup.registry.name("me/app:v1"));
    assert_eq!(image.id, setup.registry.name(&format!("me/app@{}", manifest["digest"].as_str().unwrap())));
    assert_eq!(image.digest, digest(&module(1)));
    assert_eq!(fs::read(&image.module).unwrap(), module(1));
    assert!(image.rootfs.is_none());
    assert_eq!(setup.store.get(&image.reference).unwrap(), Some(image.clone()));
    assert_eq!(setup.store.get(&image.id).unwrap(), Some(image.clone()), "by digest, too");
    let by_digest = setup.store.pull(&image.id, &Keyring::empty()).await.unwrap();
    assert_eq!(by_digest.module, image.module);
    assert_eq!(setup.leftovers(), 0);
}

#[tokio::test]
async fn a_moved_tag_is_seen_by_the_next_pull() {
    let setup = setup().await;
    setup.registry.artifact("app", "latest", &module(1));
    let first = setup.pull("app").await.unwrap();
    setup.registry.artifact("app", "latest", &module(2));
    let second = setup.pull("app").await.unwrap();
    assert_ne!(first.digest, second.digest);
    assert_eq!(setup.store.get(&first.reference).unwrap(), Some(second));
}

#[tokio::test]
async fn the_older_artifact_and_an_index() {
    let setup = setup().await;
    let config = setup.registry.blob("application/vnd.wasm.config.v1+json", b"{}");
    let layer = setup.registry.blob("application/vnd.wasm.content.layer.v1+wasm", &module(3));
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    let mut entry = setup.registry.manifest("old", "single", IMAGE_MANIFEST, &manifest);
    entry["platform"] = json!({"os": "wasi", "architecture": "wasm"});
    let other = json!({"mediaType": IMAGE_MANIFEST, "digest": digest(b"x"), "size": 1, "platform": {"os": "linux", "architecture": "amd64"}});
    let index = json!({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [other, entry]});
    let index = setup.registry.manifest("old", "multi", IMAGE_INDEX, &index);
    assert_eq!(setup.pull("old:single").await.unwrap().digest, digest(&module(3)));
    let image = setup.pull("old:multi").await.unwrap();
    assert_eq!(image.digest, digest(&module(3)));
    assert!(image.id.ends_with(index["digest"].as_str().unwrap()), "the id is the index's: {}", image.id);
    assert_eq!(setup.store.list().unwrap().len(), 2);
}

/// A gzipped tar archive of these files.
fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn container(registry: &Registry, repository: &str, config: &Value, layers: &[Vec<u8>]) {
    let config = registry.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let layers: Vec<Value> =
        layers.iter().map(|layer| registry.blob("application/vnd.oci.image.layer.v1.tar+gzip", layer)).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": layers});
    registry.manifest(repository, "latest", IMAGE_MANIFEST, &manifest);
}

#[tokio::test]
async fn a_container_image_for_wasi() {
    let setup = setup().await;
    let config = json!({"os": "wasi", "architecture": "wasm", "config": {
        "Entrypoint": ["app.wasm"], "Cmd": ["--serve"], "Env": ["A=b"], "WorkingDir": "/srv"}});
    let layers = [
        layer(&[("srv/app.wasm", &module(4)), ("etc/gone", b"x"), ("etc/kept", b"y")]),
        layer(&[("etc/.wh.gone", b""), ("etc/more", b"z")]),
    ];
    container(&setup.registry, "c", &config, &layers);
    let image = setup.pull("c").await.unwrap();
    assert_eq!(image.digest, digest(&module(4)));
    assert_eq!((image.config.cmd[0].as_str(), image.config.env[0].as_str()), ("--serve", "A=b"));
    assert_eq!(image.config.working_dir, "/srv");
    let rootfs = image.rootfs.clone().unwrap();
    let mut files: Vec<String> = fs::read_dir(rootfs.join("etc"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["kept", "more"]);
    assert_eq!(image.size_bytes, module(4).len() as u64 * 2 + 3, "both layers' files, and the module's copy");
    assert_eq!(setup.pull("c").await.unwrap(), image, "pulled again, all is in place");
    setup.store.remove(&image.reference).unwrap();
    assert!(!rootfs.exists() && !image.module.exists());
}

#[tokio::test]
async fn what_is_no_wasm_is_refused() {
    let setup = setup().await;
    setup.registry.artifact("text", "latest", b"#!/bin/sh\n");
    setup.registry.artifact("empty", "latest", b"");
    let linux = json!({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["nginx"]}});
    container(&setup.registry, "nginx", &linux, &[layer(&[("bin/nginx", b"\x7fELF")])]);
    let liar = json!({"os": "wasi", "architecture": "wasm", "config": {"Entrypoint": ["/bin/sh"]}});
    container(&setup.registry, "liar", &liar, &[layer(&[("bin/sh", b"\x7fELF")])]);
    container(&setup.registry, "absent", &liar, &[layer(&[("etc/x", b"")])]);
    for (name, words) in [
        ("text", "begins with \"#!/b\""),
        ("empty", "empty"),
        ("nginx", "linux/amd64"),
        ("liar", "begins with \"\\x7fELF\""),
        ("absent", "is not in it"),
    ] {
        let error = setup.pull(name).await.unwrap_err();
        assert_eq!(error.reason(), "ErrImageInvalid", "{name}: {error}");
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
    assert_eq!(
        setup.registry.requests(&digest(&layer(&[("bin/nginx", b"\x7fELF")]))),
        0,
        "refused by its configuration"
    );
    assert!(setup.store.list().unwrap().is_empty());
    assert_eq!(setup.leftovers(), 0);
}

#[tokio::test]
async fn a_broken_download_is_taken_up_again() {
    let setup = setup().await;
    let big: Vec<u8> = module(5).into_iter().chain((0..200_000_u32).flat_map(u32::to_le_bytes)).collect();
    setup.registry.artifact("big", "latest", &big);
    setup.registry.set_fault(Fault::BreakOff(2));
    let image = setup.pull("big").await.unwrap();
    assert_eq!(image.digest, digest(&big));
    assert_eq!(setup.registry.requests("/blobs/"), 3);
    setup.registry.set_fault(Fault::BreakOff(100));
    setup.store.remove(&image.reference).unwrap();
    let error = setup.pull("big").await.unwrap_err();
    assert!(matches!(error, ImageError::Registry { .. }), "{error}");
    assert_eq!(setup.leftovers(), 0);
}

#[tokio::test]
async fn corrupt_content_is_never_kept() {
    let setup = setup().await;
    setup.registry.artifact("app", "latest", &module(6));
    setup.registry.set_fault(Fault::Corrupt);
    let error = setup.pull("app").await.unwrap_err();
    let ImageError::Corrupt { expected, actual, .. } = &error else { panic!("{error}") };
    assert_eq!(*expected, digest(&module(6)));
    assert_ne!(expected, actual);
    assert_eq!(error.reason(), "ErrImagePull");
    assert_eq!(fs::read_dir(setup.folder.path().join("images/blobs/sha256")).unwrap().count(), 0);
    setup.registry.set_fault(Fault::ServerError);
    let error = setup.pull("app").await.unwrap_err();
    assert!(error.to_string().contains("500"), "{error}");
    setup.registry.set_fault(Fault::None);
    setup.pull("app").await.unwrap();
}

#[tokio::test]
async fn absent_images_and_registries() {
    let setup = setup().await;
    let error = setup.pull("nobody/home:v9").await.unwrap_err();
    assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!("failed to pull image {:?}: not found", setup.registry.name("nobody/home:v9"))
    );
    let error = setup.store.pull("127.0.0.1:1/app", &Keyring::empty()).await.unwrap_err();
    assert!(matches!(error, ImageError::Registry { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "the cause is in the message: {error}");
    let error = setup.store.pull("Not A Name", &Keyring::empty()).await.unwrap_err();
    assert_eq!(error.reason(), "InvalidImageName");
}

#[tokio::test]
async fn credentials() {
    let setup = setup().await;
    setup.registry.artifact("private", "latest", &module(7));
    let name = setup.registry.name("private");
    let host = name.split('/').next().unwrap();
    for access in [Access::Token("me", "secret"), Access::Basic("me", "secret")] {
        setup.registry.set_access(access.clone());
        let error = setup.pull("private").await.unwrap_err();
        assert!(matches!(error, ImageError::Unauthorized { .. }), "{access:?}: {error}");
        let error = setup.store.pull(&name, &keyring(host, "me", "wrong")).await.unwrap_err();
        assert!(matches!(error, ImageError::Unauthorized { .. }), "{access:?}: {error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
        let mut keys = keyring(host, "me", "wrong");
        let right = json!({"auths": {host: {"username": "me", "password": "secret"}}});
        keys.add_docker_config_json(right.to_string().as_bytes()).unwrap();
        setup.store.pull(&name, &keys).await.unwrap();
    }
}

#[tokio::test]
async fn pulls_of_one_image_share_the_download() {
    let setup = setup().await;
    setup.registry.artifact("app", "latest", &module(8));
    setup.registry.close_gate();
    let pulls: Vec<_> = (0..8)
        .map(|_| {
            let (store, name) = (setup.store.clone(), setup.registry.name("app"));
            tokio::spawn(async move { store.pull(&name, &Keyring::empty()).await })
        })
        .collect();
    while setup.registry.requests("/blobs/") == 0 {
        tokio::task::yield_now().await;
    }
    pulls[0].abort();
    setup.registry.open_gate();
    for pull in pulls.into_iter().skip(1) {
        pull.await.unwrap().unwrap();
    }
    assert_eq!(setup.registry.requests("/blobs/"), 1);
}

#[tokio::test]
async fn limits() {
    let folder = TempDir::new().unwrap();
    let mut config = Config::new(folder.path());
    config.max_module_bytes = 10_000;
    config.max_rootfs_bytes = 20_000;
    config.max_rootfs_entries = 3;
    let store = ImageStore::open(config).unwrap();
    let registry = Registry::start().await;
    let wasi = json!({"os": "wasi", "architecture": "wasm", "config": {"Entrypoint": ["/a.wasm"]}});
    let big = vec![0; 30_000];
    registry.artifact("module", "latest", &big);
    container(&registry, "bomb", &wasi, &[layer(&[("a.wasm", &module(9)), ("big", &big)])]);
    container(&registry, "many", &wasi, &[layer(&[("a", b""), ("b", b""), ("c", b""), ("d", b"")])]);
    for name in ["module", "bomb", "many"] {
        let error = store.pull(&registry.name(name), &Keyring::empty()).await.unwrap_err();
        assert_eq!(error.reason(), "ErrImageInvalid", "{name}: {error}");
    }
    assert_eq!(registry.requests(&digest(&big)), 0, "its size was known from the manifest");
}

#[tokio::test]
async fn files_are_read_again_when_they_change() {
    let setup = setup().await;
    let path = setup.folder.path().join("app.wasm");
    let name = format!("file://{}", path.display());
    fs::write(&path, module(1)).unwrap();
    assert_eq!(setup.store.get(&name).unwrap(), None);
    let first = setup.store.pull(&name, &Keyring::empty()).await.unwrap();
    assert_eq!(setup.store.get(&name).unwrap().as_ref(), Some(&first));
    fs::remove_file(&path).unwrap();
    fs::write(&path, [module(2), module(2)[8..].to_vec()].concat()).unwrap();
    assert_eq!(setup.store.get(&name).unwrap(), None, "the file is another now");
    let second = setup.store.pull(&name, &Keyring::empty()).await.unwrap();
    assert_ne!(first.digest, second.digest);
    for (bad, words) in
        [("/nowhere/x.wasm", "No such file"), ("/dev/zero", "not a regular file"), ("/etc", "not a regular file")]
    {
        let error = setup.store.pull(&format!("file://{bad}"), &Keyring::empty()).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let closed = ImageStore::open(Config::new(Path::new(&setup.folder.path().join("closed")))).unwrap();
    let error = closed.pull(&name, &Keyring::empty()).await.unwrap_err();
    assert!(matches!(error, ImageError::FileNotAllowed { .. }), "{error}");
}
