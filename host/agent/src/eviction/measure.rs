//! What pods and machine have: read from the file system and the kernel. Blocking calls.

use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use super::limits::PodDisk;
use super::signals::{Level, Levels};
use crate::pods::plan;
use crate::volumes::VolumeRoots;

/// Most entries that are counted below one folder: a pod with more files than that is measured short,
/// and no pod can hold up the others' turn.
const ENTRIES_MAX: u64 = 1_000_000;

/// Measures what a pod has on disk; `logs` is the folder of its logs.
pub(crate) fn pod(roots: &VolumeRoots, pod: &Pod, uid: &str, logs: &Path) -> PodDisk {
    let mut disk = PodDisk::default();
    let empty = plan::spec(pod).volumes.iter().flatten().filter(|v| v.empty_dir.is_some());
    for volume in empty {
        let memory =
            volume.empty_dir.as_ref().is_some_and(|e| e.medium.as_deref() == Some("Memory"));
        let root = if memory { &roots.memory } else { &roots.disk };
        let place = root.join(uid).join("volumes").join(&volume.name);
        disk.volumes.insert(volume.name.clone(), bytes_below(&place));
    }
    for (_, container) in plan::containers(pod) {
        let layer = bytes_below(&roots.scratch(uid).join(&container.name));
        let logs = bytes_below(&logs.join(&container.name));
        disk.containers.insert(container.name.clone(), layer.saturating_add(logs));
    }
    disk
}

/// What a part of a file system holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Bytes of files.
    pub(crate) bytes: u64,
    /// Files, folders and links.
    pub(crate) inodes: u64,
}

impl Held {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            inodes: self.inodes.saturating_add(other.inodes),
        }
    }
}

/// Sums up the files below a folder. Links are not followed.
pub(crate) fn bytes_below(folder: &Path) -> u64 {
    held_below(folder).bytes
}

/// Sums up what is below a folder. Links are not followed.
pub(crate) fn held_below(folder: &Path) -> Held {
    let mut waiting = vec![folder.to_owned()];
    let mut held = Held::default();
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if held.inodes >= ENTRIES_MAX {
                return held;
            }
            held.inodes += 1;
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => waiting.push(entry.path()),
                Ok(meta) if meta.is_file() => held.bytes = held.bytes.saturating_add(meta.len()),
                Ok(_) | Err(_) => {}
            }
        }
    }
    held
}

/// Reads what the machine has left; `data` is a folder of the file system that counts.
pub(crate) fn levels(data: &Path) -> Levels {
    let stat = rustix::fs::statvfs(data).ok();
    let level = |capacity, available| (capacity > 0).then_some(Level { capacity, available });
    Levels {
        memory: memory(),
        disk: stat.as_ref().and_then(|stat| {
            level(
                stat.f_blocks.saturating_mul(stat.f_frsize),
                stat.f_bavail.saturating_mul(stat.f_frsize),
            )
        }),
        inodes: stat.and_then(|stat| level(stat.f_files, stat.f_favail)),
        pids: pids(),
    }
}

fn memory() -> Option<Level> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = |name: &str| {
        let rest = info.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
    };
    let whole = Level { capacity: line("MemTotal:")?, available: line("MemAvailable:")? };
    Some(control_group().map_or(whole, |group| Level {
        capacity: whole.capacity.min(group.capacity),
        available: whole.available.min(group.available),
    }))
}

/// The limit of the process's own control group; caches can be given back.
fn control_group() -> Option<Level> {
    let number = |file: &str| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let capacity = number("/sys/fs/cgroup/memory.max")?;
    let used = number("/sys/fs/cgroup/memory.current")?;
    let stat = fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
    let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let cached = cached.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let used = used.saturating_sub(cached);
    Some(Level { capacity, available: capacity.saturating_sub(used) })
}

/// *Source:* kubelet: the fourth word of `/proc/loadavg` counts threads.
pub(crate) fn pids() -> Option<Level> {
    let capacity = fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse().ok()?;
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let used: u64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some(Level { capacity, available: capacity.saturating_sub(used) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_summed_up_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("x"), [0; 100]).unwrap();
        fs::write(dir.path().join("y"), [0; 11]).unwrap();
        std::os::unix::fs::symlink("/usr", dir.path().join("usr")).unwrap();
        assert_eq!(held_below(dir.path()), Held { bytes: 111, inodes: 5 });
        assert_eq!(bytes_below(&dir.path().join("none")), 0);
    }

    #[test]
    fn the_machine_says_what_it_has() {
        let levels = levels(Path::new("/"));
        let sane = |level: Option<Level>| {
            level.is_some_and(|l| 0 < l.available && l.available <= l.capacity)
        };
        assert!(sane(levels.memory) && sane(levels.disk) && sane(levels.pids));
    }
}
