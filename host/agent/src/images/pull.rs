//! Makes an image be on this host, by a container's pull policy.

mod files;
mod signed;

pub use files::ImageFiles;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::LocalImage;
use super::collect::{self, Unused};
use super::manifest::{self, Content, Descriptor, ImageConfig, Manifest, NotWasm};
use super::program::Program;
use super::reference::Reference;
use super::registry::{Credentials, MANIFEST_BYTES_MAX, Registries, Registry, Wanted};
use super::store::ImageStore;
use super::unpack::LAYERS_MAX;
use crate::pods::state::Fault;
use coracle_runtime::Capabilities;

/// Most bytes of all blobs of an image together.
const IMAGE_BYTES_MAX: u64 = 4 << 30;

/// Characters of what should be a digest that a message shows.
const DIGEST_CHARS_SHOWN_MAX: usize = 80;

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFault {
    /// The reference is not one.
    #[error("Failed to apply default image tag \"{image}\": {source}")]
    Name {
        /// As the pod writes it.
        image: String,
        /// What is wrong with it.
        source: super::reference::InvalidReference,
    },
    /// Policy `Never`, and it is not here.
    #[error("Container image \"{0}\" is not present with pull policy of Never")]
    NeverPull(String),
    /// It could not be fetched or kept.
    #[error("{0}")]
    Pull(String),
    /// The registry could not be asked.
    #[error("{0}")]
    Unreachable(String),
    /// Its namespace wants a signature that it does not have.
    #[error("{0}")]
    Signature(String),
    /// It has nothing that we can run.
    #[error("{0}")]
    NotWasm(#[from] NotWasm),
}

impl ImageFault {
    /// Gives the waiting reason and its sentence.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let reason = match self {
            Self::Name { .. } => "InvalidImageName",
            Self::NeverPull(_) => "ErrImageNeverPull",
            Self::Pull(_) | Self::Unreachable(_) => "ErrImagePull",
            // The word that other runtimes have for it.
            Self::Signature(_) => "SignatureValidationFailed",
            Self::NotWasm(_) => "ErrImageNotWasm",
        };
        Fault { reason: reason.into(), message: self.to_string() }
    }
}

impl From<super::registry::RegistryError> for ImageFault {
    fn from(error: super::registry::RegistryError) -> Self {
        match error {
            super::registry::RegistryError::Unreachable(text) => Self::Unreachable(text),
            super::registry::RegistryError::Refused(text) => Self::Pull(text),
        }
    }
}

/// An image that is here now, and how it came.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The image.
    pub image: LocalImage,
    /// How long the registry took; nothing when it was here already.
    pub took: Option<Duration>,
}

/// When to ask the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// At every start.
    Always,
    /// When it is not here.
    IfNotPresent,
    /// Never.
    Never,
}

impl Policy {
    /// Reads `imagePullPolicy`; the API server has filled it in.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            Some(_) | None => Self::IfNotPresent,
        }
    }
}

/// The images of this host.
pub struct Images {
    store: Arc<ImageStore>,
    registries: Registries,
    /// One pull per reference at a time: the second one finds what the first one brought.
    pulling: Mutex<HashMap<Reference, Weak<tokio::sync::Mutex<()>>>>,
    /// When each image was last asked for, by the digest of its manifest.
    used: Mutex<HashMap<String, Instant>>,
    /// What components import and export, by their own digest.
    capabilities: Mutex<HashMap<String, Arc<Capabilities>>>,
    begun: Instant,
}

/// Components of which imports and exports are kept at hand; others are read again.
const CAPABILITIES_KEPT_MAX: usize = 512;

/// How far a pull is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of all that is to be fetched, as far as known.
    pub total: AtomicU64,
    /// Bytes of the blobs that are here.
    pub done: AtomicU64,
}

impl Images {
    /// Puts store and registries together.
    #[must_use]
    pub fn new(store: Arc<ImageStore>, registries: Registries) -> Self {
        Self {
            store,
            registries,
            pulling: Mutex::default(),
            used: Mutex::default(),
            capabilities: Mutex::default(),
            begun: now(),
        }
    }

