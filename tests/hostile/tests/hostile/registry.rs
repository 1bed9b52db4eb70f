//! A registry whose answers are the attacker's.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use coracle_agent::images::pull::Progress;
use coracle_agent::images::registry::{Credentials, Registries, Registry, RegistryError, Wanted};
use coracle_agent::images::store::digest_of;
use coracle_agent::images::{ImageStore, Images, LocalImage, Reference};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

/// What the registry has: manifests by tag or digest, blobs by digest.
#[derive(Default)]
pub(crate) struct Evil {
    manifests: HashMap<String, Vec<u8>>,
    blobs: HashMap<String, Vec<u8>>,
}

/// Media type of an unpacked layer.
pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

impl Evil {
    /// Keeps a blob, and gives the descriptor that is true of it.
    pub(crate) fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let (digest, size) = (digest_of(&bytes), bytes.len());
        self.blobs.insert(digest.clone(), bytes);
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }

    /// Keeps what a descriptor lies about: these bytes come for that digest.
    pub(crate) fn lie(&mut self, digest: &str, bytes: Vec<u8>) {
        self.blobs.insert(digest.to_owned(), bytes);
    }

    pub(crate) fn manifest(&mut self, name: &str, manifest: &Value) {
        self.manifests.insert(name.to_owned(), manifest.to_string().into_bytes());
    }

    pub(crate) fn raw_manifest(&mut self, name: &str, bytes: Vec<u8>) {
        self.manifests.insert(name.to_owned(), bytes);
    }

    /// A container image of these layers that runs `program`, under the tag `1`.
    pub(crate) fn image(&mut self, layers: Vec<(&str, Vec<u8>)>, program: &str) {
        let config = json!({"os": "wasip1", "architecture": "wasm",
            "config": {"Entrypoint": [program]}});
        let kind = "application/vnd.oci.image.config.v1+json";
        let config = self.blob(kind, config.to_string().into_bytes());
        let layers: Vec<Value> =
            layers.into_iter().map(|(kind, bytes)| self.blob(kind, bytes)).collect();
        self.manifest("1", &json!({"schemaVersion": 2, "config": config, "layers": layers}));
    }
}

impl Registry for Evil {
    fn manifest<'a>(
        &'a self,
        reference: &'a Reference,
        _: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<(Bytes, String), RegistryError>> {
        let found = self.manifests.get(reference.version()).cloned();
        let found = found.ok_or_else(|| RegistryError::Refused("not found".to_owned()));
        async move { found.map(|bytes| (bytes.clone().into(), digest_of(&bytes))) }.boxed()
    }

    fn referrers<'a>(
        &'a self,
        _: &'a Reference,
        _: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Bytes, RegistryError>> {
        async { Err(RegistryError::Refused("not found".to_owned())) }.boxed()
    }

    fn blob<'a>(
        &'a self,
        _: &'a Reference,
        _: Option<&'a Credentials>,
        wanted: Wanted<'a>,
        to: &'a Path,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        async move {
            let refused = |error: String| RegistryError::Refused(error);
            let bytes = self.blobs.get(wanted.digest).ok_or_else(|| refused("not found".into()))?;
            tokio::fs::write(to, bytes).await.map_err(|error| refused(error.to_string()))
        }
        .boxed()
    }
}

/// A host's images, all from one registry.
pub(crate) struct Host {
    pub(crate) folder: tempfile::TempDir,
    images: Images,
}

impl Host {
    pub(crate) fn new(registry: Evil) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(ImageStore::open(folder.path().join("images")).unwrap());
        let registry: Arc<dyn Registry> = Arc::new(registry);
        Self { images: Images::new(store, Registries::new(registry.clone(), registry)), folder }
    }

    /// Pulls the image of the tag `1`; gives the words of the refusal.
    pub(crate) async fn pull(&self) -> Result<LocalImage, String> {
        let pulled = self.images.pull("reg.example/evil:1", None, &Progress::default()).await;
        let image = pulled.map_err(|error| error.to_string())?.image;
        self.images.learn(&image).await;
        Ok(image)
    }

    /// The folders of the store; what leads outside of an image would lie there.
    pub(crate) fn beside(&self) -> BTreeSet<OsString> {
        let entries = std::fs::read_dir(self.folder.path().join("images")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.filter(|name| name != "references.json").collect()
    }

    /// Bytes and folders that were left behind of what was refused.
    pub(crate) fn left(&self) -> Vec<String> {
        let list = |name: &str| {
            let folder = self.folder.path().join("images").join(name);
            let entries = std::fs::read_dir(folder).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
        };
        list("rootfs").chain(list("blobs").filter(|name| name.starts_with("download"))).collect()
    }
}
