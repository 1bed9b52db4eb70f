//! What is on disk: of the node, of its pods, their containers and volumes. Pure.
//!
//! *Source:* `FsStats` and `VolumeStats` of `k8s.io/kubelet/pkg/apis/stats/v1alpha1`; the kubelet's
//! `kubelet_volume_stats_*`.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::exposition::{Page, escaped};
use crate::eviction::measure::Held;
use crate::node::object::seconds;

/// A file system: what it has, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) capacity_bytes: u64,
    pub(crate) available_bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) inodes: u64,
    pub(crate) inodes_free: u64,
    pub(crate) inodes_used: u64,
}

impl Space {
    /// The same file system with what a part of it holds.
    pub(crate) fn with(self, held: Held) -> Self {
        Self { used_bytes: held.bytes, inodes_used: held.inodes, ..self }
    }

    /// A part of it that may hold so many bytes.
    pub(crate) fn within(self, bytes_max: u64, held: Held) -> Self {
        let left = bytes_max.saturating_sub(held.bytes);
        Self {
            capacity_bytes: bytes_max,
            available_bytes: left.min(self.available_bytes),
            ..self.with(held)
        }
    }

    fn json(&self, time: &str) -> Value {
        json!({
            "time": time, "availableBytes": self.available_bytes, "capacityBytes": self.capacity_bytes,
            "usedBytes": self.used_bytes, "inodesFree": self.inodes_free, "inodes": self.inodes,
            "inodesUsed": self.inodes_used,
        })
    }
}

/// One volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeSpace {
    pub(crate) name: String,
    /// The claim that it is of.
    pub(crate) claim: Option<String>,
    pub(crate) space: Space,
    /// It lasts as long as its pod and is on the node's own disk.
    pub(crate) is_ephemeral: bool,
}

/// What of one container is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContainerSpace {
    /// What it has written over its image.
    pub(crate) layer: Held,
    /// Its logs.
    pub(crate) logs: Held,
}

/// What one pod has on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodSpace {
    pub(crate) namespace: String,
    /// By the containers' names.
    pub(crate) containers: BTreeMap<String, ContainerSpace>,
    /// In order of the pod's spec; what is not measured (paths of the host, images, shares) is not there.
    pub(crate) volumes: Vec<VolumeSpace>,
}

/// All of it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskSample {
    pub(crate) at: Timestamp,
    /// The file system of the agent's folder.
    pub(crate) node: Option<Space>,
    /// Images as they were pulled, and their compiled code.
    pub(crate) images: Held,
    /// By the pods' uids.
    pub(crate) pods: HashMap<String, PodSpace>,
}

impl DiskSample {
    /// Adds to the summary of the node.
    pub(super) fn add_node(&self, node: &mut Value) {
        let (Some(space), time) = (self.node, seconds(self.at)) else { return };
        let containers = self.pods.values().flat_map(|pod| pod.containers.values());
        let layers = containers.fold(Held::default(), |sum, one| sum.and(one.layer));
        node["fs"] = space.json(&time);
        node["runtime"] = json!({
            "imageFs": space.with(self.images).json(&time),
            "containerFs": space.with(layers).json(&time),
        });
    }

    /// Adds to the summary of a pod.
    pub(super) fn add_pod(&self, uid: &str, pod: &mut Value) {
        let (Some(space), time) = (self.node, seconds(self.at)) else { return };
        let Some(own) = self.pods.get(uid) else { return };
        for container in pod["containers"].as_array_mut().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            let Some(one) = own.containers.get(name).copied() else { continue };
            container["rootfs"] = space.with(one.layer).json(&time);
            container["logs"] = space.with(one.logs).json(&time);
        }
        let of_containers = own.containers.values().flat_map(|one| [one.layer, one.logs]);
        let ephemeral = own.volumes.iter().filter(|volume| volume.is_ephemeral);
        let of_volumes = ephemeral.map(|volume| Held {
            bytes: volume.space.used_bytes,
            inodes: volume.space.inodes_used,
        });
        let all = of_containers.chain(of_volumes).fold(Held::default(), Held::and);
        pod["ephemeral-storage"] = space.with(all).json(&time);
        let volumes = own.volumes.iter().map(|volume| {
            let mut shown = volume.space.json(&time);
            shown["name"] = json!(volume.name);
            if let Some(claim) = &volume.claim {
                shown["pvcRef"] = json!({"name": claim, "namespace": own.namespace});
            }
            shown
        });
        pod["volume"] = volumes.collect();
    }
}

