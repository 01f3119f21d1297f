//! Rules about the code base: which crate may use which (design: ARCHITECTURE.md, "Dependency rule").

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::collections::BTreeSet;

/// Every allowed edge between our crates.
const EDGES: &[(&str, &[&str])] = &[
    ("cli", &["apiserver", "scheduler", "controllers", "agent"]),
    ("apiserver", &["api", "store"]),
    ("scheduler", &["api"]),
    ("controllers", &["api"]),
    ("agent", &["api", "runtime", "network", "images"]),
    ("api", &[]),
    ("store", &[]),
    ("runtime", &[]),
    ("network", &[]),
    ("images", &[]),
    ("tests", &[]),
];

/// Who may use an external crate; what is not named here is free. Tests and benches (dev-dependencies) are free too.
const OWNERS: &[(&str, &[&str])] = &[
    ("redb", &["store"]),
    ("tonic", &["store"]),
    ("tonic-prost", &["store"]),
    ("prost", &["store"]),
    ("wasmtime", &["runtime"]),
    ("wasmtime-wasi", &["runtime"]),
    ("wasmtime-wasi-http", &["runtime"]),
    ("axum", &["apiserver", "agent"]),
    ("oci-client", &["images"]),
    ("tokio-tungstenite", &["apiserver"]),
    ("cel", &["api"]),
    ("kube", &["scheduler", "controllers", "agent", "cli", "tests"]),
    ("kube-core", &["api"]),
    ("k8s-openapi", &["api", "tests"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli", "tests"]),
];

fn metadata() -> Metadata {
    MetadataCommand::new().no_deps().current_dir(tests::binary::root()).exec().expect("cargo metadata runs")
}

#[test]
fn crates_use_only_what_the_dependency_rule_allows() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata.workspace_packages().iter().map(|p| p.name.as_str()).collect();
    let known: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, known, "a crate came or went: say here what it may use");

    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let allowed = EDGES.iter().find(|(n, _)| *n == name).map_or(&[][..], |(_, to)| *to);
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            if ours.contains(to) && !allowed.contains(&to) {
                wrong.push(format!("{name} → {to} ({:?})", dependency.kind));
            }
            let owners = OWNERS.iter().find(|(n, _)| *n == to).map(|(_, owners)| *owners);
            if dependency.kind == DependencyKind::Normal && owners.is_some_and(|o| !o.contains(&name)) {
                wrong.push(format!("{name} → {to}, which belongs to {:?}", owners.unwrap_or_default()));
            }
        }
    }
    assert!(wrong.is_empty(), "edges against the dependency rule:\n{}", wrong.join("\n"));
}
