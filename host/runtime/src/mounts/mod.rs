//! The file tree of a container: a root layer, and mounts in it.
//!
//! In come paths of guests and calls on them; out go file handles, facts about files and
//! `std::io::Error`s as a kernel would give them. A [`MountTable`] is what the container was
//! granted; a [`Tree`] is one instance's view of it. Links and `..` are resolved here, inside the
//! tree, and every step on the host's disk is taken beneath the mount's own directory, so no guest
//! path leads out of its mount, whatever is done to the directory meanwhile.
//!
//! Never in here: wasmtime, waiting, and the meaning of a volume.

mod path;
mod quota;
mod root;
mod table;
mod tree;

pub use quota::{Charge, Quota};
pub use table::{Mount, MountError, MountTable, MountTableBuilder, RootSpec};
pub use tree::Tree;
