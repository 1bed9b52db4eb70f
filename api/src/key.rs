//! The names by which Kubernetes calls a kind of object and one object of it.
//!
//! What belongs here are plain identifiers without rules; the rules of a kind live in the registry.

use std::borrow::Cow;
use std::fmt;

/// A resource by its API group and its plural, as in `deployments.apps`.
///
/// The group is empty for the core group. A subresource is written into the resource as in
/// `pods/log`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupResource {
    /// API group without version, empty for core.
    pub group: Cow<'static, str>,
    /// Lower-case plural, with `/subresource` where one is meant.
    pub resource: Cow<'static, str>,
}

impl GroupResource {
    /// Names a resource; takes static strings without copying them.
    pub fn new(
        group: impl Into<Cow<'static, str>>,
        resource: impl Into<Cow<'static, str>>,
    ) -> Self {
        GroupResource { group: group.into(), resource: resource.into() }
    }

    /// Gives the plural without any subresource: `pods` for `pods/log`.
    pub fn plural(&self) -> &str {
        self.resource.split_once('/').map_or(&*self.resource, |(plural, _)| plural)
    }
}

impl fmt::Display for GroupResource {
    /// Writes `resource.group`, or the resource alone in the core group.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_qualified(f, &self.resource, &self.group)
    }
}

/// A kind by its API group, as in `Deployment.apps`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupKind {
    /// API group without version, empty for core.
    pub group: Cow<'static, str>,
    /// CamelCase singular.
    pub kind: Cow<'static, str>,
}

impl GroupKind {
    /// Names a kind; takes static strings without copying them.
    pub fn new(group: impl Into<Cow<'static, str>>, kind: impl Into<Cow<'static, str>>) -> Self {
        GroupKind { group: group.into(), kind: kind.into() }
    }
}

impl fmt::Display for GroupKind {
    /// Writes `Kind.group`, or the kind alone in the core group.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_qualified(f, &self.kind, &self.group)
    }
}

fn write_qualified(f: &mut fmt::Formatter<'_>, noun: &str, group: &str) -> fmt::Result {
    if group.is_empty() { f.write_str(noun) } else { write!(f, "{noun}.{group}") }
}

/// One object of a kind: its namespace (`None` when the kind has none) and its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The namespace, `None` for a cluster-scoped object.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
}

impl ObjectKey {
    /// Names an object in a namespace.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        ObjectKey { namespace: Some(namespace.into()), name: name.into() }
    }

    /// Names a cluster-scoped object.
    pub fn cluster(name: impl Into<String>) -> Self {
        ObjectKey { namespace: None, name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    /// Writes `namespace/name`, or the name alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_as_kubernetes_writes_them() {
        assert_eq!(GroupResource::new("", "pods").to_string(), "pods");
        assert_eq!(GroupResource::new("apps", "deployments").to_string(), "deployments.apps");
        assert_eq!(GroupKind::new("apps", "Deployment").to_string(), "Deployment.apps");
        assert_eq!(ObjectKey::namespaced("a", "b").to_string(), "a/b");
        assert_eq!(ObjectKey::cluster("b").to_string(), "b");
        assert_eq!(GroupResource::new("", "pods/log").plural(), "pods");
    }
}
