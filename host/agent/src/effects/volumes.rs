//! Fills, refreshes and removes the volumes of a pod.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{ImageVolumeSource, Volume};

use super::{Shared, Target};
use crate::config::objects::{self, ObjectRef};
use crate::config::tokens;
use crate::images::pull::Policy;
use crate::pods::plan;
use crate::pods::state::{Note, PodEvent};
use crate::record::record;
use crate::volumes::mounts::{self, Mounted};
use crate::volumes::payload::{Content, Sources, VolumeFault, content};

/// Fills all volumes for the first time.
pub(crate) async fn mount(shared: &Shared, target: &Target) {
    let event = match fill_all(shared, target).await {
        Ok(()) => PodEvent::VolumesMounted,
        Err(VolumeFault { volume, message }) => PodEvent::VolumesFailed { volume, message },
    };
    shared.tell(&target.key.uid, event);
}

/// Brings the volumes of a running pod up to date. What is missing now leaves the old content.
pub(crate) async fn refresh(shared: &Shared, target: &Target) {
    if let Err(fault) = fill_all(shared, target).await {
        tracing::debug!(pod = %target.key, volume = fault.volume, %fault, "volume not refreshed");
    }
}

/// Removes all volumes, on disk and in memory.
pub(crate) async fn remove(shared: &Shared, target: &Target) {
    let _turn = target.filling.lock().await;
    let (roots, uid) = (shared.volumes.clone(), target.key.uid.clone());
    let removed = tokio::task::spawn_blocking(move || roots.remove(&uid)).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(pod = %target.key, %error, "cannot remove the volumes of a pod");
    }
    target.volumes.lock().clear();
    shared.tell(&target.key.uid, PodEvent::VolumesRemoved);
}

async fn fill_all(shared: &Shared, target: &Target) -> Result<(), VolumeFault> {
    let _turn = target.filling.lock().await;
    let volumes = plan::spec(&target.pod).volumes.as_deref().unwrap_or_default();
    let contents = contents(shared, target, volumes).await?;
    let (roots, uid, unique) = (shared.volumes.clone(), target.key.uid.clone(), rand::random());
    let filled = tokio::task::spawn_blocking(move || fill(&roots, &uid, contents, unique)).await;
    match filled {
        Ok(Ok(mounted)) => {
            let before = std::mem::replace(&mut *target.volumes.lock(), mounted.clone());
            for (volume, bytes_max) in mounts::resized(&before, &mounted) {
                shared.runtime.resize_volume(&target.key, &volume, bytes_max);
            }
            Ok(())
        }
        Ok(Err(fault)) => Err(fault),
        Err(_) => Err(fault("", "the host is shutting down".into())),
    }
}

async fn contents(
    shared: &Shared,
    target: &Target,
    volumes: &[Volume],
) -> Result<Vec<(String, Content)>, VolumeFault> {
    let facts = shared.facts(target);
    let mut contents = Vec::new();
    let every: BTreeSet<ObjectRef> =
        volumes.iter().flat_map(|volume| wanted(target, volume)).collect();
    let objects = shared.objects.get(&every).await.map_err(|object| {
        let needs = |volume: &&Volume| wanted(target, volume).any(|wanted| wanted == object);
        let name = volumes.iter().find(needs).map_or("", |volume| &volume.name);
        fault(name, format!("failed to sync {object} cache: timed out waiting for the condition"))
    })?;
    let tokens = shared.tokens.of(target).await.map_err(|message| {
        let asks = |volume: &&Volume| !tokens::of_volume(volume).is_empty();
        fault(volumes.iter().find(asks).map_or("", |volume| &volume.name), message)
    })?;
    let claims = shared.claims.of(target).await;
    let claims = claims.map_err(|(volume, message)| fault(&volume, message))?;
    let images = images(shared, target, volumes).await?;
    for volume in volumes {
        let sources = Sources {
            pod: &target.pod,
            facts: &facts,
            objects: &objects,
            tokens: &tokens,
            claims: &claims,
            images: &images,
            host_path_prefixes: &shared.config.host_path_prefixes,
            nfs_shares: &shared.config.nfs_shares,
            data_dir: &shared.config.data_dir,
        };
        contents.push((volume.name.clone(), content(&sources, volume)?));
    }
    Ok(contents)
}

/// The files of the images that volumes name. What was mounted once stays for the pod's life.
async fn images(
    shared: &Shared,
    target: &Target,
    volumes: &[Volume],
) -> Result<BTreeMap<String, (PathBuf, String)>, VolumeFault> {
    let mut found = BTreeMap::new();
    for volume in volumes {
        let Some(source) = &volume.image else { continue };
        let mounted = target.volumes.lock().get(&volume.name).map(|there| there.content.clone());
        let files = match mounted {
            Some(Content::Image { folder, digest }) => (folder, digest),
            Some(
                Content::Files(_)
                | Content::Empty { .. }
                | Content::Host { .. }
                | Content::Persistent { .. },
            )
            | None => image(shared, target, source).await.map_err(|m| fault(&volume.name, m))?,
        };
        found.insert(volume.name.clone(), files);
    }
    Ok(found)
}

async fn image(
    shared: &Shared,
    target: &Target,
    source: &ImageVolumeSource,
) -> Result<(PathBuf, String), String> {
    let name = source.reference.as_deref().unwrap_or_default();
    let policy = Policy::parse(source.pull_policy.as_deref());
    let credentials = super::image::pull_credentials(shared, target, name).await;
    let files = shared.images.files(name, policy, credentials.as_ref()).await;
    let files = files.map_err(|error| {
        let fault = error.fault();
        format!("{}: {}", fault.reason, fault.message)
    })?;
    let ran_before = files.took.is_none();
    let signed = super::image::signed(shared, target, name, &files.digest, ran_before).await;
    signed.map_err(|error| {
        let fault = error.fault();
        format!("{}: {}", fault.reason, fault.message)
    })?;
    if let Some(took) = files.took {
        let took = super::image::go_duration(took);
        let message = format!("Successfully pulled image \"{name}\" in {took}");
        let note = Note { warning: false, reason: "Pulled", message, container: None };
        record(&shared.recorder, &target.pod, note);
    }
    Ok((files.folder, files.digest))
}

fn wanted<'a>(target: &'a Target, volume: &Volume) -> impl Iterator<Item = ObjectRef> + use<'a> {
    let namespace = &target.key.namespace;
    objects::volume_references(volume).into_iter().map(|(kind, name)| ObjectRef {
        kind,
        namespace: namespace.clone(),
        name,
    })
}

fn fill(
    roots: &crate::volumes::VolumeRoots,
    uid: &str,
    contents: Vec<(String, Content)>,
    unique: u64,
) -> Result<BTreeMap<String, Mounted>, VolumeFault> {
    let scratch = roots.scratch(uid);
    std::fs::create_dir_all(&scratch).map_err(|error| fault("", error.to_string()))?;
    let one = |(name, content): (String, Content)| {
        let place = roots.fill(uid, &name, &content, unique);
        let place = place.map_err(|error| fault(&name, error.to_string()))?;
        Ok((name, Mounted { place, content }))
    };
    contents.into_iter().map(one).collect()
}

fn fault(volume: &str, message: String) -> VolumeFault {
    VolumeFault { volume: volume.to_owned(), message }
}
