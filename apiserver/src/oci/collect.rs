//! Removes blobs that no manifest names: of pushes that were never finished. Blocking calls.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::digest::Digest;
use super::manifest::Manifest;
use super::storage::ImageStore;

impl ImageStore {
    /// Removes what no manifest names and what has been there for `age` at least: a push sends its
    /// blobs first, and its manifest last. Uploads that got nothing for as long go too. Gives how many
    /// files went off the disk.
    pub fn collect(&self, age: Duration) -> usize {
        let _order = self.order();
        let mut anywhere = BTreeSet::new();
        for name in self.linking() {
            let mut named = BTreeSet::new();
            for stored in self.manifests(&name) {
                let manifest = Manifest::parse(&stored.bytes, &stored.media_type);
                named.extend(manifest.map(|manifest| manifest.blobs).unwrap_or_default());
                named.insert(stored.digest);
            }
            for digest in self.linked(&name) {
                let link = self.blob_link(&name, &digest);
                if named.contains(&digest) || younger(&link, age) || fs::remove_file(link).is_err()
                {
                    named.insert(digest);
                }
            }
            anywhere.extend(named);
        }
        let blobs = fs::read_dir(self.blobs()).into_iter().flatten().flatten();
        let unused = blobs.filter(|entry| {
            let digest = Digest::parse(&format!("sha256:{}", entry.file_name().to_string_lossy()));
            digest.is_ok_and(|digest| !anywhere.contains(&digest)) && !younger(&entry.path(), age)
        });
        let uploads = fs::read_dir(self.uploads()).into_iter().flatten().flatten();
        let stale = uploads.filter(|entry| !younger(&entry.path(), age));
        unused.chain(stale).filter(|entry| fs::remove_file(entry.path()).is_ok()).count()
    }
}

#[expect(clippy::disallowed_methods, reason = "compares with the times of the file system")]
fn younger(path: &Path, age: Duration) -> bool {
    let written = fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let since = written.and_then(|at| SystemTime::now().duration_since(at).ok());
    since.unwrap_or_default() < age
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Rules;
    use crate::oci::route::{Reference, Repository, UploadId};

    fn push(store: &ImageStore, name: &Repository, bytes: &[u8]) -> Digest {
        let id = UploadId::parse("00000000-0000-4000-8000-000000000000").unwrap();
        store.start_upload(&id).unwrap();
        std::io::Write::write_all(&mut store.append_to(&id).unwrap(), bytes).unwrap();
        let digest = Digest::of(bytes);
        store.finish_upload(name, &id, &digest, Rules::default()).unwrap();
        digest
    }

    #[test]
    fn what_no_manifest_names_goes_once_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let store = ImageStore::open(folder.path()).unwrap();
        let name = Repository::parse("team/app").unwrap();
        let kept = push(&store, &name, b"kept");
        let manifest = format!(r#"{{"layers":[{{"digest":"{kept}"}}]}}"#);
        let tag = Reference::parse("v1").unwrap();
        store.put_manifest(&name, &tag, "", manifest.as_bytes(), Rules::default()).unwrap();
        let lost = push(&store, &name, b"lost");
        assert_eq!(store.collect(Duration::from_secs(3600)), 0);
        assert!(store.open_blob(&name, &lost).is_ok());
        store
            .start_upload(&UploadId::parse("00000000-0000-4000-8000-000000000009").unwrap())
            .unwrap();
        assert_eq!(store.collect(Duration::ZERO), 2, "the blob and the upload");
        assert!(store.open_blob(&name, &lost).is_err());
        assert!(store.open_blob(&name, &kept).is_ok());
        assert!(store.manifest(&name, &tag).is_ok());
    }

    #[test]
    fn a_locked_tag_stays_and_a_full_repository_takes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let policy = crate::oci::ImagePolicy {
            immutable_tags: vec!["team/*".into()],
            repository_bytes_max: Some(10),
        };
        let store = ImageStore::open(folder.path()).unwrap().with_policy(policy);
        let name = Repository::parse("team/app").unwrap();
        let tag = Reference::parse("v1").unwrap();
        let manifest = |blob: &Digest| format!(r#"{{"layers":[{{"digest":"{blob}"}}]}}"#);
        let (first, second) = (push(&store, &name, b"12345"), push(&store, &name, b"54321"));
        let put = |name: &Repository, blob: &Digest| {
            let put =
                store.put_manifest(name, &tag, "", manifest(blob).as_bytes(), Rules::default());
            put.map_err(|error| error.status().as_u16()).map(drop)
        };
        assert_eq!(put(&name, &first), Ok(()));
        assert_eq!(put(&name, &first), Ok(()));
        assert_eq!(put(&name, &second), Err(409));
        let id = UploadId::parse("00000000-0000-4000-8000-000000000001").unwrap();
        store.start_upload(&id).unwrap();
        std::io::Write::write_all(&mut store.append_to(&id).unwrap(), b"x").unwrap();
        let full =
            store.finish_upload(&name, &id, &Digest::of(b"x"), Rules::default()).unwrap_err();
        assert_eq!(full.status().as_u16(), 403);
        assert!(full.to_string().contains("may hold 10 bytes"), "{full}");
        // The same blob again takes no more room, and other repositories have their own.
        push(&store, &name, b"12345");
        let other = Repository::parse("free").unwrap();
        let (a, b) = (push(&store, &other, b"a"), push(&store, &other, b"b"));
        assert_eq!((put(&other, &a), put(&other, &b)), (Ok(()), Ok(())));
    }
}
