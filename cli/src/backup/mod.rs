//! `coracle backup` and `coracle restore`: the whole cluster in one file.
//!
//! The file is a tar archive: `backup.json` says what it is, `store.snapshot` is all objects at one revision, `pki/` the
//! cluster's keys, `registry/` the images of the built-in registry. A running server is asked for the snapshot and goes on
//! meanwhile; of one that is stopped, the store is read. Whoever has the file has the cluster: it holds the key of its
//! certificate authority and the key that its Secrets are sealed with. Only its owner may read it.

mod make;
mod restore;

pub(crate) use make::backup;
pub(crate) use restore::restore;

use serde::{Deserialize, Serialize};

/// The entry that says what the archive is; the first one.
const ABOUT: &str = "backup.json";
/// The entry with the objects; the last one.
const SNAPSHOT: &str = "store.snapshot";
/// The format of the archive.
const FORMAT: u32 = 1;

/// What an archive says of itself.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    /// The format.
    format: u32,
    /// The version of the program that made it.
    version: String,
    /// When it was made, RFC 3339.
    created: String,
    /// SHA-256 of the snapshot, hexadecimal.
    snapshot_sha256: String,
    /// Whether images are in it.
    images: bool,
}
