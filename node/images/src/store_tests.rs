//! The store: names, shared modules, damage, dead processes.

use super::*;
use tempfile::TempDir;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn store(folder: &TempDir) -> ImageStore {
    ImageStore::open(Config::new(folder.path().join("images"))).unwrap()
}

fn files(store: &ImageStore) -> usize {
    fs::read_dir(blobs(&store.inner.config.dir)).unwrap().count()
}

#[test]
fn imports_are_found_under_every_form_of_their_name() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder);
    let file = folder.path().join("app.wasm");
    fs::write(&file, MODULE).unwrap();
    let image = store.import(&file, "me/app").unwrap();
    assert_eq!(image.reference, "docker.io/me/app:latest");
    assert_eq!(image.digest, digest_of(MODULE));
    assert_eq!(image.id, format!("docker.io/me/app@{}", image.digest));
    assert_eq!(fs::read(&image.module).unwrap(), MODULE);
    for name in ["me/app", "me/app:latest", "docker.io/me/app", image.id.as_str()] {
        assert_eq!(store.get(name).unwrap().as_ref(), Some(&image), "{name}");
    }
    assert_eq!(store.get("me/app:v2").unwrap(), None);
}

#[test]
fn equal_modules_are_kept_once_and_removed_with_their_last_name() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder);
    let first = store.import_bytes("a:1", MODULE).unwrap();
    store.import_bytes("b:1", MODULE).unwrap();
    assert_eq!(files(&store), 1);
    let names: Vec<String> = store.list().unwrap().into_iter().map(|image| image.reference).collect();
    assert_eq!(names, ["docker.io/library/a:1", "docker.io/library/b:1"]);
    assert_eq!(store.remove("a:1").unwrap(), Removed::Yes);
    assert_eq!(store.remove("a:1").unwrap(), Removed::NotThere);
    assert!(first.module.exists());
    assert_eq!(store.remove("b:1").unwrap(), Removed::Yes);
    assert!(!first.module.exists());
}

#[test]
fn only_whole_wasm_files_within_the_limit() {
    let folder = TempDir::new().unwrap();
    let mut config = Config::new(folder.path().join("images"));
    config.max_module_bytes = 1_000;
    let store = ImageStore::open(config).unwrap();
    let large = [MODULE, &[0; 1_000]].concat();
    for (bytes, reason, words) in [
        (&b""[..], "ErrImageInvalid", "empty"),
        (b"\0as", "ErrImageInvalid", "begins with"),
        (b"PK\x03\x04zip", "ErrImageInvalid", "PK\\x03\\x04"),
        (&large, "ErrImageInvalid", "exceeds 1000 bytes"),
    ] {
        let error = store.import_bytes("x", bytes).unwrap_err();
        assert_eq!(error.reason(), reason);
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(store.list().unwrap().is_empty());
    assert_eq!(files(&store), 0);
    assert!(matches!(store.import(Path::new("/nowhere"), "x"), Err(ImageError::Read { .. })));
    assert!(matches!(store.import_bytes("file:///x.wasm", MODULE), Err(ImageError::FileNotAllowed { .. })));
}

#[test]
fn damage_is_noticed() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder);
    let image = store.import_bytes("a", MODULE).unwrap();
    fs::write(&image.module, b"\0as").unwrap();
    assert_eq!(store.get("a").unwrap(), None, "a file of another length");
    store.import_bytes("a", MODULE).unwrap();
    fs::write(&image.module, b"\0asm\xff\xff\xff\xff").unwrap();
    store.import_bytes("a", MODULE).unwrap();
    fs::write(store.inner.ref_path(&image.reference), b"{").unwrap();
    assert_eq!(store.get("a").unwrap(), None, "a damaged record");
    store.import_bytes("a", MODULE).unwrap();
    assert_eq!(store.get("a").unwrap(), Some(image));
}

#[test]
fn what_dead_processes_left_is_removed_and_living_ones_are_left_alone() {
    let folder = TempDir::new().unwrap();
    let first = store(&folder);
    let unfinished = first.inner.scratch.file().unwrap();
    let tmp = folder.path().join("images/tmp");
    fs::create_dir(tmp.join("dead")).unwrap();
    fs::write(tmp.join("dead/half"), b"x").unwrap();
    fs::write(tmp.join("dead/lock"), b"").unwrap();
    fs::create_dir(tmp.join("dead-before-its-lock")).unwrap();
    let second = store(&folder);
    assert!(unfinished.path().exists(), "the first store is alive");
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 2);
    first.import_bytes("a", MODULE).unwrap();
    assert!(second.get("a").unwrap().is_some(), "two processes, one store");
    drop((unfinished, first, second));
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
}

#[test]
fn many_at_once() {
    let folder = TempDir::new().unwrap();
    let stores = [store(&folder), store(&folder)];
    std::thread::scope(|scope| {
        for worker in 0..8_u8 {
            let store = &stores[usize::from(worker % 2)];
            scope.spawn(move || {
                for round in 0..20_u8 {
                    let name = format!("n{}", round % 3);
                    let module = [MODULE, &[0, 2, 1, b'a' + round % 3][..]].concat();
                    store.import_bytes(&name, &module).unwrap();
                    if worker == 0 && round % 5 == 0 {
                        store.remove(&name).unwrap();
                    }
                }
            });
        }
    });
    for image in stores[0].list().unwrap() {
        assert_eq!(digest_of(&fs::read(&image.module).unwrap()), image.digest);
    }
}
