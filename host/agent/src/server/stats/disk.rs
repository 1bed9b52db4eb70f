//! Measures what is on disk. Blocking calls.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::places::Mounts;
use super::space::{ContainerSpace, DiskSample, PodSpace, Space, VolumeSpace};
use crate::clock::now;
use crate::effects::start::log_dir;
use crate::effects::{PodView, Shared};
use crate::eviction::measure::held_below;
use crate::pods::plan;
use crate::volumes::claims::{Claimed, Place, claim_name};
use crate::volumes::plugin::local_place;

/// Measures the node and its pods.
pub(super) fn measure(shared: &Shared, views: &[PodView]) -> DiskSample {
    let data = &shared.config.data_dir;
    let node = space(data);
    let on = |folder: &str| held_below(&data.join(folder));
    let images = on("images").and(on("compiled"));
    let pods = views.iter().map(|view| (view.key.uid.clone(), pod(shared, view))).collect();
    // It is as old as its last figure: a walk may be long.
    DiskSample { at: now(), node, images, pods }
}

/// Asks a folder's file system.
fn space(folder: &Path) -> Option<Space> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some(Space {
        capacity_bytes: bytes(stat.f_blocks),
        available_bytes: bytes(stat.f_bavail),
        used_bytes: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
        inodes_used: stat.f_files.saturating_sub(stat.f_ffree),
    })
}

fn pod(shared: &Shared, view: &PodView) -> PodSpace {
    let (pod, uid) = (&view.pod, &view.key.uid);
    let (scratch, logs) =
        (shared.volumes.scratch(uid), log_dir(&shared.config.data_dir, &view.key));
    let containers = plan::containers(pod).map(|(_, container)| {
        let layer = held_below(&scratch.join(&container.name));
        let logs = held_below(&logs.join(&container.name));
        (container.name.clone(), ContainerSpace { layer, logs })
    });
    let volumes = plan::spec(pod).volumes.iter().flatten();
    let is_of_claim = volumes.clone().any(|volume| claim_name(pod, volume).is_some());
    let claims = if is_of_claim { shared.claims.known(uid) } else { Default::default() };
    PodSpace {
        namespace: view.key.namespace.clone(),
        containers: containers.collect(),
        volumes: volumes
            .filter_map(|volume| match claim_name(pod, volume) {
                Some(claim) => of_claim(shared, volume, claim, claims.get(&volume.name)?),
                None => of_pod(shared, pod, uid, volume),
            })
            .collect(),
    }
}

/// A volume that the pod brings, which is on disk or in memory.
fn of_pod(shared: &Shared, pod: &Pod, uid: &str, volume: &Volume) -> Option<VolumeSpace> {
    let roots = [(&shared.volumes.disk, true), (&shared.volumes.memory, false)];
    let places = roots.map(|(root, on_disk)| (root.join(uid).join("volumes"), on_disk));
    let mut there = places.into_iter().map(|(root, on_disk)| (root.join(&volume.name), on_disk));
    let (place, is_ephemeral) = there.find(|(place, _)| place.is_dir())?;
    let whole = space(&place)?;
    let limit = size_limit(pod, &volume.name).filter(|_| !is_ephemeral);
    let held = held_below(&place);
    let space = limit.map_or(whole.with(held), |limit| whole.within(limit, held));
    Some(VolumeSpace { name: volume.name.clone(), claim: None, space, is_ephemeral })
}

/// A volume in memory is as large as it may become.
fn size_limit(pod: &Pod, volume: &str) -> Option<u64> {
    let volumes = plan::spec(pod).volumes.iter().flatten();
    let found = volumes.filter(|one| one.name == volume).find_map(|one| one.empty_dir.as_ref())?;
    let limit: coracle_api::quantity::Quantity = found.size_limit.as_ref()?.0.parse().ok()?;
    u64::try_from(limit.value()).ok().filter(|limit| *limit > 0)
}

/// The volume of a claim. A share of another machine is not asked: it may not answer.
fn of_claim(
    shared: &Shared,
    volume: &Volume,
    claim: String,
    claimed: &Claimed,
) -> Option<VolumeSpace> {
    let space = match &claimed.place {
        Place::Folder(handle) => {
            let place = local_place(&shared.config.data_dir, handle);
            space(&place)?.within(claimed.bytes_max, held_below(&place))
        }
        Place::Host(path) => space(&local(Path::new(path))?)?,
        Place::Nfs { .. } => return None,
    };
    let name = volume.name.clone();
    Some(VolumeSpace { name, claim: Some(claim), space, is_ephemeral: false })
}

/// Where a path of the host leads, if that is on this machine.
fn local(path: &Path) -> Option<PathBuf> {
    let mounts = Mounts::parse(&std::fs::read("/proc/self/mountinfo").ok()?);
    mounts.local(path, |link| std::fs::read_link(link).ok())
}
