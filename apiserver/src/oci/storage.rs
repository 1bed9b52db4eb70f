//! Blobs, manifests and tags on disk.
//!
//! ```text
//! blobs/HEX                              content, stored once, named by its SHA-256
//! uploads/UUID                           content in the making
//! repositories/NAME/_blobs/HEX           link: this repository has that blob (empty file)
//! repositories/NAME/_manifests/HEX       link to a manifest; the file holds its media type
//! repositories/NAME/_tags/TAG            the digest that the tag names
//! ```
//!
//! Everything becomes visible by a rename of a complete, synced file. All functions block; the serving side runs
//! them on blocking threads. One lock orders manifest pushes against deletions, so that a deletion never takes a blob
//! that a push has just seen.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::Mutex;

use super::access::Rules;
use super::digest::{Digest, Hasher};
use super::error::{OciError, io};
use super::manifest::Manifest;
use super::policy::Policy;
use super::route::{Reference, Repository, UploadId};

/// The registry's folder.
#[derive(Debug)]
pub struct ImageStore {
    root: PathBuf,
    links: Mutex<()>,
    policy: Policy,
}

/// A manifest as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Bytes read at once when a digest is computed.
const HASH_CHUNK_BYTES: usize = 64 * 1024;

impl ImageStore {
    /// Opens the folder, makes it when it is missing, and throws away uploads that an earlier process left.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<ImageStore> {
        let root = root.into();
        let uploads = root.join("uploads");
        if uploads.exists() {
            fs::remove_dir_all(&uploads)?;
        }
        for folder in ["blobs", "uploads", "repositories"] {
            fs::create_dir_all(root.join(folder))?;
        }
        Ok(ImageStore { root, links: Mutex::new(()), policy: Policy::default() })
    }

    /// The same under rules.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> ImageStore {
        ImageStore { policy, ..self }
    }

    /// Opens a blob of a repository for reading; also gives its length in bytes.
    ///
    /// # Errors
    /// `BLOB_UNKNOWN`, or the disk's error.
    pub fn open_blob(&self, name: &Repository, digest: &Digest) -> Result<(File, u64), OciError> {
        if !self.blob_link(name, digest).exists() {
            return Err(OciError::BlobUnknown(digest.to_string()));
        }
        let file =
            File::open(self.blob(digest)).map_err(|_| OciError::BlobUnknown(digest.to_string()))?;
        let length = file.metadata().map_err(io("read a blob's size"))?.len();
        Ok((file, length))
    }

    /// Starts an upload under a fresh id.
    ///
    /// # Errors
    /// The disk's error.
    pub fn start_upload(&self, id: &UploadId) -> Result<(), OciError> {
        File::create_new(self.upload(id)).map(drop).map_err(io("start an upload"))
    }

    /// Bytes received so far.
    ///
    /// # Errors
    /// `BLOB_UPLOAD_UNKNOWN`.
    pub fn upload_length(&self, id: &UploadId) -> Result<u64, OciError> {
        let unknown = |_| OciError::UploadUnknown(id.as_str().to_owned());
        fs::metadata(self.upload(id)).map(|metadata| metadata.len()).map_err(unknown)
    }

    /// Opens an upload for appending.
    ///
    /// # Errors
    /// `BLOB_UPLOAD_UNKNOWN`.
    pub fn append_to(&self, id: &UploadId) -> Result<File, OciError> {
        let unknown = |_| OciError::UploadUnknown(id.as_str().to_owned());
        OpenOptions::new().append(true).open(self.upload(id)).map_err(unknown)
    }

    /// Ends an upload without a blob.
    ///
    /// # Errors
    /// `BLOB_UPLOAD_UNKNOWN`.
    pub fn cancel_upload(&self, id: &UploadId) -> Result<(), OciError> {
        fs::remove_file(self.upload(id))
            .map_err(|_| OciError::UploadUnknown(id.as_str().to_owned()))
    }

    /// Turns an upload into a blob of the repository, when it has the digest that the client says.
    ///
    /// # Errors
    /// `DIGEST_INVALID` when the content has another digest: the upload is thrown away. Or the disk's error.
    pub fn finish_upload(
        &self,
        name: &Repository,
        id: &UploadId,
        wanted: &Digest,
        rules: Rules,
    ) -> Result<(), OciError> {
        let path = self.upload(id);
        let file =
            File::open(&path).map_err(|_| OciError::UploadUnknown(id.as_str().to_owned()))?;
        let found = hash(&file).map_err(io("read an upload"))?;
        if found != *wanted {
            self.cancel_upload(id)?;
            return Err(OciError::DigestMismatch {
                wanted: wanted.to_string(),
                found: found.to_string(),
            });
        }
        file.sync_all().map_err(io("sync an upload"))?;
        let _order = self.links.lock();
        let more = file.metadata().map_err(io("read an upload"))?.len();
        if let Err(full) = self.check_room(name, wanted, more, rules) {
            self.cancel_upload(id)?;
            return Err(full);
        }
        fs::rename(&path, self.blob(wanted)).map_err(io("name a blob"))?;
        write_new(&self.blob_link(name, wanted), b"").map_err(io("link a blob"))
    }

    /// Makes a blob of one repository visible in another one; `false` when the first does not have it.
    ///
    /// # Errors
    /// `DENIED` when there is no room, or the disk's error.
    pub fn mount(
        &self,
        name: &Repository,
        from: &Repository,
        digest: &Digest,
        rules: Rules,
    ) -> Result<bool, OciError> {
        let _order = self.links.lock();
        if !self.blob_link(from, digest).exists() || !self.blob(digest).exists() {
            return Ok(false);
        }
        let more = fs::metadata(self.blob(digest)).map_err(io("read a blob's size"))?.len();
        self.check_room(name, digest, more, rules)?;
        write_new(&self.blob_link(name, digest), b"").map_err(io("link a blob")).map(|()| true)
    }

    /// Stores a manifest under its digest and, when `reference` is a tag, points the tag at it.
    ///
    /// # Errors
    /// `MANIFEST_INVALID`, `MANIFEST_BLOB_UNKNOWN` when a blob was not pushed, `DIGEST_INVALID` when `reference` is
    /// another digest, or the disk's error.
    pub fn put_manifest(
        &self,
        name: &Repository,
        reference: &Reference,
        content_type: &str,
        bytes: &[u8],
        rules: Rules,
    ) -> Result<PutManifest, OciError> {
        let manifest = Manifest::parse(bytes, content_type)?;
        let digest = Digest::of(bytes);
        match reference {
            Reference::Digest(wanted) if *wanted != digest => {
                return Err(OciError::DigestMismatch {
                    wanted: wanted.to_string(),
                    found: digest.to_string(),
                });
            }
            Reference::Digest(_) | Reference::Tag(_) => {}
        }
        let _order = self.links.lock();
        for blob in &manifest.blobs {
            if !self.blob_link(name, blob).exists() || !self.blob(blob).exists() {
                return Err(OciError::ManifestBlobUnknown(blob.to_string()));
            }
        }
        if let Reference::Tag(tag) = reference
            && self.is_immutable(name, rules)
            && self.resolve(name, reference).is_ok_and(|known| known != digest)
        {
            return Err(OciError::TagImmutable(tag.clone()));
        }
        // A repository's own limit is for blobs; a namespace's for all that it holds.
        if rules.namespace_bytes_max.is_some() {
            self.check_room(name, &digest, bytes.len() as u64, rules)?;
        }
        write_new(&self.blob(&digest), bytes).map_err(io("write a manifest"))?;
        let link = self.manifest_link(name, &digest);
        write_new(&link, manifest.media_type.as_bytes()).map_err(io("link a manifest"))?;
        if let Reference::Tag(tag) = reference {
            write_new(&self.tags(name).join(tag), digest.to_string().as_bytes())
                .map_err(io("write a tag"))?;
        }
        Ok(PutManifest { digest, subject: manifest.subject })
    }

    /// Reads a manifest by tag or digest.
    ///
    /// # Errors
    /// `MANIFEST_UNKNOWN`.
    pub fn manifest(
        &self,
        name: &Repository,
        reference: &Reference,
    ) -> Result<StoredManifest, OciError> {
        let unknown = || OciError::ManifestUnknown(reference.to_string());
        let digest = self.resolve(name, reference)?;
        let media_type =
            fs::read_to_string(self.manifest_link(name, &digest)).map_err(|_| unknown())?;
        let bytes = fs::read(self.blob(&digest)).map_err(|_| unknown())?;
        Ok(StoredManifest { media_type, digest, bytes: bytes.into() })
    }

    fn is_immutable(&self, name: &Repository, rules: Rules) -> bool {
        rules.immutable_tags || self.policy.is_immutable(name.as_str())
    }

    /// The rules of the whole registry.
    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    fn resolve(&self, name: &Repository, reference: &Reference) -> Result<Digest, OciError> {
        match reference {
            Reference::Digest(digest) => Ok(digest.clone()),
            Reference::Tag(tag) => {
                let text = fs::read_to_string(self.tags(name).join(tag));
                Digest::parse(text.map_err(|_| OciError::ManifestUnknown(tag.clone()))?.trim())
            }
        }
    }

    /// Deletes a tag, or a manifest with its tags and the blobs that no other manifest names. A locked
    /// tag goes only with its manifest.
    ///
    /// # Errors
    /// `MANIFEST_UNKNOWN`, `DENIED` for a locked tag, or the disk's error.
    pub fn delete_manifest(
        &self,
        name: &Repository,
        reference: &Reference,
        rules: Rules,
    ) -> Result<(), OciError> {
        let unknown = |_| OciError::ManifestUnknown(reference.to_string());
        let digest = match reference {
            Reference::Tag(tag) => {
                self.resolve(name, reference)?;
                if self.is_immutable(name, rules) {
                    return Err(OciError::TagImmutable(tag.clone()));
                }
                return fs::remove_file(self.tags(name).join(tag)).map_err(unknown);
            }
            Reference::Digest(digest) => digest,
        };
        let stored = self.manifest(name, reference)?;
        let _order = self.links.lock();
        fs::remove_file(self.manifest_link(name, digest)).map_err(unknown)?;
        for tag in files(&self.tags(name)) {
            let path = self.tags(name).join(&tag);
            if fs::read_to_string(&path).is_ok_and(|text| text.trim() == digest.to_string()) {
                fs::remove_file(path).map_err(io("delete a tag"))?;
            }
        }
        let manifest = Manifest::parse(&stored.bytes, &stored.media_type)?;
        self.sweep(name, manifest.blobs.into_iter().chain([digest.clone()]).collect())
    }

    /// Takes a blob out of a repository, and off the disk when no repository has it any more.
    ///
    /// # Errors
    /// `BLOB_UNKNOWN`, or the disk's error.
    pub fn delete_blob(&self, name: &Repository, digest: &Digest) -> Result<(), OciError> {
        let _order = self.links.lock();
        let unknown = |_| OciError::BlobUnknown(digest.to_string());
        fs::remove_file(self.blob_link(name, digest)).map_err(unknown)?;
        if self.is_linked(digest) {
            return Ok(());
        }
        fs::remove_file(self.blob(digest)).map_err(io("delete a blob"))
    }

    /// Removes those of `candidates` that no manifest of any repository names. Call with the lock held.
    fn sweep(&self, name: &Repository, candidates: BTreeSet<Digest>) -> Result<(), OciError> {
        let mut in_repository = BTreeSet::new();
        let mut anywhere = BTreeSet::new();
        for other in self.repositories() {
            for stored in self.manifests(&other) {
                let named = Manifest::parse(&stored.bytes, &stored.media_type)
                    .map(|m| m.blobs)
                    .unwrap_or_default();
                if other == *name {
                    in_repository.extend(named.iter().cloned());
                }
                anywhere.extend(named);
                anywhere.insert(stored.digest);
            }
        }
        for digest in candidates.difference(&in_repository) {
            remove_if_there(&self.blob_link(name, digest)).map_err(io("unlink a blob"))?;
        }
        for digest in candidates.difference(&anywhere) {
            if !self.is_linked(digest) {
                remove_if_there(&self.blob(digest)).map_err(io("delete a blob"))?;
            }
        }
        Ok(())
    }

    /// All manifests of a repository, by digest.
    pub fn manifests(&self, name: &Repository) -> Vec<StoredManifest> {
        let digests = self.listed(name).into_iter();
        digests.filter_map(|digest| self.manifest(name, &Reference::Digest(digest)).ok()).collect()
    }

    /// The digests of the manifests of a repository.
    pub(super) fn listed(&self, name: &Repository) -> Vec<Digest> {
        let digests = files(&self.repository(name).join("_manifests"));
        digests.iter().filter_map(|hex| Digest::parse(&format!("sha256:{hex}")).ok()).collect()
    }

    /// All tags of a repository, sorted as the specification wants it: upper and lower case alike.
    ///
    /// # Errors
    /// `NAME_UNKNOWN` when nothing was ever pushed there.
    pub fn tag_names(&self, name: &Repository) -> Result<Vec<String>, OciError> {
        if !self.repository(name).join("_manifests").exists() {
            return Err(OciError::NameUnknown(name.to_string()));
        }
        let mut tags = files(&self.tags(name));
        tags.sort_by_cached_key(|tag| tag_order(tag));
        Ok(tags)
    }

    /// All repositories to which a manifest was pushed, sorted.
    pub fn repositories(&self) -> Vec<Repository> {
        self.repositories_with("_manifests")
    }

    fn repositories_with(&self, folder: &str) -> Vec<Repository> {
        let mut found = Vec::new();
        collect_repositories(&self.root.join("repositories"), "", folder, &mut found);
        found.sort();
        found.iter().filter_map(|name| Repository::parse(name).ok()).collect()
    }

    /// Whether any repository has the blob, with or without a manifest that names it.
    fn is_linked(&self, digest: &Digest) -> bool {
        self.repositories_with("_blobs").iter().any(|name| self.blob_link(name, digest).exists())
    }

    /// The blobs that a repository has.
    pub(super) fn linked(&self, name: &Repository) -> Vec<Digest> {
        let names = files(&self.repository(name).join("_blobs"));
        names.iter().filter_map(|hex| Digest::parse(&format!("sha256:{hex}")).ok()).collect()
    }

    /// All repositories that have blobs or manifests.
    pub(super) fn linking(&self) -> BTreeSet<Repository> {
        self.repositories().into_iter().chain(self.repositories_with("_blobs")).collect()
    }

    /// Held while links change.
    pub(super) fn order(&self) -> parking_lot::MutexGuard<'_, ()> {
        self.links.lock()
    }

    /// The folder of all blobs.
    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(super) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }

    fn upload(&self, id: &UploadId) -> PathBuf {
        self.root.join("uploads").join(id.as_str())
    }

    fn repository(&self, name: &Repository) -> PathBuf {
        self.root.join("repositories").join(name.as_str())
    }

    pub(super) fn blob_link(&self, name: &Repository, digest: &Digest) -> PathBuf {
        self.repository(name).join("_blobs").join(digest.hex())
    }

    fn manifest_link(&self, name: &Repository, digest: &Digest) -> PathBuf {
        self.repository(name).join("_manifests").join(digest.hex())
    }

    fn tags(&self, name: &Repository) -> PathBuf {
        self.repository(name).join("_tags")
    }
}

