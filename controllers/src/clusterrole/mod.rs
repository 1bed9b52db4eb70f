//! ClusterRoles that are the sum of others: their rules follow the labels of those.
//!
//! In: one role with an `aggregationRule`, and all ClusterRoles. Out: the role with the rules that it should have, or
//! nothing. *Source:* Kubernetes, "Aggregated ClusterRoles".

pub(crate) mod run;

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};

use crate::objects::{PodSelector, is_deleting, name};

/// Gives the role with its rules put right; `None` when they are, or when the role is no sum.
///
/// The rules are those of the selected roles in the order of the roles' names, each once; a role does not select itself.
pub fn reconcile(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<ClusterRole> {
    let aggregation = role.aggregation_rule.as_ref()?;
    if is_deleting(&role.metadata) {
        return None;
    }
    let selectors: Vec<PodSelector> =
        aggregation.cluster_role_selectors.iter().flatten().map(PodSelector::new).collect();
    let is_part = |other: &&Arc<ClusterRole>| {
        let labels = other.metadata.labels.as_ref();
        name(&other.metadata) != name(&role.metadata)
            && selectors.iter().any(|selector| selector.takes(labels))
    };
    let mut parts: Vec<&Arc<ClusterRole>> = all.iter().filter(is_part).collect();
    parts.sort_by_key(|part| name(&part.metadata));
    let mut rules: Vec<PolicyRule> = Vec::new();
    for rule in parts.iter().flat_map(|part| part.rules.iter().flatten()) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    if role.rules.as_deref().unwrap_or_default() == rules {
        return None;
    }
    Some(ClusterRole { rules: Some(rules), ..role.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn role(name: &str, label: &str, verbs: Value) -> Arc<ClusterRole> {
        let rules = json!([{"apiGroups": [""], "resources": [name], "verbs": verbs}]);
        let object = json!({"metadata": {"name": name, "labels": {label: "true"}}, "rules": rules});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn sum(label: &str) -> ClusterRole {
        let selectors = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        let object = json!({"metadata": {"name": "sum", "labels": {"a": "true"}}, "aggregationRule": selectors});
        serde_json::from_value(object).unwrap()
    }

    fn check(label: &str, expected: Expect) {
        let all = [
            role("z", "a", json!(["get"])),
            role("b", "a", json!(["list"])),
            role("c", "c", json!(["get"])),
        ];
        let sum = sum(label);
        let made = reconcile(&sum, &all);
        let rules = made.as_ref().and_then(|role| role.rules.clone());
        expected.assert_eq(&serde_json::to_string(&rules).unwrap());
        // What was done once is not done again.
        assert_eq!(made.and_then(|made| reconcile(&made, &all)), None);
    }

    #[test]
    fn a_sum_has_the_rules_of_its_parts() {
        check(
            "a",
            expect![[
                r#"[{"apiGroups":[""],"resources":["b"],"verbs":["list"]},{"apiGroups":[""],"resources":["z"],"verbs":["get"]}]"#
            ]],
        );
        check("none", expect!["null"]);
        assert_eq!(reconcile(&role("z", "a", json!([])), &[]), None);
    }
}
