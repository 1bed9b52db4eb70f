//! Looks for an image's signatures, where a namespace wants them.
//!
//! An edge: it waits for registries, and remembers on disk what it has found, so that a pod comes back
//! without one.

use bytes::Bytes;

use super::{Images, parse};
use crate::images::ImageFault;
use crate::images::manifest::Manifest;
use crate::images::reference::Reference;
use crate::images::registry::{Credentials, Registry, RegistryError, Wanted};
use crate::images::signature::{self, Candidate, Keys};

/// Where an image's signatures are looked for.
struct Place<'a> {
    registry: &'a dyn Registry,
    reference: &'a Reference,
    credentials: Option<&'a Credentials>,
}

impl Images {
    /// Checks that one of `keys` has signed an image, of which the manifest has this digest.
    ///
    /// # Errors
    /// `Signature` when there is none, or none by these keys; `Unreachable` when nobody can be asked.
    pub async fn check_signed(
        &self,
        image: &str,
        digest: &str,
        keys: &Keys,
        credentials: Option<&Credentials>,
    ) -> Result<(), ImageFault> {
        let stamp = self.store.stamp(&keys.stamp(digest));
        if tokio::fs::try_exists(&stamp).await.unwrap_or(false) {
            return Ok(());
        }
        let reference = parse(image)?;
        let place =
            Place { registry: self.registries.of(&reference), reference: &reference, credentials };
        let mut seen = 0;
        for found in place.digests(digest).await? {
            for candidate in place.candidates(&found).await? {
                seen += 1;
                if self.is_by(&place, &candidate, keys, &found).await? {
                    // Without the stamp it is looked for again.
                    let _ = tokio::fs::write(&stamp, b"").await;
                    return Ok(());
                }
            }
        }
        Err(ImageFault::Signature(match seen {
            0 => format!(
                "image \"{image}\" ({digest}) has no signature, and its namespace wants one; sign it: `cosign sign --key KEY`"
            ),
            n => format!(
                "image \"{image}\" ({digest}) has {n} signatures, and none is by a key that its namespace trusts"
            ),
        }))
    }

    /// Fetches a signed text and checks it.
    async fn is_by(
        &self,
        place: &Place<'_>,
        candidate: &Candidate,
        keys: &Keys,
        digest: &str,
    ) -> Result<bool, ImageFault> {
        let download = self.store.download(rand::random());
        let wanted = Wanted { digest: &candidate.digest, bytes_max: candidate.size };
        let fetched = place.registry.blob(place.reference, place.credentials, wanted, &download);
        let fetched = absent_is_none(fetched.await)?;
        let payload = tokio::fs::read(&download).await.unwrap_or_default();
        let _ = tokio::fs::remove_file(&download).await;
        let is_whole = crate::images::store::digest_of(&payload) == candidate.digest;
        Ok(fetched.is_some()
            && is_whole
            && signature::is_by(keys, &payload, &candidate.signature, digest))
    }
}

impl Place<'_> {
    /// The digests whose signature counts: the manifest's, and that of the index which the reference
    /// leads to, if the manifest is one of it.
    async fn digests(&self, manifest: &str) -> Result<Vec<String>, ImageFault> {
        let mut digests = vec![manifest.to_owned()];
        if self.reference.digest.as_deref() == Some(manifest) {
            return Ok(digests);
        }
        let asked = self.registry.manifest(self.reference, self.credentials).await;
        if let Some((bytes, digest)) = absent_is_none(asked)?
            && let Ok(index) = serde_json::from_slice::<Manifest>(&bytes)
            && index.manifests.iter().any(|one| one.digest == manifest)
        {
            digests.push(digest);
        }
        Ok(digests)
    }

    /// The signatures of a digest: by their tag, and as referrers.
    async fn candidates(&self, digest: &str) -> Result<Vec<Candidate>, ImageFault> {
        let tag = Some(signature::tag(digest));
        let tagged = Reference { tag, digest: None, ..self.reference.clone() };
        let by_tag = self.manifest(&tagged).await?;
        let mut found = by_tag.map(|bytes| signature::candidates(&bytes)).unwrap_or_default();
        let exact = Reference { digest: Some(digest.to_owned()), ..self.reference.clone() };
        let listed = self.registry.referrers(&exact, self.credentials).await;
        let listed = absent_is_none(listed)?.unwrap_or_default();
        for digest in signature::referrers(&listed) {
            let exact = Reference { digest: Some(digest), ..self.reference.clone() };
            let manifest = self.manifest(&exact).await?.unwrap_or_default();
            found.extend(signature::candidates(&manifest));
        }
        found.truncate(signature::SIGNATURES_MAX);
        Ok(found)
    }

    async fn manifest(&self, reference: &Reference) -> Result<Option<Bytes>, ImageFault> {
        let asked = self.registry.manifest(reference, self.credentials).await;
        Ok(absent_is_none(asked)?.map(|(bytes, _)| bytes))
    }
}

/// A registry that answers with a refusal has no signature for us; one that does not answer may have.
fn absent_is_none<T>(asked: Result<T, RegistryError>) -> Result<Option<T>, ImageFault> {
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(RegistryError::Refused(_)) => Ok(None),
        Err(error @ RegistryError::Unreachable(_)) => Err(error.into()),
    }
}
