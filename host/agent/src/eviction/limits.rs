//! Whether a pod has more on disk than its limits allow: pure.
//!
//! *Source:* kubelet's `localStorageEviction`; the sentences are its own, with the space at the end.

use std::collections::BTreeMap;

use coracle_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::pods::plan;

/// What a pod has on disk, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodDisk {
    /// Its emptyDirs by name, in memory or not.
    pub(crate) volumes: BTreeMap<String, u64>,
    /// Its containers by name: copy-up layer and logs.
    pub(crate) containers: BTreeMap<String, u64>,
}

const RESOURCE: &str = "ephemeral-storage";

/// Tells whether a pod has limits on disk at all; others need not be measured.
pub(crate) fn is_limited(pod: &Pod) -> bool {
    let spec = plan::spec(pod);
    let sized = spec.volumes.iter().flatten().filter_map(|volume| volume.empty_dir.as_ref());
    sized.into_iter().any(|empty| empty.size_limit.is_some())
        || pod_limit(pod).is_some()
        || plan::containers(pod).any(|(_, container)| limit(container).is_some())
}

/// Gives the sentence for a pod that is over a limit.
pub(crate) fn over(pod: &Pod, disk: &PodDisk) -> Option<String> {
    empty_dir(pod, disk).or_else(|| whole_pod(pod, disk)).or_else(|| container(pod, disk))
}

fn empty_dir(pod: &Pod, disk: &PodDisk) -> Option<String> {
    plan::spec(pod).volumes.iter().flatten().find_map(|volume| {
        let limit = &volume.empty_dir.as_ref()?.size_limit.as_ref()?.0;
        let most = bytes(limit).filter(|most| *most > 0)?;
        let used = disk.volumes.get(&volume.name)?;
        let name = &volume.name;
        (*used > most)
            .then(|| format!("Usage of EmptyDir volume \"{name}\" exceeds the limit \"{limit}\". "))
    })
}

fn whole_pod(pod: &Pod, disk: &PodDisk) -> Option<String> {
    let (most, text) = pod_limit(pod)?;
    let used: u64 = on_disk(pod, disk).chain(disk.containers.values().copied()).sum();
    (used > most).then(|| {
        format!("Pod ephemeral local storage usage exceeds the total limit of containers {text}. ")
    })
}

/// Volumes in memory count as memory, not as disk.
fn on_disk<'a>(pod: &'a Pod, disk: &'a PodDisk) -> impl Iterator<Item = u64> + 'a {
    let volumes = plan::spec(pod).volumes.iter().flatten();
    let of_disk = volumes.filter(|volume| {
        volume.empty_dir.as_ref().is_some_and(|empty| empty.medium.as_deref() != Some("Memory"))
    });
    of_disk.filter_map(|volume| disk.volumes.get(&volume.name).copied())
}

/// Gives all bytes of a pod that count as ephemeral storage.
pub(crate) fn total(pod: &Pod, disk: &PodDisk) -> u64 {
    on_disk(pod, disk).chain(disk.containers.values().copied()).sum()
}

fn container(pod: &Pod, disk: &PodDisk) -> Option<String> {
    plan::containers(pod).find_map(|(_, container)| {
        let text = limit(container)?;
        let used = disk.containers.get(&container.name)?;
        let name = &container.name;
        (*used > bytes(text)?).then(|| {
            format!("Container {name} exceeded its local ephemeral storage limit \"{text}\". ")
        })
    })
}

/// The sum over the app containers, when each of them has a limit.
fn pod_limit(pod: &Pod) -> Option<(u64, String)> {
    let all: Option<Vec<Quantity>> = plan::spec(pod)
        .containers
        .iter()
        .map(|container| limit(container).and_then(|text| text.parse().ok()))
        .collect();
    let all = all.filter(|all| !all.is_empty())?;
    let sum: i64 = all.iter().map(|quantity| quantity.value()).sum();
    let text = match (all.as_slice(), plan::spec(pod).containers.first().and_then(limit)) {
        ([_], Some(text)) => text.to_owned(),
        (_, _) => binary(u64::try_from(sum).unwrap_or(0)),
    };
    Some((u64::try_from(sum).ok()?, text))
}

/// Prints bytes as a quantity with the largest binary unit that leaves nothing over.
pub(crate) fn binary(bytes: u64) -> String {
    let units = [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")];
    let fits = |(shift, _): &(u32, &str)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    match units.iter().find(|unit| fits(unit)) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

fn limit(container: &Container) -> Option<&str> {
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    limits.get(RESOURCE).map(|quantity| quantity.0.as_str())
}

fn bytes(text: &str) -> Option<u64> {
    let quantity: Quantity = text.parse().ok()?;
    u64::try_from(quantity.value()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(volume: u64, a: u64, b: u64, expected: Option<&str>) {
        let container = |name: &str, limit: &str| json!({"name": name, "resources": {"limits": {"ephemeral-storage": limit}}});
        let pod = json!({"metadata": {}, "spec": {
            "containers": [container("a", "4Mi"), container("b", "4Mi")],
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "6Mi"}},
                {"name": "m", "emptyDir": {"medium": "Memory"}}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert!(is_limited(&pod));
        let mib = |n: u64| n << 20;
        let disk = PodDisk {
            volumes: [("v".to_owned(), mib(volume)), ("m".to_owned(), mib(100))].into(),
            containers: [("a".to_owned(), mib(a)), ("b".to_owned(), mib(b))].into(),
        };
        assert_eq!(over(&pod, &disk).as_deref(), expected);
    }

    #[test]
    fn the_first_limit_that_is_crossed_is_named() {
        check(6, 1, 1, None);
        check(7, 0, 0, Some("Usage of EmptyDir volume \"v\" exceeds the limit \"6Mi\". "));
        check(0, 5, 0, Some("Container a exceeded its local ephemeral storage limit \"4Mi\". "));
        check(
            4,
            3,
            2,
            Some("Pod ephemeral local storage usage exceeds the total limit of containers 8Mi. "),
        );
        assert_eq!(
            (binary(3 << 30), binary(1000), binary(0)),
            ("3Gi".into(), "1000".into(), "0".into())
        );
    }
}
