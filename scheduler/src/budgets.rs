//! PodDisruptionBudgets: which pods are better not displaced.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_api::selector::LabelSelector;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

/// A budget, read.
#[derive(Debug, Clone)]
struct Budget {
    namespace: String,
    selector: LabelSelector,
    allowed: i64,
    /// Pods whose eviction is counted already, by name.
    disrupted: Vec<String>,
}

/// All budgets by namespace and name.
#[derive(Debug, Clone, Default)]
pub struct Budgets(BTreeMap<String, Arc<Budget>>);

impl Budgets {
    /// Takes a budget as it is now.
    pub fn set(&mut self, budget: &PodDisruptionBudget) {
        let metadata = &budget.metadata;
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let spec = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let value = spec.and_then(|selector| serde_json::to_value(selector).ok());
        let selector = value.and_then(|value| LabelSelector::from_value(&value).ok());
        let status = budget.status.as_ref();
        let read = Budget {
            namespace: namespace.clone(),
            selector: selector.unwrap_or_else(LabelSelector::nothing),
            allowed: status.map(|status| i64::from(status.disruptions_allowed)).unwrap_or_default(),
            disrupted: status
                .and_then(|status| status.disrupted_pods.as_ref())
                .map(|pods| pods.keys().cloned().collect())
                .unwrap_or_default(),
        };
        self.0.insert(key(&namespace, metadata.name.as_deref()), Arc::new(read));
    }

    /// Forgets a budget.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        self.0.remove(&key(namespace, Some(name)));
    }

    /// Says for each pod, in this order, whether displacing it and all before it breaks a budget.
    pub fn broken_by(&self, pods: &[&Pod]) -> Vec<bool> {
        let mut left: BTreeMap<&str, i64> =
            self.0.iter().map(|(key, budget)| (key.as_str(), budget.allowed)).collect();
        pods.iter().map(|pod| self.breaks(pod, &mut left)).collect()
    }

    fn breaks<'a>(&'a self, pod: &Pod, left: &mut BTreeMap<&'a str, i64>) -> bool {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let mut breaks = false;
        for (key, budget) in &self.0 {
            let covers = pod.metadata.namespace.as_deref() == Some(&budget.namespace)
                && pod.metadata.labels.as_ref().is_some_and(|labels| !labels.is_empty())
                && budget.selector.matches(&pod.metadata.labels);
            if !covers || budget.disrupted.iter().any(|disrupted| disrupted == name) {
                continue;
            }
            let left = left.entry(key).or_default();
            *left -= 1;
            breaks |= *left < 0;
        }
        breaks
    }
}

fn key(namespace: &str, name: Option<&str>) -> String {
    format!("{namespace}/{}", name.unwrap_or_default())
}
