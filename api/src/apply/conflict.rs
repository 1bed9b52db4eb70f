//! Conflicts: places that an apply would change and others own.

use crate::status::{Status, StatusCause};

use super::entry::{Entry, Operation};

/// The machine-readable word of a conflict. *Source:* `metav1.CauseTypeFieldManagerConflict`.
const FIELD_MANAGER_CONFLICT: &str = "FieldManagerConflict";

/// One place that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it, as upstream says it: `"kubectl" using apps/v1`.
    pub owner: String,
    /// Where: `.spec.replicas`.
    pub path: String,
}

/// How messages name the manager of an entry.
pub(super) fn owner(entry: &Entry) -> String {
    let mut owner = format!("{:?}", entry.manager);
    if !entry.subresource.is_empty() {
        owner.push_str(&format!(" with subresource {:?}", entry.subresource));
    }
    if entry.operation == Operation::Update {
        owner.push_str(&format!(" using {}", entry.api_version));
    }
    owner
}

/// The answer to an apply with conflicts, worded as kube-apiserver does.
pub(super) fn status(conflicts: &[Conflict]) -> Status {
    let message = match conflicts {
        [one] => {
            format!("Apply failed with 1 conflict: conflict with {}: {}", one.owner, one.path)
        }
        _ => format!("Apply failed with {} conflicts: {}", conflicts.len(), by_owner(conflicts)),
    };
    let causes = conflicts.iter().map(|conflict| StatusCause {
        reason: FIELD_MANAGER_CONFLICT.to_owned(),
        message: format!("conflict with {}", conflict.owner),
        field: conflict.path.clone(),
    });
    Status::apply_conflict(message, causes.collect())
}

fn by_owner(conflicts: &[Conflict]) -> String {
    let mut owners: Vec<&str> = conflicts.iter().map(|conflict| conflict.owner.as_str()).collect();
    owners.sort_unstable();
    owners.dedup();
    let mut lines = Vec::new();
    for owner in owners {
        lines.push(format!("conflicts with {owner}:"));
        let theirs = conflicts.iter().filter(|conflict| conflict.owner == owner);
        lines.extend(theirs.map(|conflict| format!("- {}", conflict.path)));
    }
    lines.join("\n")
}