/// What a manifest push gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutManifest {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest to which it is a referrer.
    pub subject: Option<Digest>,
}

/// Orders tags: by their letters without regard to case; those that differ only in it as they are.
pub(super) fn tag_order(tag: &str) -> (String, String) {
    (tag.to_ascii_lowercase(), tag.to_owned())
}

fn hash(mut file: &File) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; HASH_CHUNK_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

/// Writes a whole file so that it is there completely or not at all.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // A leading dot keeps the half-written file out of every listing.
    let temporary = folder.join(format!(".{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    if !bytes.is_empty() {
        file.sync_all()?;
    }
    fs::rename(&temporary, path)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Names of the visible files in a folder, sorted; none when there is no such folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

/// Collects the names of the folders below `folder` that hold one called `marker`.
fn collect_repositories(folder: &Path, name: &str, marker: &str, found: &mut Vec<String>) {
    for entry in files(folder) {
        if entry == marker {
            found.push(name.to_owned());
        } else if !entry.starts_with('_') {
            let inner = if name.is_empty() { entry.clone() } else { format!("{name}/{entry}") };
            collect_repositories(&folder.join(&entry), &inner, marker, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn store() -> (tempfile::TempDir, ImageStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = ImageStore::open(folder.path()).unwrap();
        (folder, store)
    }

    fn push_blob(store: &ImageStore, name: &Repository, bytes: &[u8]) -> Digest {
        let id = UploadId::parse(&uuid::Uuid::new_v4().to_string()).unwrap();
        store.start_upload(&id).unwrap();
        store.append_to(&id).unwrap().write_all(bytes).unwrap();
        let digest = Digest::of(bytes);
        store.finish_upload(name, &id, &digest, Rules::default()).unwrap();
        digest
    }

    fn push_manifest(store: &ImageStore, name: &Repository, blob: &Digest, tag: &str) -> Digest {
        let manifest = json!({"layers": [{"digest": blob.to_string()}], "tag": tag}).to_string();
        let reference = Reference::parse(tag).unwrap();
        store
            .put_manifest(
                name,
                &reference,
                "application/json",
                manifest.as_bytes(),
                Rules::default(),
            )
            .unwrap()
            .digest
    }

    #[test]
    fn a_pushed_image_can_be_pulled() {
        let (_folder, store) = store();
        let name = Repository::parse("team/app").unwrap();
        let blob = push_blob(&store, &name, b"wasm");
        let digest = push_manifest(&store, &name, &blob, "v1");
        let stored = store.manifest(&name, &Reference::Tag("v1".to_owned())).unwrap();
        assert_eq!(stored.digest, digest);
        assert_eq!(store.open_blob(&name, &blob).unwrap().1, 4);
        assert_eq!(store.tag_names(&name).unwrap(), ["v1"]);
        assert_eq!(store.repositories(), [name]);
    }

    #[test]
    fn a_wrong_digest_leaves_nothing() {
        let (_folder, store) = store();
        let name = Repository::parse("app").unwrap();
        let id = UploadId::parse(&uuid::Uuid::new_v4().to_string()).unwrap();
        store.start_upload(&id).unwrap();
        let wanted = Digest::of(b"other");
        assert!(matches!(
            store.finish_upload(&name, &id, &wanted, Rules::default()),
            Err(OciError::DigestMismatch { .. })
        ));
        assert!(store.open_blob(&name, &wanted).is_err());
        assert!(store.upload_length(&id).is_err());
    }

    #[test]
    fn a_manifest_needs_its_blobs() {
        let (_folder, store) = store();
        let name = Repository::parse("app").unwrap();
        let manifest = json!({"layers": [{"digest": Digest::of(b"x").to_string()}]}).to_string();
        let reference = Reference::Tag("v1".to_owned());
        let error = store
            .put_manifest(&name, &reference, "t", manifest.as_bytes(), Rules::default())
            .unwrap_err();
        assert!(matches!(error, OciError::ManifestBlobUnknown(_)));
    }

    #[test]
    fn deletion_frees_what_nothing_names() {
        let (_folder, store) = store();
        let (a, b) = (Repository::parse("a").unwrap(), Repository::parse("b").unwrap());
        let shared = push_blob(&store, &a, b"shared");
        let own = push_blob(&store, &a, b"own");
        assert!(store.mount(&b, &a, &shared, Rules::default()).unwrap());
        let first = push_manifest(&store, &a, &own, "v1");
        let second = push_manifest(&store, &a, &shared, "v2");
        push_manifest(&store, &b, &shared, "v1");
        for digest in [first, second] {
            store.delete_manifest(&a, &Reference::Digest(digest), Rules::default()).unwrap();
        }
        assert!(store.open_blob(&a, &own).is_err());
        assert!(!store.blob(&own).exists());
        assert!(store.open_blob(&b, &shared).is_ok());
        assert!(store.tag_names(&a).unwrap().is_empty());
    }
}
