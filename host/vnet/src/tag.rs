//! Whose network namespace it is.

use std::fmt;
use std::sync::Arc;

/// Names the owner of a namespace to the router and the resolver. Cheap to clone.
///
/// Two tags are equal when their ids are.
#[derive(Clone, Debug)]
pub struct NsTag {
    id: Arc<str>,
    name: Arc<str>,
}

impl NsTag {
    /// A tag of an opaque `id` (a pod's uid) and a readable `namespace/name`.
    #[must_use]
    pub fn new(id: &str, name: &str) -> NsTag {
        NsTag { id: id.into(), name: name.into() }
    }

    /// The opaque id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `namespace/name`, for people and for lookups that depend on the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part of the name before the slash; empty when there is no slash.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.name.split_once('/').map_or("", |(namespace, _)| namespace)
    }
}

impl PartialEq for NsTag {
    fn eq(&self, other: &NsTag) -> bool {
        self.id == other.id
    }
}

impl Eq for NsTag {}

impl std::hash::Hash for NsTag {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Display for NsTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
