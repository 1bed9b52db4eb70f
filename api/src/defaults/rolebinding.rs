//! RoleBindings and ClusterRoleBindings: roles, users and groups are of RBAC's own group.

use serde_json::Value;

use super::fill::{fill, inside, items, text};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Fills a RoleBinding or ClusterRoleBinding.
pub fn set(binding: &mut Value) {
    let Some(binding) = binding.as_object_mut() else { return };
    if let Some(role) = inside(binding, "roleRef") {
        fill(role, "apiGroup", GROUP);
    }
    for subject in items(binding, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") {
            fill(subject, "apiGroup", GROUP);
        }
    }
}
