//! Where objects are in the store: `/registry/GROUP/RESOURCE/[NAMESPACE/]NAME`, `core` for the core group.

use bytes::Bytes;
use coracle_api::registry::Kind;

/// The prefix of all objects of a resource, with its closing slash.
pub fn resource_prefix(group: &str, resource: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    format!("/registry/{group}/{resource}/")
}

/// The store's key of an object; `namespace` is ignored for kinds without namespaces.
pub fn object_key(kind: &Kind, namespace: &str, name: &str) -> Bytes {
    let prefix = resource_prefix(kind.group, kind.plural);
    let place = place(if kind.namespaced { namespace } else { "" }, name);
    Bytes::from(prefix + &place)
}

/// What follows the resource's prefix: `NAMESPACE/NAME`, or `NAME` where there is no namespace.
pub(super) fn place(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// The resource's prefix in an object's key: up to and with the third slash after `/registry`.
pub(super) fn prefix_of(key: &[u8]) -> Option<&[u8]> {
    let third = key.iter().enumerate().filter(|(_, byte)| **byte == b'/').nth(3)?.0;
    key.get(..=third)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_resource_of_a_key() {
        let check = |key: &str, expected: Option<&str>| {
            assert_eq!(prefix_of(key.as_bytes()), expected.map(str::as_bytes));
        };
        check("/registry/core/pods/a/b", Some("/registry/core/pods/"));
        check("/registry/core/nodes/n", Some("/registry/core/nodes/"));
        check("/registry/core", None);
        assert_eq!(resource_prefix("apps", "deployments"), "/registry/apps/deployments/");
    }
}
