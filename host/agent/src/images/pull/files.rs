//! Images for their files alone: what a volume of kind `image` shows.
//!
//! *Source:* KEP-4639. Any image with layers of files will do, for whatever machine it was made.

use std::path::PathBuf;
use std::time::Duration;

use super::{Credentials, ImageFault, Images, Policy, Progress, Source};
use super::{blocking, check_digest, now, parse, read_manifest};
use crate::images::LocalImage;
use crate::images::Reference;
use crate::images::manifest::{Descriptor, Manifest};
use crate::images::registry::Registry;
use crate::images::unpack::LAYERS_MAX;

/// The files of an image.
#[derive(Clone, Debug)]
pub struct ImageFiles {
    /// Where they are: read only, shared by all who look at them.
    pub folder: PathBuf,
    /// Digest of the image's manifest.
    pub digest: String,
    /// How long the registry took; nothing when they were here already.
    pub took: Option<Duration>,
}

impl Images {
    /// Makes the files of an image be here. An image that was here before stands in when policy
    /// `Always` finds no registry that answers.
    ///
    /// # Errors
    /// `Name`, `NeverPull`, and `Pull` when it cannot be had or has no files.
    pub async fn files(
        &self,
        image: &str,
        policy: Policy,
        credentials: Option<&Credentials>,
    ) -> Result<ImageFiles, ImageFault> {
        let reference = parse(image)?;
        let here = self.store.find(&reference).and_then(|image| self.of(image, None));
        match (policy, here) {
            (Policy::IfNotPresent | Policy::Never, Some(here)) => Ok(here),
            (Policy::Never, None) => Err(ImageFault::NeverPull(image.to_owned())),
            (Policy::Always | Policy::IfNotPresent, here) => {
                match (self.pull_files(&reference, credentials).await, here) {
                    (Err(ImageFault::Unreachable(_)), Some(here)) => Ok(here),
                    (pulled, _) => pulled,
                }
            }
        }
    }

    fn of(&self, image: LocalImage, took: Option<Duration>) -> Option<ImageFiles> {
        self.touch(&image);
        Some(ImageFiles { folder: image.rootfs?, digest: image.manifest_digest, took })
    }

    async fn pull_files(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<ImageFiles, ImageFault> {
        let begun = now();
        let turn = self.turn(reference);
        let _turn = turn.lock().await;
        let registry = self.registries.of(reference);
        let (manifest, digest) = chosen(registry, reference, credentials).await?;
        let image = match self.store.by_digest(&digest).filter(|image| image.rootfs.is_some()) {
            Some(image) => LocalImage { image_id: reference.image_id(&digest), ..image },
            None => {
                let progress = Progress::default();
                let source =
                    Source { images: self, registry, reference, credentials, progress: &progress };
                source.files(&manifest, &digest).await?
            }
        };
        self.keep(reference, &image).await?;
        let none = || ImageFault::Pull("image has no files".into());
        self.of(image, Some(now().duration_since(begun))).ok_or_else(none)
    }
}

/// Follows an index to one of its images: the files are the same for every machine, or the first
/// one's will do.
async fn chosen(
    registry: &dyn Registry,
    reference: &Reference,
    credentials: Option<&Credentials>,
) -> Result<(Manifest, String), ImageFault> {
    let (bytes, digest) = registry.manifest(reference, credentials).await?;
    let manifest = read_manifest(reference, &bytes)?;
    let attests = |platform: &crate::images::manifest::Platform| platform.os == "unknown";
    let usable = |one: &&Descriptor| !one.platform.as_ref().is_some_and(attests);
    let Some(first) = manifest.manifests.iter().find(usable) else { return Ok((manifest, digest)) };
    check_digest(&first.digest)?;
    let exact = Reference { digest: Some(first.digest.clone()), ..reference.clone() };
    let (bytes, digest) = registry.manifest(&exact, credentials).await?;
    Ok((read_manifest(reference, &bytes)?, digest))
}

impl Source<'_> {
    /// Fetches and unpacks the layers of an image that nobody runs.
    async fn files(&self, manifest: &Manifest, digest: &str) -> Result<LocalImage, ImageFault> {
        let is_files = |layer: &&Descriptor| layer.media_type.contains(".tar");
        let layers: Vec<&Descriptor> = manifest.layers.iter().filter(is_files).collect();
        if layers.is_empty() {
            return Err(ImageFault::Pull(
                "image has no layer with files: pack them as a tar layer, as a container image \
                 does"
                    .into(),
            ));
        }
        let size = layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
        if size > super::IMAGE_BYTES_MAX || layers.len() > LAYERS_MAX {
            return Err(ImageFault::Pull(format!(
                "image has {size} bytes in {} layers; must have at most {} in {LAYERS_MAX}",
                layers.len(),
                super::IMAGE_BYTES_MAX
            )));
        }
        for layer in &layers {
            self.blob(layer).await?;
        }
        let names: Vec<(String, String)> =
            layers.iter().map(|layer| (layer.digest.clone(), layer.media_type.clone())).collect();
        let (store, owned, unique) = (self.images.store.clone(), digest.to_owned(), rand::random());
        let rootfs = blocking(move || store.unpack(&owned, &names, unique)).await?;
        Ok(LocalImage {
            image_id: self.reference.image_id(digest),
            manifest_digest: digest.to_owned(),
            // Nothing of it was asked to run.
            wasm: rootfs.clone(),
            wasm_digest: String::new(),
            rootfs: Some(rootfs),
            entrypoint: Vec::new(),
            arguments: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            size_bytes: size,
        })
    }
}
