//! A StatefulSet while a decision is made: its fields resolved, its pods by their place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};

use super::identity::{claim_names, ordinal_of};
use crate::history;
use crate::objects::{available_in, is_deleting, is_ready, name, phase, scaled};

/// The fields of a StatefulSet, resolved.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rules {
    pub(super) replicas: i32,
    pub(super) start: i32,
    /// One pod at a time, each only when those before it are well.
    pub(super) in_order: bool,
    /// Pods are replaced only when somebody deletes them.
    pub(super) on_delete: bool,
    /// Ordinals below this one keep the current revision.
    pub(super) partition: i32,
    /// How many may be unavailable during an update; `None`: one, in strict order.
    pub(super) max_unavailable: Option<i32>,
    pub(super) min_ready_seconds: i32,
}

impl Rules {
    pub(super) fn of(set: &StatefulSet) -> Rules {
        let spec = set.spec.clone().unwrap_or_default();
        let strategy = spec.update_strategy.unwrap_or_default();
        let rolling = strategy.rolling_update.unwrap_or_default();
        let replicas = spec.replicas.unwrap_or(1).max(0);
        // A percentage is rounded up, and one pod may always be replaced.
        let unavailable = rolling.max_unavailable.map(|n| scaled(&n, replicas, true).max(1));
        Rules {
            replicas,
            start: spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0).max(0),
            in_order: spec.pod_management_policy.as_deref() != Some("Parallel"),
            on_delete: strategy.type_.as_deref() == Some("OnDelete"),
            partition: rolling.partition.unwrap_or(0).max(0),
            max_unavailable: unavailable,
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        }
    }

    /// Gives the wanted ordinals.
    pub(super) fn ordinals(&self) -> std::ops::Range<i32> {
        self.start..self.start.saturating_add(self.replicas)
    }

    /// Gives the lowest ordinal that an update touches.
    pub(super) fn update_from(&self) -> i32 {
        self.start.saturating_add(self.partition)
    }
}

/// Gives the names of the claims that a decision may look at.
pub(crate) fn claims_of_interest(set: &StatefulSet, pods: &[Arc<Pod>]) -> Vec<String> {
    let mut ordinals: BTreeSet<i32> = Rules::of(set).ordinals().collect();
    ordinals.extend(pods.iter().filter_map(|pod| ordinal_of(set, pod)));
    ordinals.into_iter().flat_map(|ordinal| claim_names(set, ordinal)).collect()
}

/// The pods by ordinal, and the two revisions.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) rules: Rules,
    /// Pods at wanted ordinals.
    pub(super) wanted: BTreeMap<i32, Arc<Pod>>,
    /// Pods beyond them.
    pub(super) condemned: BTreeMap<i32, Arc<Pod>>,
    pub(super) current: Arc<ControllerRevision>,
    pub(super) update: Arc<ControllerRevision>,
    pub(super) now: Timestamp,
}

impl Plan {
    pub(super) fn new(
        set: &StatefulSet,
        own: &[Arc<Pod>],
        current: Arc<ControllerRevision>,
        update: Arc<ControllerRevision>,
        now: Timestamp,
    ) -> Plan {
        let rules = Rules::of(set);
        let (mut wanted, mut condemned) = (BTreeMap::new(), BTreeMap::new());
        for pod in own {
            let Some(ordinal) = ordinal_of(set, pod) else { continue };
            let place = rules.ordinals().contains(&ordinal);
            let pods = if place { &mut wanted } else { &mut condemned };
            pods.insert(ordinal, Arc::clone(pod));
        }
        Plan { rules, wanted, condemned, current, update, now }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.wanted.values().chain(self.condemned.values())
    }

    /// Says whether a pod runs, is ready and stays.
    pub(super) fn is_healthy(pod: &Pod) -> bool {
        phase(pod) == "Running" && is_ready(pod) && !is_deleting(&pod.metadata)
    }

    /// Says whether a pod is healthy, for as long as `minReadySeconds` asks.
    pub(super) fn is_available(&self, pod: &Pod) -> bool {
        let rest = available_in(pod, self.rules.min_ready_seconds, self.now);
        Plan::is_healthy(pod) && rest.is_some_and(|rest| rest.is_zero())
    }

    pub(super) fn current_name(&self) -> &str {
        name(&self.current.metadata)
    }

    pub(super) fn update_name(&self) -> &str {
        name(&self.update.metadata)
    }

    /// Gives the template and the revision of a pod to be made at an ordinal.
    pub(super) fn template_at(&self, set: &StatefulSet, ordinal: i32) -> (PodTemplateSpec, &str) {
        let keeps = !self.rules.on_delete && ordinal < self.rules.update_from();
        let kept = history::template_of(&self.current).filter(|_| keeps);
        match kept {
            Some(template) => (template, self.current_name()),
            None => (
                set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default(),
                self.update_name(),
            ),
        }
    }
}
