//! The example guests that the binary brings along, so that the README's first command needs no registry.

use agent::images::ImageStore;
use anyhow::{Context as _, Result};

/// Name and module of each.
const EXAMPLES: &[(&str, &[u8])] = &[
    ("skiff.dev/examples/hello-http:v1", include_bytes!("../../guests/prebuilt/hello-http.wasm")),
    ("skiff.dev/examples/cli-report:v1", include_bytes!("../../guests/prebuilt/cli-report.wasm")),
    ("skiff.dev/examples/cli-report-component:v1", include_bytes!("../../guests/prebuilt/cli-report-component.wasm")),
    ("skiff.dev/examples/pod-aware:v1", include_bytes!("../../guests/prebuilt/pod-aware.wasm")),
];

/// Puts those into the store that are not there.
pub fn import(images: &ImageStore) -> Result<()> {
    for (name, bytes) in EXAMPLES {
        // A store that cannot be read is said below, by the import.
        let known = images.get(name).ok().flatten().is_some_and(|image| image.size_bytes == bytes.len() as u64);
        if !known {
            images.import_bytes(name, bytes).with_context(|| format!("cannot import {name}"))?;
        }
    }
    Ok(())
}
