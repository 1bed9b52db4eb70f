//! How much repositories hold, and whether there is room for more. Blocking calls.

use std::collections::BTreeSet;
use std::fs;

use super::access::{self, Rules};
use super::digest::Digest;
use super::error::OciError;
use super::route::Repository;
use super::storage::ImageStore;

impl ImageStore {
    /// Checks that a repository has room for content of `more` bytes, which it may have already. Call
    /// with the lock held.
    ///
    /// # Errors
    /// `DENIED` when it would be over the limit of the registry, or of the repository's namespace.
    pub(super) fn check_room(
        &self,
        name: &Repository,
        digest: &Digest,
        more: u64,
        rules: Rules,
    ) -> Result<(), OciError> {
        if let Some(bytes_max) = self.policy().repository_bytes_max
            && self.bytes_of(self.linked(name), digest).saturating_add(more) > bytes_max
        {
            return Err(OciError::QuotaExceeded { repository: name.to_string(), bytes_max });
        }
        let Some(namespace) = access::namespace(name.as_str()) else { return Ok(()) };
        let Some(bytes_max) = rules.namespace_bytes_max else { return Ok(()) };
        let inside = |other: &Repository| access::namespace(other.as_str()) == Some(namespace);
        let all = self.linking().into_iter().filter(inside);
        let all = all.flat_map(|other| self.linked(&other).into_iter().chain(self.listed(&other)));
        if self.bytes_of(all, digest).saturating_add(more) > bytes_max {
            let namespace = namespace.to_owned();
            return Err(OciError::NamespaceFull { namespace, bytes_max });
        }
        Ok(())
    }

    /// Bytes of contents, each counted once, but for one of them.
    fn bytes_of(&self, contents: impl IntoIterator<Item = Digest>, but: &Digest) -> u64 {
        let each: BTreeSet<Digest> = contents.into_iter().filter(|one| one != but).collect();
        let length = |digest: &Digest| Some(fs::metadata(self.blob(digest)).ok()?.len());
        each.iter().filter_map(length).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::route::{Reference, UploadId};

    fn push(
        store: &ImageStore,
        name: &Repository,
        bytes: &[u8],
        rules: Rules,
    ) -> Result<Digest, OciError> {
        let id = UploadId::parse(&uuid::Uuid::new_v4().to_string()).unwrap();
        store.start_upload(&id).unwrap();
        std::io::Write::write_all(&mut store.append_to(&id).unwrap(), bytes).unwrap();
        let digest = Digest::of(bytes);
        store.finish_upload(name, &id, &digest, rules).map(|()| digest)
    }

    #[test]
    fn a_namespace_that_is_full_takes_no_more_and_others_do() {
        let folder = tempfile::tempdir().unwrap();
        let store = ImageStore::open(folder.path()).unwrap();
        let rules = Rules { namespace_bytes_max: Some(10), ..Rules::default() };
        let [a, b, other] = ["shop/a", "shop/b", "stock/a"].map(|n| Repository::parse(n).unwrap());
        let first = push(&store, &a, b"12345", rules).unwrap();
        assert!(store.mount(&b, &a, &first, rules).unwrap(), "the same content takes no room");
        push(&store, &b, b"54321", rules).unwrap();
        let full = push(&store, &a, b"x", rules).unwrap_err();
        assert_eq!(
            full.to_string(),
            "the repositories of namespace shop may hold 10 bytes together; delete images first"
        );
        let manifest = format!(r#"{{"layers":[{{"digest":"{first}"}}]}}"#);
        let tag = Reference::parse("v1").unwrap();
        let put = |name| store.put_manifest(name, &tag, "", manifest.as_bytes(), rules);
        assert_eq!(put(&a).unwrap_err().status().as_u16(), 403);
        let elsewhere = push(&store, &other, b"123456", rules).unwrap();
        assert_eq!(store.mount(&a, &other, &elsewhere, rules).unwrap_err().status().as_u16(), 403);
    }

    #[test]
    fn a_namespace_may_want_its_tags_to_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = ImageStore::open(folder.path()).unwrap();
        let rules = Rules { immutable_tags: true, ..Rules::default() };
        let name = Repository::parse("shop/a").unwrap();
        let put = |tag: &str, text: &str, rules| {
            let tag = Reference::parse(tag).unwrap();
            store.put_manifest(&name, &tag, "", text.as_bytes(), rules).map(|put| put.digest)
        };
        let first = put("v1", "{}", rules).unwrap();
        assert_eq!(put("v1", "{}", rules).unwrap(), first);
        assert_eq!(put("v1", r#"{"a":1}"#, rules).unwrap_err().status().as_u16(), 409);
        put("v2", r#"{"a":1}"#, rules).unwrap();
        let gone = store.delete_manifest(&name, &Reference::Tag("v1".to_owned()), rules);
        assert_eq!(gone.unwrap_err().status().as_u16(), 409, "or it could be pushed anew");
        assert_eq!(put("v1", r#"{"a":1}"#, Rules::default()).unwrap(), Digest::of(br#"{"a":1}"#));
    }
}
