//! A DaemonSet while a decision is made: its fields resolved, its pods by node.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::node::{Fit, fit};
use super::pod::{hash_of, node_of, tolerations};
use crate::objects::{available_in, is_deleting, is_terminal, name, scaled};

/// One node and what a DaemonSet has there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) fit: Fit,
    /// Its pods there, oldest first; those that are being deleted among them.
    pub(super) pods: Vec<Arc<Pod>>,
}

/// All nodes by name, and the bounds of an update.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) places: BTreeMap<String, Place>,
    /// Pods for nodes that are not there.
    pub(super) lost: Vec<Arc<Pod>>,
    /// Revision hash that pods should have.
    pub(super) hash: String,
    pub(super) max_unavailable: usize,
    pub(super) max_surge: usize,
    pub(super) on_delete: bool,
    min_ready_seconds: i32,
    now: Timestamp,
}

impl Plan {
    pub(super) fn new(
        set: &DaemonSet,
        nodes: &[Arc<Node>],
        own: &[Arc<Pod>],
        hash: &str,
        now: Timestamp,
    ) -> Plan {
        let spec = set.spec.clone().unwrap_or_default();
        let template = spec.template.spec.unwrap_or_default();
        let tolerations = tolerations(&template);
        let place = |node: &Arc<Node>| {
            let fit = fit(&template, &tolerations, node);
            (name(&node.metadata).to_owned(), Place { fit, pods: Vec::new() })
        };
        let mut places: BTreeMap<String, Place> = nodes.iter().map(place).collect();
        let mut lost = Vec::new();
        for pod in own {
            match node_of(pod).and_then(|node| places.get_mut(node)) {
                Some(place) => place.pods.push(Arc::clone(pod)),
                None => lost.push(Arc::clone(pod)),
            }
        }
        for place in places.values_mut() {
            place.pods.sort_by_key(|pod| {
                let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
                (made, name(&pod.metadata).to_owned())
            });
        }
        let strategy = spec.update_strategy.unwrap_or_default();
        let rolling = strategy.rolling_update.unwrap_or_default();
        let n_wanted = places.values().filter(|place| place.fit == Fit::Wanted).count();
        let of = i32::try_from(n_wanted).unwrap_or(i32::MAX);
        let resolve = |value: Option<_>, default| {
            let n = value.map_or(default, |value| scaled(&value, of, true));
            usize::try_from(n).unwrap_or(0)
        };
        let max_surge = resolve(rolling.max_surge, 0);
        let unavailable = resolve(rolling.max_unavailable, 1);
        Plan {
            places,
            lost,
            hash: hash.to_owned(),
            // Both zero would stand still.
            max_unavailable: if max_surge == 0 { unavailable.max(1) } else { unavailable },
            max_surge,
            on_delete: strategy.type_.as_deref() == Some("OnDelete"),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            now,
        }
    }

    pub(super) fn is_updated(&self, pod: &Pod) -> bool {
        hash_of(pod) == self.hash
    }

    /// Says whether a pod serves: available and not about to go.
    pub(super) fn is_available(&self, pod: &Pod) -> bool {
        let rest = available_in(pod, self.min_ready_seconds, self.now);
        !is_deleting(&pod.metadata) && !is_terminal(pod) && rest.is_some_and(|rest| rest.is_zero())
    }

    /// Gives when the next ready pod becomes available by itself.
    pub(super) fn next_available(&self) -> Option<jiff::SignedDuration> {
        let pods = self.places.values().flat_map(|place| &place.pods);
        pods.filter_map(|pod| available_in(pod, self.min_ready_seconds, self.now))
            .filter(|rest| !rest.is_zero())
            .min()
    }
}

impl Place {
    /// Gives the pods that run and stay.
    pub(super) fn staying(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.iter().filter(|pod| !is_deleting(&pod.metadata) && !is_terminal(pod))
    }

    /// Gives the oldest updated pod and the oldest other one.
    pub(super) fn pair(&self, plan: &Plan) -> (Option<&Arc<Pod>>, Option<&Arc<Pod>>) {
        let new = self.staying().find(|pod| plan.is_updated(pod));
        let old = self.staying().find(|pod| !plan.is_updated(pod));
        (new, old)
    }
}
