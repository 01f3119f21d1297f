//! What a manifest says, and whether it is something that Skiff can run. No I/O.

use serde::Deserialize;

use crate::record::ImageConfig;

/// What we ask a registry for.
pub(crate) const MANIFEST_TYPES: &[&str] = &[
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// A layer that is the module itself: the CNCF Wasm artifact, and the forms from before it.
const MODULE_TYPES: &[&str] = &[
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];

const MAX_LAYERS: usize = 128;

/// A manifest or an index of manifests.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

/// What to do with a manifest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Look at this manifest of the index instead.
    Follow(Descriptor),
    /// This layer is the module.
    Module(Descriptor),
    /// Unpack the layers in order; the configuration says which file in them is the module.
    Container { config: Descriptor, layers: Vec<(Descriptor, Packing)> },
}

/// How a layer's tar archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
}

/// The configuration of a container image.
#[derive(Debug, Deserialize)]
pub(crate) struct ContainerConfig {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    config: Option<ImageConfig>,
}

impl Manifest {
    /// # Errors
    /// Why it is nothing for Skiff.
    pub(crate) fn plan(self) -> Result<Plan, String> {
        if !self.manifests.is_empty() {
            return choose(self.manifests).map(Plan::Follow);
        }
        if let Some(module) = self.layers.iter().find(|layer| MODULE_TYPES.contains(&base(&layer.media_type))) {
            return Ok(Plan::Module(module.clone()));
        }
        if self.layers.len() > MAX_LAYERS {
            return Err(format!("it has {} layers, more than {MAX_LAYERS}", self.layers.len()));
        }
        let mut layers = Vec::new();
        for layer in self.layers {
            let packing = packing(&layer.media_type)?;
            layers.push((layer, packing));
        }
        match self.config {
            Some(config) if !layers.is_empty() => Ok(Plan::Container { config, layers }),
            _ => Err("its manifest has no layers".to_owned()),
        }
    }
}

/// The Wasm variant of an image that comes for several platforms.
fn choose(manifests: Vec<Descriptor>) -> Result<Descriptor, String> {
    let wasm = |platform: &Platform| {
        matches!(platform.architecture.as_str(), "wasm" | "wasm32") || platform.os.starts_with("wasi")
    };
    let has_platform = |descriptor: &&Descriptor| descriptor.platform.as_ref().is_some_and(wasm);
    if let Some(found) = manifests.iter().find(has_platform) {
        return Ok(found.clone());
    }
    let names: Vec<String> = manifests
        .iter()
        .filter_map(|manifest| manifest.platform.as_ref())
        .map(|platform| format!("{}/{}", platform.os, platform.architecture))
        .filter(|name| name != "unknown/unknown")
        .collect();
    match <[Descriptor; 1]>::try_from(manifests) {
        Ok([only]) if only.platform.is_none() => Ok(only),
        _ => Err(format!("it comes for {}, not for wasi/wasm", names.join(", "))),
    }
}

fn packing(media_type: &str) -> Result<Packing, String> {
    match base(media_type) {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => Ok(Packing::Plain),
        "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            Ok(Packing::Gzip)
        }
        other => Err(format!("a layer of type {other:?} is neither Wasm nor a file system")),
    }
}

/// A media type without its parameters.
fn base(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

impl ContainerConfig {
    /// The program's path and the image's defaults. An image for another platform is refused here, before its
    /// layers are fetched; builders that know no wasi/wasm say linux/amd64 and mean an entrypoint that ends in `.wasm`.
    ///
    /// # Errors
    /// Why it is nothing for Skiff.
    pub(crate) fn program(self) -> Result<(String, ImageConfig), String> {
        let config = self.config.unwrap_or_default();
        let program = config.entrypoint.iter().chain(&config.cmd).next().cloned();
        let program = program.ok_or("it has neither an entrypoint nor a command")?;
        let wasm = self.os.starts_with("wasi") || self.architecture.starts_with("wasm") || program.ends_with(".wasm");
        if !wasm {
            return Err(format!("it is for {}/{} and runs {program:?}", self.os, self.architecture));
        }
        Ok((program, config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn plan(manifest: Value) -> Result<Plan, String> {
        serde_json::from_value::<Manifest>(manifest).unwrap().plan()
    }

    fn layer(media_type: &str, digest: &str) -> Value {
        json!({"mediaType": media_type, "digest": digest, "size": 7})
    }

    #[test]
    fn both_wasm_artifacts_are_modules() {
        for kind in ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"] {
            let planned = plan(
                json!({"config": layer("application/vnd.wasm.config.v0+json", "c"), "layers": [layer(kind, "m")]}),
            );
            let Ok(Plan::Module(module)) = planned else { panic!("{planned:?}") };
            assert_eq!((module.digest.as_str(), module.size), ("m", 7));
        }
    }

    #[test]
    fn an_index_leads_to_its_wasm_variant() {
        let entry = |os: &str, architecture: &str| json!({"mediaType": MANIFEST_TYPES[0], "digest": os, "platform": {"os": os, "architecture": architecture}});
        let planned = plan(json!({"manifests": [entry("linux", "amd64"), entry("wasi", "wasm")]}));
        assert!(matches!(planned, Ok(Plan::Follow(found)) if found.digest == "wasi"));
        let why = plan(json!({"manifests": [entry("linux", "amd64"), entry("unknown", "unknown")]})).unwrap_err();
        assert_eq!(why, "it comes for linux/amd64, not for wasi/wasm");
        let planned = plan(json!({"manifests": [{"digest": "only"}]}));
        assert!(matches!(planned, Ok(Plan::Follow(found)) if found.digest == "only"));
    }

    #[test]
    fn containers_and_what_is_neither() {
        let config = layer("application/vnd.oci.image.config.v1+json", "c");
        let planned =
            plan(json!({"config": config, "layers": [layer("application/vnd.oci.image.layer.v1.tar+gzip", "l")]}));
        assert!(matches!(planned, Ok(Plan::Container { layers, .. }) if layers[0].1 == Packing::Gzip));
        assert!(plan(json!({"config": config, "layers": [layer("application/vnd.cncf.helm.chart", "l")]})).is_err());
        assert!(plan(json!({"layers": []})).is_err());
    }

    #[test]
    fn only_wasm_programs() {
        let program = |value: Value| serde_json::from_value::<ContainerConfig>(value).unwrap().program();
        let (path, config) = program(
            json!({"os": "wasi", "architecture": "wasm", "config": {"Entrypoint": ["/app.wasm"], "Cmd": null}}),
        )
        .unwrap();
        assert_eq!((path.as_str(), config.cmd.len()), ("/app.wasm", 0));
        assert!(program(json!({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["a.wasm"]}})).is_ok());
        let why = program(json!({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["nginx"]}})).unwrap_err();
        assert_eq!(why, "it is for linux/amd64 and runs \"nginx\"");
        assert!(program(json!({"os": "wasi", "architecture": "wasm"})).is_err());
    }
}
