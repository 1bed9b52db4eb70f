//! The images on this host's disk: blobs by digest, and what each reference means.
//!
//! Layout below its folder: `blobs/sha256-<hex>`, `images/sha256-<hex>.json` (one [`LocalImage`]
//! per manifest), `rootfs/sha256-<hex>/` (files of container images), `references.json`. Every file
//! is written beside its place and renamed, so a crash leaves whole files only. A blob is there only
//! after its digest was checked. Blocking calls: the edge runs them on a blocking thread.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use std::sync::atomic::{AtomicU64, Ordering};

use cap_std::fs::Dir;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::reference::Reference;
use super::{LocalImage, unpack};

/// The images on this host. Safe to share: changes to the table of references take a lock.
#[derive(Debug)]
pub struct ImageStore {
    root: PathBuf,
    references: Mutex<BTreeMap<String, String>>,
}

/// Why the disk copy of an image cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk refuses.
    #[error("{what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The content is not what its digest says.
    #[error("content of {digest} has digest {found}")]
    Digest {
        /// What was asked for.
        digest: String,
        /// What came.
        found: String,
    },
    /// A layer cannot be unpacked.
    #[error("unpack layer {digest}: {reason}")]
    Layer {
        /// Its digest.
        digest: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { what, path, source }
}

impl ImageStore {
    /// Opens the store in `root`; makes what is missing.
    ///
    /// # Errors
    /// `Io` when the folder cannot be made. A damaged table of references counts as empty.
    pub fn open(root: PathBuf) -> Result<Self, StoreError> {
        for part in ["blobs", "images", "rootfs", "signed"] {
            let path = root.join(part);
            fs::create_dir_all(&path).map_err(failed("make folder", &path))?;
        }
        let table = fs::read(root.join("references.json")).ok();
        let references = table.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Self { root, references: Mutex::new(references.unwrap_or_default()) })
    }

    /// Gives the image that a reference means on this host.
    #[must_use]
    pub fn find(&self, reference: &Reference) -> Option<LocalImage> {
        let digest = match &reference.digest {
            Some(digest) => digest.clone(),
            None => self.references.lock().get(&reference.to_string()).cloned()?,
        };
        let image = self.by_digest(&digest)?;
        Some(LocalImage { image_id: reference.image_id(&image.manifest_digest), ..image })
    }

    /// Gives the image of a manifest, by the manifest's digest.
    #[must_use]
    pub fn by_digest(&self, manifest_digest: &str) -> Option<LocalImage> {
        let path = self.record(manifest_digest);
        let image: LocalImage = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        image.wasm.exists().then_some(image)
    }

    /// Lists all images with the references that mean them.
    #[must_use]
    pub fn list(&self) -> Vec<(Vec<String>, LocalImage)> {
        let references = self.references.lock().clone();
        let mut by_digest: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, digest) in references {
            by_digest.entry(digest).or_default().push(name);
        }
        let image =
            |(digest, names): (String, Vec<String>)| Some((names, self.by_digest(&digest)?));
        by_digest.into_iter().filter_map(image).collect()
    }

    /// Keeps an image and makes `reference` mean it.
    ///
    /// # Errors
    /// `Io` when the disk refuses.
    pub fn keep(&self, reference: &Reference, image: &LocalImage) -> Result<(), StoreError> {
        let record = self.record(&image.manifest_digest);
        write_whole(&record, &serde_json::to_vec(image).unwrap_or_default())?;
        if let Some(digest) = reference.digest.as_ref().filter(|d| **d != image.manifest_digest) {
            write_whole(&self.record(digest), &serde_json::to_vec(image).unwrap_or_default())?;
        }
        // Held while writing, so that an older table never comes to lie over a newer one.
        let mut references = self.references.lock();
        references.insert(reference.to_string(), image.manifest_digest.clone());
        let table = serde_json::to_vec(&*references).unwrap_or_default();
        write_whole(&self.root.join("references.json"), &table)
    }

    /// Gives the place of a blob, whether it is there or not.
    #[must_use]
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.root.join("blobs").join(digest.replace(':', "-"))
    }

    /// Keeps a blob that was downloaded to `from`, after checking its digest.
    ///
    /// # Errors
    /// `Digest` when the content is another; `Io` when the disk refuses.
    pub fn admit(&self, digest: &str, from: &Path) -> Result<(), StoreError> {
        let found = digest_of_file(from).map_err(failed("read blob", from))?;
        if found != digest {
            let _ = fs::remove_file(from);
            return Err(StoreError::Digest { digest: digest.to_owned(), found });
        }
        let to = self.blob(digest);
        fs::rename(from, &to).map_err(failed("keep blob", &to))
    }

    /// Gives a new path for a download; `unique` tells concurrent downloads apart.
    #[must_use]
    pub fn download(&self, unique: u64) -> PathBuf {
        self.root.join("blobs").join(format!("download-{unique:016x}"))
    }

    /// Gives the file that says that an image was found to be signed; `name` is of an image and keys.
    #[must_use]
    pub(super) fn stamp(&self, name: &str) -> PathBuf {
        self.root.join("signed").join(name)
    }

    /// Unpacks layers, lowest first, into the folder of `manifest_digest`; gives that folder.
    ///
    /// White-outs are followed. Device nodes are left out, and no entry can land outside.
    ///
    /// # Errors
    /// `Layer` when a layer is damaged, too large, leads outside, or is compressed in a way we
    /// cannot read; nothing is left of it then.
    pub fn unpack(
        &self,
        manifest_digest: &str,
        layers: &[(String, String)],
        unique: u64,
    ) -> Result<PathBuf, StoreError> {
        let to = self.root.join("rootfs").join(manifest_digest.replace(':', "-"));
        if to.is_dir() {
            return Ok(to);
        }
        let partial = self.root.join("rootfs").join(format!("partial-{unique:016x}"));
        fs::create_dir_all(&partial).map_err(failed("make folder", &partial))?;
        if let Err(error) = self.unpack_into(&partial, layers) {
            let _ = fs::remove_dir_all(&partial);
            return Err(error);
        }
        match fs::rename(&partial, &to) {
            Ok(()) => Ok(to),
            Err(_) if to.is_dir() => {
                let _ = fs::remove_dir_all(&partial);
                Ok(to)
            }
            Err(source) => Err(failed("keep files", &to)(source)),
        }
    }

    fn unpack_into(&self, to: &Path, layers: &[(String, String)]) -> Result<(), StoreError> {
        let dir = Dir::open_ambient_dir(to, cap_std::ambient_authority());
        let dir = dir.map_err(failed("open folder", to))?;
        let mut budget = unpack::Budget::of_image();
        for (index, (digest, media_type)) in layers.iter().enumerate() {
            unpack::layer(&self.blob(digest), media_type, &dir, &mut budget, index == 0)
                .map_err(|reason| StoreError::Layer { digest: digest.clone(), reason })?;
        }
        Ok(())
    }

    /// All records with their files.
    pub(super) fn records(&self) -> BTreeMap<PathBuf, LocalImage> {
        let entries = fs::read_dir(self.root.join("images")).into_iter().flatten().flatten();
        let read = |entry: fs::DirEntry| {
            let image = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
            Some((entry.path(), image))
        };
        entries.filter_map(read).collect()
    }

    /// The folder of the blobs.
    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Forgets every reference that means one of these manifests.
    pub(super) fn drop_references(&self, digests: &std::collections::BTreeSet<String>) {
        let mut references = self.references.lock();
        references.retain(|_, digest| !digests.contains(digest));
        let table = serde_json::to_vec(&*references).unwrap_or_default();
        if let Err(error) = write_whole(&self.root.join("references.json"), &table) {
            tracing::warn!(%error, "cannot write the table of references");
        }
    }

    fn record(&self, digest: &str) -> PathBuf {
        self.root.join("images").join(format!("{}.json", digest.replace(':', "-")))
    }
}

