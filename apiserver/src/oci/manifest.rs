//! What a manifest refers to. Image manifests and image indexes, OCI's and Docker's.

use serde_json::Value;

use super::digest::Digest;
use super::error::OciError;

/// The parts of a manifest that the registry needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Media type: its own `mediaType`, else what it was pushed as.
    pub(super) media_type: String,
    /// Blobs (config, layers) that must have been pushed.
    pub(super) blobs: Vec<Digest>,
    /// Manifests that an index lists; may be missing (sparse indexes are legal).
    pub(super) manifests: Vec<Digest>,
    /// The manifest to which this one is a referrer.
    pub(super) subject: Option<Digest>,
    /// `artifactType`, else the config's media type.
    pub(super) artifact_type: String,
    /// `annotations`, for the referrers list.
    pub(super) annotations: Value,
}

impl Manifest {
    /// Reads a manifest that was pushed as `content_type`.
    ///
    /// # Errors
    /// `MANIFEST_INVALID` when it is no JSON object or names malformed digests, or when its `mediaType` is another
    /// than the one it was pushed as.
    pub(super) fn parse(bytes: &[u8], content_type: &str) -> Result<Manifest, OciError> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|e| OciError::ManifestInvalid(e.to_string()))?;
        if !value.is_object() {
            return Err(OciError::ManifestInvalid("must be a JSON object".to_owned()));
        }
        let own = value["mediaType"].as_str().unwrap_or("");
        if !own.is_empty() && !content_type.is_empty() && own != content_type {
            let why = format!("mediaType {own:?} differs from Content-Type {content_type:?}");
            return Err(OciError::ManifestInvalid(why));
        }
        let media_type = if own.is_empty() { content_type } else { own };
        let config_type = value["config"]["mediaType"].as_str();
        Ok(Manifest {
            media_type: if media_type.is_empty() { OCI_MANIFEST } else { media_type }.to_owned(),
            blobs: digests(value.get("config").into_iter().chain(items(&value, "layers")))?,
            manifests: digests(items(&value, "manifests"))?,
            subject: digests(value.get("subject").into_iter())?.pop(),
            artifact_type: value["artifactType"].as_str().or(config_type).unwrap_or("").to_owned(),
            annotations: value.get("annotations").cloned().unwrap_or(Value::Null),
        })
    }
}

/// Media type of a manifest that says nothing.
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn digests<'a>(descriptors: impl Iterator<Item = &'a Value>) -> Result<Vec<Digest>, OciError> {
    let texts =
        descriptors.filter_map(|descriptor| descriptor.get("digest").and_then(Value::as_str));
    texts
        .map(|text| Digest::parse(text).map_err(|e| OciError::ManifestInvalid(e.to_string())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_references() {
        let digest = Digest::of(b"x").to_string();
        let manifest =
            json!({"config": {"mediaType": "c", "digest": digest}, "layers": [{"digest": digest}]});
        let parsed = Manifest::parse(manifest.to_string().as_bytes(), "t").unwrap();
        assert_eq!(
            (parsed.blobs.len(), parsed.artifact_type.as_str(), parsed.media_type.as_str()),
            (2, "c", "t")
        );
    }

    #[test]
    fn refuses_what_it_cannot_trust() {
        for text in ["", "[]", r#"{"config":{"digest":"sha256:../x"}}"#, r#"{"mediaType":"a"}"#] {
            assert!(Manifest::parse(text.as_bytes(), "b").is_err(), "{text}");
        }
    }
}
