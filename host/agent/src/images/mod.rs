//! Images: from a reference in a pod to a file that can be compiled.
//!
//! `reference` and `manifest` are pure; `store` is the disk, `unpack` what an image's layers become
//! there; `registry` fetches; `pull` puts them together. Never here: compiling (the runtime does), pods.

pub mod capabilities;
pub mod collect;
pub mod credentials;
pub mod hosts;
pub mod manifest;
pub mod policy;
pub mod reference;
pub mod signature;
pub mod store;
mod unpack;
mod zstd;

pub mod program;
pub mod pull;
pub mod registry;

pub use hosts::RegistryHosts;
pub use pull::{ImageFault, Images, Pulled};
pub use reference::Reference;
pub use store::ImageStore;

use std::path::PathBuf;

/// An image on this host's disk.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LocalImage {
    /// Repository and manifest digest, as statuses show it.
    pub image_id: String,
    /// Digest of its manifest.
    pub manifest_digest: String,
    /// The component or module.
    pub wasm: PathBuf,
    /// Digest of that file.
    pub wasm_digest: String,
    /// The image's files, if it has any: read only, shared.
    pub rootfs: Option<PathBuf>,
    /// Program name and fixed arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub arguments: Vec<String>,
    /// Variables.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Bytes of all its blobs.
    pub size_bytes: u64,
}

impl LocalImage {
    /// Tells whether it was kept to be run, and not for its files alone.
    #[must_use]
    pub fn is_program(&self) -> bool {
        !self.wasm_digest.is_empty()
    }
}
