//! Images: from a name in a pod's `image` field to a Wasm module on this node's disk.
//!
//! | part | file |
//! |---|---|
//! | names | `reference` |
//! | the store: modules by digest, names as small files | `store`, `record`, `blob`, `scratch` |
//! | pulling from an OCI registry | `pull`, `registry`, `manifest`, `flight` |
//! | registry credentials | `keyring` |
//! | container images' file systems | `rootfs` |
//!
//! Several processes may use one store at once (`skiff image import` beside a running server): everything appears by
//! an atomic rename, and nothing is removed while another process is between writing a module and naming it.
//!
//! This crate must never know Kubernetes objects or wasmtime. It looks at no more of a module than its magic bytes.
//!
//! Invariant: a file under `blobs/` has the digest that is its name, and is never written again.

mod blob;
mod error;
mod flight;
mod keyring;
mod manifest;
mod pull;
mod record;
mod reference;
mod registry;
mod rootfs;
mod scratch;
mod store;

pub use error::ImageError;
pub use keyring::{Credentials, Keyring, KeyringError};
pub use record::{Image, ImageConfig};
pub use reference::{Reference, RegistryReference};
pub use store::{Config, FileImages, ImageStore, Removed};
