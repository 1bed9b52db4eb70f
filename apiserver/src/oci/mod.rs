//! The built-in image registry at `/v2/`: push and pull of OCI artifacts, kept on the server's disk.
//!
//! Follows the OCI Distribution Specification 1.1: blobs by monolithic, streamed and resumable upload, manifests by
//! tag and by digest, tags, referrers, deletion; `_catalog` is Docker's extension. Digests are verified before
//! anything becomes visible, and everything becomes visible by a rename, so that a crash leaves no half blob.
//! Authentication and authorization happened before a request comes here; `access` says what a request needs.
//!
//! Words: a *repository* is a name such as `team/app`; a *blob* is bytes by digest, stored once for all repositories
//! and visible in those that have a *link* to it; an *upload* is a blob in the making.

pub(crate) mod access;
mod collect;
mod digest;
mod error;
mod imports;
mod manifest;
mod policy;
mod room;
mod route;
mod serve;
mod storage;

pub use access::Rules;
pub(crate) use access::{Grant, Needs, Right};
pub use digest::Digest;
pub use error::OciError;
pub(crate) use imports::Names;
pub use policy::Policy as ImagePolicy;
pub use route::Repository;
pub use serve::ImageRegistry;
pub use storage::{ImageStore, StoredManifest};
