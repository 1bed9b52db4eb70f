//! ResourceQuota: what of it is used.
//!
//! In: a quota and what was counted in its namespace. Out: its status. Admission charges what is
//! written; this counts what goes, and what was there before the quota.

pub(crate) mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_api::quota::Amounts;
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The quota.
    pub quota: Arc<ResourceQuota>,
    /// What the objects in its scope use; `None`: could not be counted.
    pub used: Option<Amounts>,
}

/// Gives the status that is due, `None` when it is there or not known.
///
/// *Source:* Kubernetes docs, "Resource Quotas".
pub fn reconcile(observed: &Observed) -> Option<ResourceQuotaStatus> {
    let used = observed.used.as_ref()?;
    let hard = observed.quota.spec.as_ref().and_then(|spec| spec.hard.clone());
    let hard = hard.unwrap_or_default();
    let amount = |name: &String| {
        let amount = used.get(name).copied().unwrap_or_default();
        (name.clone(), Quantity(amount.to_string()))
    };
    let used: BTreeMap<String, Quantity> = hard.keys().map(amount).collect();
    let new = ResourceQuotaStatus { hard: Some(hard), used: Some(used) };
    let old = observed.quota.status.clone().unwrap_or_default();
    let plain = |status: &ResourceQuotaStatus| {
        (status.hard.clone().unwrap_or_default(), status.used.clone().unwrap_or_default())
    };
    (plain(&old) != plain(&new)).then_some(new)
}

/// Gives the kinds, as `plural.group`, that the names of a quota's resources are about.
///
/// *Source:* Kubernetes docs, "Resource Quotas: Compute, storage and object count quota".
pub fn counted_kinds<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let kind = |name: &String| -> String {
        if let Some(counted) = name.strip_prefix("count/") {
            return counted.trim_end_matches('.').to_owned();
        }
        let storage = name == "requests.storage" || name.contains(".storageclass.storage.k8s.io/");
        let plain =
            ["configmaps", "secrets", "replicationcontrollers", "resourcequotas", "services"];
        if storage || name == "persistentvolumeclaims" {
            "persistentvolumeclaims".to_owned()
        } else if name.starts_with("services.") {
            "services".to_owned()
        } else if plain.contains(&name.as_str()) {
            name.clone()
        } else {
            "pods".to_owned()
        }
    };
    let mut kinds: Vec<String> = names.map(kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn observed(status: Value, used: Option<&[(&str, &str)]>) -> Observed {
        let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "5",
            "requests.cpu": "2"}}, "status": status});
        let used = used.map(|used| {
            used.iter().map(|(name, n)| ((*name).to_owned(), n.parse().unwrap())).collect()
        });
        Observed { quota: Arc::new(serde_json::from_value(quota).unwrap()), used }
    }

    #[test]
    fn what_is_limited_is_told_and_nothing_else() {
        let used: &[(&str, &str)] = &[("requests.cpu", "1500m"), ("limits.cpu", "9")];
        let status = reconcile(&observed(Value::Null, Some(used))).unwrap();
        let told = serde_json::to_value(&status).unwrap();
        assert_eq!(
            told,
            json!({"hard": {"pods": "5", "requests.cpu": "2"},
                "used": {"pods": "0", "requests.cpu": "1500m"}})
        );
        assert_eq!(reconcile(&observed(told, Some(used))), None);
    }

    #[test]
    fn what_could_not_be_counted_is_left() {
        assert_eq!(reconcile(&observed(Value::Null, None)), None);
    }

    #[test]
    fn names_say_which_kinds_to_count() {
        let names = [
            "pods",
            "limits.memory",
            "count/jobs.batch",
            "services.nodeports",
            "secrets",
            "gold.storageclass.storage.k8s.io/requests.storage",
            "count/pods",
        ];
        let names: Vec<String> = names.map(str::to_owned).into();
        assert_eq!(
            counted_kinds(names.iter()),
            ["jobs.batch", "persistentvolumeclaims", "pods", "secrets", "services"]
        );
    }
}