    /// Gives the disk side.
    #[must_use]
    pub fn store(&self) -> &ImageStore {
        &self.store
    }

    /// Gives the image if no registry has to be asked for it.
    ///
    /// # Errors
    /// `Name` and `NeverPull`.
    pub fn local(&self, image: &str, policy: Policy) -> Result<Option<LocalImage>, ImageFault> {
        let reference = parse(image)?;
        let found = self.store.find(&reference).filter(LocalImage::is_program);
        if let Some(image) = &found {
            self.touch(image);
        }
        match (policy, found) {
            (Policy::Never, None) => Err(ImageFault::NeverPull(image.to_owned())),
            (Policy::Never | Policy::IfNotPresent, found) => Ok(found),
            (Policy::Always, _) => Ok(None),
        }
    }

    /// Asks the registry for the image; blobs that are here already are not fetched again.
    ///
    /// # Errors
    /// `Name`, `Pull` and `NotWasm`.
    pub async fn pull(
        &self,
        image: &str,
        credentials: Option<&Credentials>,
        progress: &Progress,
    ) -> Result<Pulled, ImageFault> {
        let reference = parse(image)?;
        let begun = now();
        let turn = self.turn(&reference);
        let _turn = turn.lock().await;
        let registry = self.registries.of(&reference);
        let image = self.fetch(registry, &reference, credentials, progress).await?;
        self.touch(&image);
        Ok(Pulled { image, took: Some(now().duration_since(begun)) })
    }

    fn touch(&self, image: &LocalImage) {
        self.used.lock().insert(image.manifest_digest.clone(), now());
    }

    /// Removes images that nobody has used for `min_age` and that are not `in_use` (digests of
    /// manifests), the longest idle first, until `wanted_bytes` are free; gives the bytes that are.
    /// Blocking calls.
    pub fn collect(&self, in_use: &BTreeSet<String>, wanted_bytes: u64, min_age: Duration) -> u64 {
        let at = now();
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let used = self.used.lock().clone();
        let unused = self.store.list().into_iter().filter_map(|(_, image)| {
            let digest = image.manifest_digest;
            let since = used.get(&digest).copied().unwrap_or(self.begun);
            let idle_millis = millis(at.duration_since(since));
            let size_bytes = image.size_bytes;
            (!in_use.contains(&digest)).then_some(Unused { digest, idle_millis, size_bytes })
        });
        let chosen = collect::choose(unused.collect(), wanted_bytes, millis(min_age));
        let digests: BTreeSet<String> = chosen.into_iter().map(|image| image.digest).collect();
        self.store.forget(&digests, min_age)
    }

    /// Makes what a component imports and exports be at hand, and gives it; `None` when it cannot be read. Reads its
    /// file.
    pub async fn learn(&self, image: &LocalImage) -> Option<Arc<Capabilities>> {
        if let Some(found) = self.capabilities(image) {
            return Some(found);
        }
        let wasm = image.wasm.clone();
        let read = tokio::task::spawn_blocking(move || super::capabilities::read(&wasm));
        let found = Arc::new(read.await.ok()??);
        let mut known = self.capabilities.lock();
        if known.len() >= CAPABILITIES_KEPT_MAX {
            known.clear();
        }
        known.insert(image.wasm_digest.clone(), Arc::clone(&found));
        Some(found)
    }

    /// Gives what a component imports and exports, if that is at hand.
    #[must_use]
    pub fn capabilities(&self, image: &LocalImage) -> Option<Arc<Capabilities>> {
        self.capabilities.lock().get(&image.wasm_digest).cloned()
    }

    fn turn(&self, reference: &Reference) -> Arc<tokio::sync::Mutex<()>> {
        let mut pulling = self.pulling.lock();
        pulling.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = pulling.get(reference).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        pulling.insert(reference.clone(), Arc::downgrade(&turn));
        turn
    }

