//! Which pod goes first when the machine runs short, and what it is told: pure.
//!
//! *Source:* kubelet's `rankMemoryPressure` and `rankDiskPressureFunc`: those over their request
//! first, then the less important, then those that are the most over it.

use std::cmp::Reverse;

use coracle_api::quantity::Quantity;
use k8s_openapi::api::core::v1::Pod;

use super::limits::binary;
use super::signals::Crossing;
use super::thresholds::Signal;
use crate::manifests::{CONFIG_SOURCE, annotation};
use crate::pods::plan;

/// From this priority on a pod is never evicted. *Source:* `SystemCriticalPriority`.
const PRIORITY_CRITICAL: i32 = 2_000_000_000;

/// What one container takes of the resource.
#[derive(Clone, Debug)]
pub(crate) struct ContainerUse {
    pub(crate) name: String,
    pub(crate) used: u64,
    pub(crate) request: u64,
}

/// A pod that could go.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) uid: String,
    pub(crate) priority: i32,
    pub(crate) used: u64,
    pub(crate) request: u64,
    pub(crate) containers: Vec<ContainerUse>,
}

/// Tells whether a pod stays whatever happens: critical ones and those of the host itself.
pub(crate) fn is_spared(pod: &Pod) -> bool {
    let critical = plan::spec(pod).priority.is_some_and(|priority| priority >= PRIORITY_CRITICAL);
    critical || annotation(pod, CONFIG_SOURCE).is_some_and(|source| source != "api")
}

/// Gives the request of a container for what `signal` is about, in bytes.
pub(crate) fn request(pod: &Pod, container: &str, signal: Signal) -> u64 {
    let found = plan::containers(pod).find(|(_, spec)| spec.name == container);
    let needs = found.and_then(|(_, spec)| spec.resources.as_ref());
    let requests = needs.and_then(|needs| needs.requests.as_ref());
    let quantity = requests.and_then(|map| map.get(signal.resource()));
    let quantity = quantity.and_then(|quantity| quantity.0.parse::<Quantity>().ok());
    quantity.and_then(|quantity| u64::try_from(quantity.value()).ok()).unwrap_or(0)
}

/// Gives the pod that goes first.
pub(crate) fn first(candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates.into_iter().min_by_key(|pod| {
        let over = i128::from(pod.used) - i128::from(pod.request);
        (Reverse(pod.used > pod.request), pod.priority, Reverse(over), pod.uid.clone())
    })
}

/// Makes the message of an eviction.
pub(crate) fn message(crossing: &Crossing, pod: &Candidate) -> String {
    let resource = crossing.signal.resource();
    let amount = |amount: u64| match crossing.signal {
        Signal::Memory | Signal::Disk => kibi(amount),
        Signal::Inodes | Signal::Pids => amount.to_string(),
    };
    let (threshold, available) = (amount(crossing.threshold), amount(crossing.available));
    let mut text = format!(
        "The node was low on resource: {resource}. Threshold quantity: {threshold}, available: {available}. "
    );
    for container in pod.containers.iter().filter(|container| container.used > container.request) {
        text.push_str(&format!(
            "Container {} was using {}, request is {}, has larger consumption of {resource}. ",
            container.name,
            amount(container.used),
            binary(container.request),
        ));
    }
    text
}

/// Bytes in whole KiB, as the kubelet prints what it has measured.
fn kibi(bytes: u64) -> String {
    if bytes >= 1024 { format!("{}Ki", bytes >> 10) } else { bytes.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, priority: i32, used: u64, request: u64) -> Candidate {
        let containers = vec![ContainerUse { name: "app".into(), used, request }];
        Candidate { uid: uid.into(), priority, used, request, containers }
    }

    #[test]
    fn over_the_request_then_unimportant_then_large() {
        let all = [
            pod("guaranteed", 0, 900, 1000),
            pod("burstable", 0, 1100, 1000),
            pod("important", 9, 5000, 0),
            pod("best-effort", 0, 300, 0),
        ];
        let mut left: Vec<_> = all.into();
        let mut order = Vec::new();
        while let Some(next) = first(left.clone()) {
            left.retain(|pod| pod.uid != next.uid);
            order.push(next.uid);
        }
        assert_eq!(order, ["best-effort", "burstable", "important", "guaranteed"]);
    }

    #[test]
    fn the_message_names_what_lacked_and_who_took_it() {
        let crossing =
            Crossing { signal: Signal::Memory, threshold: 100 << 20, available: 50 << 20 };
        assert_eq!(
            message(&crossing, &pod("a", 0, 8 << 20, 0)),
            "The node was low on resource: memory. Threshold quantity: 102400Ki, available: 51200Ki. \
             Container app was using 8192Ki, request is 0, has larger consumption of memory. "
        );
    }
}
