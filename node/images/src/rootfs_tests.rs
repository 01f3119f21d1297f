//! Layers unpacked, and what they must not reach.

use super::*;
use tar::{Builder, Header};
use tempfile::TempDir;

/// An archive entry; the name is written as it is, however bad.
struct Item(EntryType, &'static str, &'static str);

use EntryType::{Directory, Fifo, Link, Regular, Symlink};

fn archive(items: &[Item]) -> File {
    let mut builder = Builder::new(tempfile::tempfile().unwrap());
    for Item(kind, name, content) in items {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        let raw = &mut header.as_gnu_mut().unwrap().name;
        raw[..name.len()].copy_from_slice(name.as_bytes());
        let data = match kind {
            Regular => content.as_bytes(),
            Symlink | Link => {
                header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
                &[]
            }
            _ => &[],
        };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    let mut file = builder.into_inner().unwrap();
    io::Seek::rewind(&mut file).unwrap();
    file
}

fn unpack(root: &Path, layers: &[&[Item]]) -> Result<u64, UnpackError> {
    let mut unpacker = Unpacker::new(root, 1_000, 20);
    for layer in layers {
        unpacker.layer(archive(layer), Packing::Plain)?;
    }
    Ok(unpacker.bytes())
}

fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(root).unwrap().display().to_string());
            if path.symlink_metadata().unwrap().is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn later_layers_change_earlier_ones() {
    let root = TempDir::new().unwrap();
    let bytes = unpack(
        root.path(),
        &[
            &[
                Item(Directory, "./a/", ""),
                Item(Regular, "./a/x", "old"),
                Item(Regular, "/b/y", "y"),
                Item(Regular, "c/z", "z"),
            ],
            &[
                Item(Regular, "a/x", "newer"),
                Item(Regular, "b/.wh.y", ""),
                Item(Regular, "c/.wh..wh..opq", ""),
                Item(Regular, "c/w", "w"),
            ],
        ],
    );
    assert_eq!(bytes.unwrap(), 3 + 1 + 1 + 5 + 1);
    assert_eq!(tree(root.path()), ["a", "a/x", "b", "c", "c/w"]);
    assert_eq!(fs::read_to_string(root.path().join("a/x")).unwrap(), "newer");
}

#[test]
fn links_within_and_nothing_special() {
    let root = TempDir::new().unwrap();
    unpack(
        root.path(),
        &[&[
            Item(Regular, "bin/app.wasm", "wasm"),
            Item(Link, "hard", "bin/app.wasm"),
            Item(Symlink, "soft", "/bin/app.wasm"),
            Item(Fifo, "fifo", ""),
        ]],
    )
    .unwrap();
    assert_eq!(tree(root.path()), ["bin", "bin/app.wasm", "hard", "soft"]);
    assert_eq!(fs::read_to_string(root.path().join("hard")).unwrap(), "wasm");
}

#[test]
fn nothing_leaves_the_root() {
    let outside = TempDir::new().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let root = outside.path().join("root");
    for (index, layer) in [
        &[Item(Regular, "../escaped", "x")][..],
        &[Item(Regular, "a/../../escaped", "x")],
        &[Item(Symlink, "up", ".."), Item(Regular, "up/escaped", "x")],
        &[Item(Symlink, "up", ".."), Item(Directory, "up/escaped", "")],
        &[Item(Symlink, "up", ".."), Item(Regular, "up/.wh.secret", "")],
        &[Item(Symlink, "up", ".."), Item(Link, "stolen", "up/secret")],
        &[Item(Symlink, "s", "../secret"), Item(Link, "stolen", "s")],
        &[Item(Link, "stolen", "../secret")],
        &[Item(Regular, ".wh...", "")],
        &[Item(Regular, ".wh..", "")],
        &[Item(Regular, ".wh.", "")],
        &[Item(Regular, "a/.wh.", "")],
    ]
    .into_iter()
    .enumerate()
    {
        fs::create_dir(&root).unwrap();
        let unpacked = unpack(&root, &[layer]);
        let names: Vec<String> = fs::read_dir(outside.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.len(), 2, "{index}: {names:?}");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret", "{index}");
        assert!(!root.join("stolen").exists(), "{index}");
        assert!(unpacked.is_err(), "{index}");
        fs::remove_dir_all(&root).unwrap();
    }
}

#[test]
fn an_opaque_folder_that_is_a_link_becomes_a_folder() {
    let outside = TempDir::new().unwrap();
    let root = outside.path().join("root");
    fs::create_dir(&root).unwrap();
    unpack(&root, &[&[Item(Symlink, "up", "..")], &[Item(Regular, "up/.wh..wh..opq", "")]]).unwrap();
    assert_eq!(tree(outside.path()), ["root", "root/up"]);
    assert!(root.join("up").symlink_metadata().unwrap().is_dir());
}

#[test]
fn a_file_in_the_place_of_a_link_does_not_follow_it() {
    let outside = TempDir::new().unwrap();
    let root = outside.path().join("root");
    fs::create_dir(&root).unwrap();
    unpack(&root, &[&[Item(Symlink, "log", "../escaped")], &[Item(Regular, "log", "x")]]).unwrap();
    assert_eq!(fs::read_to_string(root.join("log")).unwrap(), "x");
    assert!(!outside.path().join("escaped").exists());
}

#[test]
fn limits_hold_across_layers() {
    let root = TempDir::new().unwrap();
    let half: &'static str = "x".repeat(600).leak();
    let error = unpack(root.path(), &[&[Item(Regular, "a", half)], &[Item(Regular, "b", half)]]).unwrap_err();
    assert!(matches!(error, UnpackError::TooLarge(1_000)), "{error}");
    let many: Vec<Item> = (0..21).map(|_| Item(Directory, "d", "")).collect();
    assert!(matches!(unpack(root.path(), &[&many]), Err(UnpackError::TooMany(20))));
}

#[test]
fn find_stays_inside() {
    let root = TempDir::new().unwrap();
    unpack(
        root.path(),
        &[&[
            Item(Regular, "usr/bin/app.wasm", "x"),
            Item(Symlink, "bin", "usr/bin"),
            Item(Symlink, "app", "/bin/../bin/app.wasm"),
            Item(Symlink, "up", "../../../../usr/bin/app.wasm"),
            Item(Symlink, "loop", "loop"),
        ]],
    )
    .unwrap();
    let program = root.path().join("usr/bin/app.wasm");
    for path in ["/usr/bin/app.wasm", "bin/app.wasm", "app", "/up", "../../bin/app.wasm"] {
        assert_eq!(find(root.path(), Path::new(path)).unwrap(), program, "{path}");
    }
    assert!(find(root.path(), Path::new("loop")).is_err());
    assert!(find(root.path(), Path::new("/etc/passwd")).is_err());
}
