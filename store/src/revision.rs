//! The cluster-wide revision: the position of a commit in the one order of all commits.

use std::fmt;

/// A position in the order of commits; larger is later, over all keys.
///
/// An empty store is at [`Revision::FIRST`]; each commit takes the next one and gives it to every key that it writes.
/// It is what Kubernetes shows as `resourceVersion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of a store that was never written: 1, because clients read 0 as "any".
    pub const FIRST: Revision = Revision(1);

    /// The revision of the commit after this one.
    #[must_use]
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
