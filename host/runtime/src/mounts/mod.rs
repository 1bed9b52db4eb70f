//! The file tree of a container: a root layer, and mounts in it.
//!
//! In come paths of guests and calls on them; out go file handles, facts about files and the error
//! numbers of Linux. A [`MountTable`] is what the container was granted; a [`Tree`] is one
//! instance's view of it. Links and `..` are resolved here, inside the tree, and every step on the
//! host's disk is taken beneath the mount's own directory, so no guest path leads out of its mount,
//! whatever is done to the directory meanwhile.
//!
//! Never in here: wasmtime, waiting (but for the disk, `aside`), and the meaning of a volume.

mod aside;
mod disk;
mod file;
mod ground;
mod layers;
mod lend;
mod lent;
mod open_mount;
mod orphans;
mod path;
mod quota;
mod remove;
mod root;
mod service;
mod single;
mod stat;
mod table;
mod tree;
mod volume;

pub(crate) use aside::aside;
pub use file::{DiskCounts, FileHandle};
pub use ground::{Open, SetTime, Times};
pub(crate) use lend::{Lent, Reply};
pub(crate) use lent::{Answer, Ask, Lender};
pub use quota::{Charge, ENTRY_BYTES, Quota};
pub use remove::remove_tree;
pub use service::Service;
pub use stat::{Kind, Stat, Time};
pub use table::{Mount, MountError, MountTable, MountTableBuilder, RootSpec};
pub use tree::{DirHandle, Handle, Listing, Tree};