/// Writes a file beside its place and renames it there.
///
/// # Errors
/// `Io` when the disk refuses.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    // Two pulls of an image may write the same file at the same time, each beside it on its own.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_extension(format!("new{number}"));
    let mut file = fs::File::create(&beside).map_err(failed("write", &beside))?;
    file.write_all(bytes).map_err(failed("write", &beside))?;
    drop(file);
    fs::rename(&beside, path).map_err(failed("write", path))
}

/// Gives the digest of some bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn digest_of_file(path: &Path) -> io::Result<String> {
    digest_of_reader(&mut fs::File::open(path)?)
}

/// Gives the digest of all that is still to be read.
pub(super) fn digest_of_reader(file: &mut impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(format!("sha256:{}", hex(&hasher.finalize())));
        }
        hasher.update(buffer.get(..n).unwrap_or_default());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_become_one_folder_and_a_bad_one_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path().join("store")).unwrap();
        let layer = |path: &str, unique| {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(1);
            header.set_cksum();
            let mut builder = tar::Builder::new(Vec::new());
            builder.append(&header, &b"x"[..]).unwrap();
            let bytes = builder.into_inner().unwrap();
            let (digest, download) = (digest_of(&bytes), store.download(unique));
            fs::write(&download, bytes).unwrap();
            store.admit(&digest, &download).unwrap();
            (digest, "application/vnd.oci.image.layer.v1.tar".to_owned())
        };
        let layers = [layer("app.wasm", 1), layer("etc/a", 2)];
        let root = store.unpack("sha256:00", &layers, 7).unwrap();
        assert!(root.join("app.wasm").is_file() && root.join("etc/a").is_file());
        let error = store.unpack("sha256:01", &[layer("../evil", 3)], 8).unwrap_err();
        assert!(matches!(error, StoreError::Layer { .. }), "{error}");
        let left: Vec<_> = fs::read_dir(dir.path().join("store/rootfs")).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn content_with_another_digest_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path().to_owned()).unwrap();
        let download = store.download(1);
        fs::write(&download, "hello").unwrap();
        let wrong = digest_of(b"other");
        assert!(matches!(store.admit(&wrong, &download), Err(StoreError::Digest { .. })));
        assert!(!store.blob(&wrong).exists());
        assert!(!download.exists());
    }
}
