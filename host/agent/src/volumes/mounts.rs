//! What a container sees of its pod's volumes.
//!
//! Pure but for two things: a `subPath` of a volume of files is read here, because it must stay as it
//! was when the container started, and a path of the host that is allowed as a file is told from a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::payload::Content;
use super::write::anchor;
use crate::config::env::Environment;
use crate::config::expand::expand;
use crate::pods::state::Fault;
use crate::runtime::{MountRequest, MountSource, QuotaRequest};

/// Least number of bytes by which a volume on disk may be over its limit until its pod is evicted.
const OVERRUN_BYTES_MIN: u64 = 1 << 20;

/// A volume that is there.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// Its folder.
    pub place: PathBuf,
    /// What it holds.
    pub content: Content,
}

/// Lists the mounts of `container`. Volumes that were left out are left out here too.
///
/// # Errors
/// A fault `CreateContainerConfigError` for a sub-path that is not there or leads outside.
pub fn mounts(
    container: &Container,
    volumes: &BTreeMap<String, Mounted>,
    env: &Environment,
) -> Result<Vec<MountRequest>, Fault> {
    let wanted = container.volume_mounts.iter().flatten();
    let known = wanted.filter_map(|mount| Some((mount, volumes.get(&mount.name)?)));
    known.map(|(mount, volume)| one(mount, volume, env)).collect()
}

/// Lists the digests of the images whose files are among `volumes`.
#[must_use]
pub fn image_digests(volumes: &BTreeMap<String, Mounted>) -> Vec<String> {
    let digest = |volume: &Mounted| match &volume.content {
        Content::Image { digest, .. } => Some(digest.clone()),
        Content::Files(_)
        | Content::Empty { .. }
        | Content::Host { .. }
        | Content::Persistent { .. } => None,
    };
    volumes.values().filter_map(digest).collect()
}

/// Lists the lasting volumes that may hold another amount than `before`: name and bytes.
#[must_use]
pub fn resized(
    before: &BTreeMap<String, Mounted>,
    after: &BTreeMap<String, Mounted>,
) -> Vec<(String, u64)> {
    let size = |volume: &Mounted| match &volume.content {
        Content::Persistent { bytes_max, .. } => Some(*bytes_max),
        Content::Files(_)
        | Content::Image { .. }
        | Content::Empty { .. }
        | Content::Host { .. } => None,
    };
    let changed = |(name, volume): (&String, &Mounted)| {
        let now = size(volume)?;
        let old = before.get(name).and_then(size)?;
        (old != now).then(|| (name.clone(), now))
    };
    after.iter().filter_map(changed).collect()
}

/// What one mount of a volume is.
pub(super) fn one(
    mount: &VolumeMount,
    volume: &Mounted,
    env: &Environment,
) -> Result<MountRequest, Fault> {
    let fixed = match &volume.content {
        Content::Files(_) | Content::Image { .. } => true,
        Content::Empty { .. } => false,
        Content::Host { read_only, .. } | Content::Persistent { read_only, .. } => *read_only,
    };
    let quota = match &volume.content {
        Content::Empty { size_limit_bytes, in_memory } => {
            let bounded = *in_memory || size_limit_bytes.is_some();
            let limit = size_limit_bytes.unwrap_or(u64::MAX);
            // On disk it is the eviction that holds the limit; the quota only bounds what can be
            // written before it comes.
            let over = (limit / 8).max(OVERRUN_BYTES_MIN);
            bounded.then(|| QuotaRequest {
                volume: mount.name.clone(),
                place: volume.place.clone(),
                bytes_max: if *in_memory { limit } else { limit.saturating_add(over) },
                in_memory: *in_memory,
            })
        }
        Content::Persistent { place, bytes_max, .. } => Some(QuotaRequest {
            volume: mount.name.clone(),
            place: place.clone(),
            bytes_max: *bytes_max,
            in_memory: false,
        }),
        Content::Files(_) | Content::Image { .. } | Content::Host { .. } => None,
    };
    Ok(MountRequest {
        path: mount.mount_path.clone(),
        source: source(mount, volume, env)?,
        read_only: fixed || mount.read_only.unwrap_or(false),
        quota,
    })
}

fn source(mount: &VolumeMount, volume: &Mounted, env: &Environment) -> Result<MountSource, Fault> {
    let below = sub_path(mount, env)?;
    match (&volume.content, below) {
        (Content::Files(_) | Content::Empty { .. } | Content::Persistent { .. }, None) => {
            Ok(MountSource::Host(volume.place.clone()))
        }
        (Content::Image { folder, .. }, path) => {
            Ok(MountSource::SubPath { volume: folder.clone(), path: path.unwrap_or_default() })
        }
        (Content::Files(payload), Some(path)) => match payload.files.get(&path) {
            Some(file) => Ok(MountSource::Pinned(file.bytes.clone().into())),
            None => Ok(MountSource::SubPath { volume: volume.place.clone(), path }),
        },
        (Content::Empty { .. } | Content::Persistent { .. }, Some(path)) => {
            make_below(&volume.place, &path)?;
            Ok(MountSource::SubPath { volume: volume.place.clone(), path })
        }
        (Content::Host { prefix, path, .. }, below) => {
            let (volume, path) = anchor(prefix, path);
            let parts = [Some(path), below];
            let parts = parts.into_iter().flatten().filter(|part| !part.is_empty());
            let path = parts.collect::<Vec<_>>().join("/");
            Ok(MountSource::SubPath { volume, path })
        }
    }
}

fn sub_path(mount: &VolumeMount, env: &Environment) -> Result<Option<String>, Fault> {
    let plain = mount.sub_path.as_ref().filter(|path| !path.is_empty()).cloned();
    let expression = mount.sub_path_expr.as_ref().filter(|path| !path.is_empty());
    let expanded = expression.map(|text| expand(text, &|name| env.get(name).map(str::to_owned)));
    let Some(path) = plain.or(expanded) else { return Ok(None) };
    let inside = !path.starts_with('/') && path.split('/').all(|part| part != "..");
    if !inside || path.contains("$(") {
        return Err(fault(format!(
            "subPath '{path}' of volume \"{}\" must be relative, without '..' and expand fully",
            mount.name
        )));
    }
    Ok(Some(path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")))
}

/// Makes a sub-path that is not there yet; links that a guest may have put there lead nowhere.
fn make_below(volume: &Path, path: &str) -> Result<(), Fault> {
    use cap_std::fs::Dir;
    let made = Dir::open_ambient_dir(volume, cap_std::ambient_authority())
        .and_then(|dir| if dir.exists(path) { Ok(()) } else { dir.create_dir_all(path) });
    made.map_err(|error| fault(format!("failed to prepare subPath '{path}': {error}")))
}

fn fault(message: String) -> Fault {
    Fault { reason: "CreateContainerConfigError".into(), message }
}
