//! One instance's view of the container's files.

use super::table::MountTable;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// The files of a container as one instance sees them. It holds what the instance opened, so an
/// instance that touches no file holds no descriptor.
pub struct Tree {
    table: MountTable,
    image: OnceLock<OwnedFd>,
}

impl Tree {
    /// A view of `table` with nothing opened yet.
    #[must_use]
    pub fn new(table: MountTable) -> Tree {
        Tree { table, image: OnceLock::new() }
    }
}