    async fn fetch(
        &self,
        registry: &dyn Registry,
        reference: &Reference,
        credentials: Option<&Credentials>,
        progress: &Progress,
    ) -> Result<LocalImage, ImageFault> {
        let fetched = registry.manifest(reference, credentials).await?;
        let (manifest, digest) = self.resolve(registry, reference, credentials, fetched).await?;
        if let Some(image) = self.store.by_digest(&digest).filter(LocalImage::is_program) {
            let image = LocalImage { image_id: reference.image_id(&digest), ..image };
            self.keep(reference, &image).await?;
            return Ok(image);
        }
        let source = Source { images: self, registry, reference, credentials, progress };
        let image = source.build(&manifest, &digest).await?;
        self.keep(reference, &image).await?;
        Ok(image)
    }

    /// Follows an index to the manifest that runs here.
    async fn resolve(
        &self,
        registry: &dyn Registry,
        reference: &Reference,
        credentials: Option<&Credentials>,
        (bytes, digest): (bytes::Bytes, String),
    ) -> Result<(Manifest, String), ImageFault> {
        let manifest = read_manifest(reference, &bytes)?;
        if manifest.manifests.is_empty() {
            return Ok((manifest, digest));
        }
        let chosen = manifest::pick(&manifest)?.digest.clone();
        check_digest(&chosen)?;
        let exact = Reference { digest: Some(chosen), ..reference.clone() };
        let (bytes, digest) = registry.manifest(&exact, credentials).await?;
        Ok((read_manifest(reference, &bytes)?, digest))
    }

    async fn keep(&self, reference: &Reference, image: &LocalImage) -> Result<(), ImageFault> {
        let (store, reference, image) = (self.store.clone(), reference.clone(), image.clone());
        blocking(move || store.keep(&reference, &image)).await
    }
}

/// One pull under way.
struct Source<'a> {
    images: &'a Images,
    registry: &'a dyn Registry,
    reference: &'a Reference,
    credentials: Option<&'a Credentials>,
    progress: &'a Progress,
}

