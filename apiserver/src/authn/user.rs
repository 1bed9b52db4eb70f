//! A user as authorization, admission and audit see one.

use std::collections::BTreeMap;

/// The group of everyone who is known.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The user of requests without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of requests without credentials.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
/// The group of nodes.
pub const NODES: &str = "system:nodes";
/// What a node's user name begins with; its node's name follows.
pub const NODE_PREFIX: &str = "system:node:";

/// A user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// The name, `system:node:NAME` for nodes.
    pub name: String,
    /// An id that no later user of the same name has; empty where there is none.
    pub uid: String,
    /// The groups, [`AUTHENTICATED`] among them.
    pub groups: Vec<String>,
    /// What else the authenticator says, by key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user with the given groups and [`AUTHENTICATED`].
    pub fn new<'a>(name: &str, groups: impl IntoIterator<Item = &'a str>) -> UserInfo {
        let mut groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        UserInfo { name: name.to_owned(), groups, ..UserInfo::default() }
    }

    /// Nobody in particular.
    pub fn anonymous() -> UserInfo {
        let groups = vec![UNAUTHENTICATED.to_owned()];
        UserInfo { name: ANONYMOUS.to_owned(), groups, ..UserInfo::default() }
    }

    /// A part of the server in its own process, such as `kube-scheduler`: named `system:NAME`, and trusted as far as the
    /// server itself.
    pub fn component(name: &str) -> UserInfo {
        UserInfo::new(&format!("system:{name}"), [MASTERS])
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The name of the node that the user is; `None` for everyone who is not a node.
    ///
    /// *Source:* the node authorizer asks for both the name's prefix and the group.
    pub fn node(&self) -> Option<&str> {
        let node = self.name.strip_prefix(NODE_PREFIX).filter(|node| !node.is_empty())?;
        self.is_in(NODES).then_some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_name_and_group() {
        let check = |name: &str, group: &str, expected: Option<&str>| {
            assert_eq!(UserInfo::new(name, [group]).node(), expected);
        };
        check("system:node:a", NODES, Some("a"));
        check("system:node:a", "other", None);
        check("system:node:", NODES, None);
        check("a", NODES, None);
    }
}