/// Writes what the volumes of claims hold, for `/metrics` at the moment `now`.
///
/// The figures may be older, and are those of now as long as there are no newer ones: Prometheus forgets what is older than
/// five minutes.
pub(crate) fn volumes(disk: &DiskSample, now: Timestamp) -> String {
    // Pods that share a claim tell of it once.
    let mut claims: BTreeMap<(&str, &str), &Space> = BTreeMap::new();
    for pod in disk.pods.values() {
        for volume in &pod.volumes {
            if let Some(claim) = &volume.claim {
                claims.insert((&pod.namespace, claim), &volume.space);
            }
        }
    }
    type Figure = fn(&Space) -> u64;
    let figures: [(&str, &str, Figure); 6] = [
        ("capacity_bytes", "Capacity in bytes of the volume", |space| space.capacity_bytes),
        ("available_bytes", "Number of available bytes in the volume", |space| {
            space.available_bytes
        }),
        ("used_bytes", "Number of used bytes in the volume", |space| space.used_bytes),
        ("inodes", "Maximum number of inodes in the volume", |space| space.inodes),
        ("inodes_free", "Number of free inodes in the volume", |space| space.inodes_free),
        ("inodes_used", "Number of used inodes in the volume", |space| space.inodes_used),
    ];
    let mut page = Page::at(now);
    for (name, help, figure) in figures {
        let lines = claims.iter().map(|((namespace, claim), space)| {
            let (namespace, claim) = (escaped(namespace), escaped(claim));
            let labels = format!("namespace=\"{namespace}\",persistentvolumeclaim=\"{claim}\"");
            (labels, figure(space).to_string())
        });
        page.metric(
            (&format!("kubelet_volume_stats_{name}"), "gauge"),
            &format!("[ALPHA] {help}"),
            lines,
        );
    }
    page.text
}

/// A sample of the pod in `sample::example`, for the tests of the pages.
#[cfg(test)]
pub(super) fn example() -> DiskSample {
    let node = Space {
        capacity_bytes: 1000,
        available_bytes: 400,
        used_bytes: 500,
        inodes: 90,
        inodes_free: 70,
        inodes_used: 20,
    };
    let held = |bytes, inodes| Held { bytes, inodes };
    let volume = |name: &str, claim: Option<&str>, space, is_ephemeral| VolumeSpace {
        name: name.into(),
        claim: claim.map(str::to_owned),
        space,
        is_ephemeral,
    };
    let own = PodSpace {
        namespace: "default".into(),
        containers: [("web".into(), ContainerSpace { layer: held(30, 3), logs: held(4, 1) })]
            .into(),
        volumes: vec![
            volume("cache", None, node.with(held(10, 2)), true),
            volume("token", None, node.with(held(7, 1)), false),
            volume("data", Some("data-web-0"), node.within(200, held(150, 5)), false),
        ],
    };
    DiskSample {
        at: Timestamp::from_second(100).unwrap(),
        node: Some(node),
        images: held(77, 6),
        pods: [("u".to_owned(), own)].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn claims_have_their_lines() {
        let text = volumes(&example(), Timestamp::from_second(160).unwrap());
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        expect![[r#"
            kubelet_volume_stats_capacity_bytes{namespace="default",persistentvolumeclaim="data-web-0"} 200 160000
            kubelet_volume_stats_available_bytes{namespace="default",persistentvolumeclaim="data-web-0"} 50 160000
            kubelet_volume_stats_used_bytes{namespace="default",persistentvolumeclaim="data-web-0"} 150 160000
            kubelet_volume_stats_inodes{namespace="default",persistentvolumeclaim="data-web-0"} 90 160000
            kubelet_volume_stats_inodes_free{namespace="default",persistentvolumeclaim="data-web-0"} 70 160000
            kubelet_volume_stats_inodes_used{namespace="default",persistentvolumeclaim="data-web-0"} 5 160000"#]]
        .assert_eq(&lines.join("\n"));
        assert!(!volumes(&DiskSample::default(), Timestamp::UNIX_EPOCH).contains('{'));
    }
}