impl Source<'_> {
    async fn build(&self, manifest: &Manifest, digest: &str) -> Result<LocalImage, ImageFault> {
        let total = manifest.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
        if total > IMAGE_BYTES_MAX {
            let message = format!("image has {total} bytes; must have at most {IMAGE_BYTES_MAX}");
            return Err(ImageFault::Pull(message));
        }
        let layers = manifest.layers.len();
        if layers > LAYERS_MAX {
            let message = format!("image has {layers} layers; must have at most {LAYERS_MAX}");
            return Err(ImageFault::Pull(message));
        }
        self.progress.total.store(total, Ordering::Relaxed);
        if let Some(layer) = manifest::artifact(manifest) {
            let wasm = self.blob(layer).await?;
            return Ok(self.artifact(digest, wasm, layer, total));
        }
        let config = self.config(manifest).await?;
        match manifest::container(manifest, &config)? {
            Content::Artifact(layer) => {
                let wasm = self.blob(&layer).await?;
                Ok(self.artifact(digest, wasm, &layer, total))
            }
            Content::Container { layers, program } => {
                self.container(digest, &config, layers, &program, total).await
            }
        }
    }

    fn artifact(&self, digest: &str, wasm: PathBuf, layer: &Descriptor, size: u64) -> LocalImage {
        LocalImage {
            image_id: self.reference.image_id(digest),
            manifest_digest: digest.to_owned(),
            wasm,
            wasm_digest: layer.digest.clone(),
            rootfs: None,
            entrypoint: Vec::new(),
            arguments: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            size_bytes: size,
        }
    }

    async fn container(
        &self,
        digest: &str,
        config: &ImageConfig,
        layers: Vec<Descriptor>,
        program: &str,
        size: u64,
    ) -> Result<LocalImage, ImageFault> {
        for layer in &layers {
            self.blob(layer).await?;
        }
        let names: Vec<_> =
            layers.into_iter().map(|layer| (layer.digest, layer.media_type)).collect();
        let (store, owned, unique) = (self.images.store.clone(), digest.to_owned(), rand::random());
        let rootfs = blocking(move || store.unpack(&owned, &names, unique)).await?;
        let program = self.program(&rootfs, program).await?;
        let execution = config.config.clone().unwrap_or_default();
        let pair = |text: String| text.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
        Ok(LocalImage {
            image_id: self.reference.image_id(digest),
            manifest_digest: digest.to_owned(),
            wasm: program.path,
            wasm_digest: program.digest,
            rootfs: Some(rootfs),
            entrypoint: execution.entrypoint.unwrap_or_default(),
            arguments: execution.cmd.unwrap_or_default(),
            env: execution.env.unwrap_or_default().into_iter().filter_map(pair).collect(),
            working_dir: execution.working_dir.filter(|path| !path.is_empty()),
            size_bytes: size,
        })
    }

    async fn program(&self, rootfs: &Path, program: &str) -> Result<Program, ImageFault> {
        let (rootfs, name) = (rootfs.to_owned(), program.to_owned());
        let found = tokio::task::spawn_blocking(move || super::program::find(&rootfs, &name)).await;
        let why = match found {
            Ok(Ok(program)) => return Ok(program),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the host is shutting down".to_owned(),
        };
        let message = format!("read entry point '/{program}' of the image: {why}");
        Err(ImageFault::Pull(message))
    }

    async fn config(&self, manifest: &Manifest) -> Result<ImageConfig, ImageFault> {
        let missing = || ImageFault::Pull("manifest names no configuration".into());
        let descriptor = manifest.config.as_ref().ok_or_else(missing)?;
        if descriptor.size > MANIFEST_BYTES_MAX as u64 {
            let bytes = descriptor.size;
            return Err(ImageFault::Pull(format!(
                "image config has {bytes} bytes; must have at most {MANIFEST_BYTES_MAX}"
            )));
        }
        let path = self.blob(descriptor).await?;
        let read = |error: std::io::Error| ImageFault::Pull(format!("read image config: {error}"));
        let bytes = tokio::fs::read(path).await.map_err(read)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ImageFault::Pull(format!("parse image config: {error}")))
    }

    /// Sees to it that a blob is here, with the size that the manifest says.
    async fn blob(&self, descriptor: &Descriptor) -> Result<PathBuf, ImageFault> {
        let Descriptor { digest, size, .. } = descriptor;
        check_digest(digest)?;
        let path = self.images.store.blob(digest);
        if !path.exists() {
            let download = self.images.store.download(rand::random());
            let wanted = Wanted { digest, bytes_max: *size };
            let fetched = self.registry.blob(self.reference, self.credentials, wanted, &download);
            if let Err(error) = fetched.await {
                let _ = tokio::fs::remove_file(&download).await;
                return Err(error.into());
            }
            let (store, digest) = (self.images.store.clone(), digest.clone());
            blocking(move || store.admit(&digest, &download)).await?;
        }
        let facts = tokio::fs::metadata(&path).await;
        let has = facts.map_err(|error| ImageFault::Pull(format!("look at {digest}: {error}")))?;
        if has.len() != *size {
            let message =
                format!("blob {digest} has {} bytes, and the manifest says {size}", has.len());
            return Err(ImageFault::Pull(message));
        }
        self.progress.done.fetch_add(*size, Ordering::Relaxed);
        Ok(path)
    }
}

/// Refuses what is no digest, before it becomes a path or a URL.
fn check_digest(digest: &str) -> Result<(), ImageFault> {
    if super::reference::is_digest(digest) {
        return Ok(());
    }
    let shown: String = digest.chars().take(DIGEST_CHARS_SHOWN_MAX).collect();
    Err(ImageFault::Pull(format!("digest {shown:?} must be a sha256 digest")))
}

fn parse(image: &str) -> Result<Reference, ImageFault> {
    Reference::parse(image).map_err(|source| ImageFault::Name { image: image.to_owned(), source })
}

fn read_manifest(reference: &Reference, bytes: &[u8]) -> Result<Manifest, ImageFault> {
    serde_json::from_slice(bytes)
        .map_err(|error| ImageFault::Pull(format!("parse manifest of \"{reference}\": {error}")))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, super::store::StoreError> + Send + 'static,
) -> Result<T, ImageFault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            let source = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            Err(ImageFault::Pull(format!("{error}{}", source.unwrap_or_default())))
        }
        Err(_) => Err(ImageFault::Pull("the host is shutting down".into())),
    }
}

#[expect(clippy::disallowed_methods, reason = "tells the pod's owner how long a pull took")]
fn now() -> Instant {
    Instant::now()
}
