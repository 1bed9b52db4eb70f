//! Signatures of images as cosign makes them with a key: pure.
//!
//! A Namespace names the public keys that it trusts, in the annotation
//! [`KEYS_ANNOTATION`]; then its pods run only images that one of them has signed. A signature is a
//! layer of a manifest that belongs to the image: a JSON text that names the image's digest, and beside
//! it, as an annotation, the ECDSA signature of that text.
//!
//! *Source:* cosign's `specs/SIGNATURE_SPEC.md` (simple signing), and its way to store it by tag and as
//! an OCI 1.1 referrer. Bundles with certificates and transparency logs are not read.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine as _;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

/// Annotation of a Namespace: public keys (PEM), one after the other.
pub const KEYS_ANNOTATION: &str = "coracle.dev/image-signature-keys";

/// Media type of what is signed.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// Artifact type of a manifest of signatures that refers to its image.
const ARTIFACT_TYPE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// Annotation of the layer with the signature.
const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// What the signed text says that it is.
const PAYLOAD_TYPE: &str = "cosign container image signature";

/// Keys of one Namespace: rotation needs two, teams a few.
pub const KEYS_MAX: usize = 16;

/// Signatures of one image that are looked at.
pub const SIGNATURES_MAX: usize = 32;

/// Bytes of a signed text; they have some 250.
pub const PAYLOAD_BYTES_MAX: u64 = 64 << 10;

/// What a P-256 key begins with in its `SubjectPublicKeyInfo`; its point follows.
///
/// *Source:* RFC 5480, `id-ecPublicKey` with `secp256r1`.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Public keys that are trusted; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    points: Vec<Vec<u8>>,
}

/// Why an annotation names no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// There is no PEM block, or one that cannot be read.
    #[error(
        "annotation {KEYS_ANNOTATION} of the namespace must hold public keys in PEM, as `cosign generate-key-pair` writes them to cosign.pub"
    )]
    Pem,
    /// Another algorithm.
    #[error(
        "annotation {KEYS_ANNOTATION} of the namespace has a key that is not ECDSA P-256, which is what `cosign generate-key-pair` makes"
    )]
    Algorithm,
    /// Too many.
    #[error("annotation {KEYS_ANNOTATION} of the namespace may have {KEYS_MAX} keys")]
    TooMany,
}

impl Keys {
    /// Reads the annotation.
    ///
    /// # Errors
    /// See [`KeysError`]: nothing is trusted then.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut points = Vec::new();
        for key in SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes()) {
            let key = key.map_err(|_| KeysError::Pem)?;
            let point = key.as_ref().strip_prefix(&P256_PREFIX).ok_or(KeysError::Algorithm)?;
            points.push(point.to_vec());
        }
        match points.len() {
            0 => Err(KeysError::Pem),
            1..=KEYS_MAX => Ok(Self { points }),
            _more => Err(KeysError::TooMany),
        }
    }

    /// Names the keys together with what one of them has signed.
    #[must_use]
    pub fn stamp(&self, digest: &str) -> String {
        let mut all = self.points.concat();
        all.extend_from_slice(digest.as_bytes());
        super::store::digest_of(&all).replace(':', "-")
    }

    fn have_signed(&self, payload: &[u8], signature: &[u8]) -> bool {
        self.points.iter().any(|point| {
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
            key.verify(payload, signature).is_ok()
        })
    }
}

/// The tag under which cosign stores the signatures of an image.
#[must_use]
pub fn tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

/// A signature that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Digest of the signed text.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// The signature, ASN.1.
    pub signature: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
    #[serde(default)]
    manifests: Vec<Referrer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    digest: String,
    artifact_type: Option<String>,
}

/// Reads the signatures out of a manifest of signatures; what is none of ours is left out.
#[must_use]
pub fn candidates(manifest: &[u8]) -> Vec<Candidate> {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(manifest) else { return Vec::new() };
    let layers = manifest.layers.into_iter();
    let signed = layers.filter(|layer| {
        layer.media_type == SIMPLE_SIGNING
            && layer.size <= PAYLOAD_BYTES_MAX
            && super::reference::is_digest(&layer.digest)
    });
    let found = signed.filter_map(|layer| {
        let text = layer.annotations.get(SIGNATURE_ANNOTATION)?;
        let signature = base64::engine::general_purpose::STANDARD.decode(text.trim()).ok()?;
        Some(Candidate { digest: layer.digest, size: layer.size, signature })
    });
    found.take(SIGNATURES_MAX).collect()
}

/// Reads the digests of the manifests of signatures out of a list of referrers.
#[must_use]
pub fn referrers(index: &[u8]) -> Vec<String> {
    let Ok(index) = serde_json::from_slice::<Manifest>(index) else { return Vec::new() };
    let all = index.manifests.into_iter();
    let ours = all.filter(|one| {
        one.artifact_type.as_deref() == Some(ARTIFACT_TYPE)
            && super::reference::is_digest(&one.digest)
    });
    ours.map(|one| one.digest).take(SIGNATURES_MAX).collect()
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    r#type: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Says whether a trusted key has signed `payload`, and it is about the image with this digest.
#[must_use]
pub fn is_by(keys: &Keys, payload: &[u8], signature: &[u8], digest: &str) -> bool {
    let about = |payload: Payload| {
        payload.critical.r#type == PAYLOAD_TYPE && payload.critical.image.digest == digest
    };
    keys.have_signed(payload, signature)
        && serde_json::from_slice::<Payload>(payload).is_ok_and(about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    fn pair() -> (EcdsaKeyPair, String) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let der = [&P256_PREFIX[..], pair.public_key().as_ref()].concat();
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        (pair, format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"))
    }

    fn sign(pair: &EcdsaKeyPair, payload: &[u8]) -> Vec<u8> {
        pair.sign(&SystemRandom::new(), payload).unwrap().as_ref().to_vec()
    }

    fn payload(digest: &str, kind: &str) -> Vec<u8> {
        let image = json!({"docker-manifest-digest": digest});
        let identity = json!({"docker-reference": "reg.example/app"});
        let critical = json!({"identity": identity, "image": image, "type": kind});
        json!({"critical": critical, "optional": null}).to_string().into_bytes()
    }

    #[test]
    fn a_signature_counts_for_its_key_its_text_and_its_image() {
        let ((one, one_pem), (other, other_pem)) = (pair(), pair());
        let (both, only_one) =
            (Keys::parse(&(one_pem.clone() + &other_pem)), Keys::parse(&one_pem));
        let (both, only_one) = (both.unwrap(), only_one.unwrap());
        let image = format!("sha256:{}", "1".repeat(64));
        let text = payload(&image, PAYLOAD_TYPE);
        assert!(is_by(&only_one, &text, &sign(&one, &text), &image));
        assert!(is_by(&both, &text, &sign(&other, &text), &image));
        assert!(!is_by(&only_one, &text, &sign(&other, &text), &image), "another key");
        assert!(!is_by(&both, &text, &sign(&one, b"else"), &image), "another text");
        assert!(!is_by(&both, &text, b"nonsense", &image));
        let elsewhere = format!("sha256:{}", "2".repeat(64));
        assert!(!is_by(&both, &text, &sign(&one, &text), &elsewhere), "another image");
        let attestation = payload(&image, "something else");
        assert!(!is_by(&both, &attestation, &sign(&one, &attestation), &image));
        assert_ne!(both.stamp(&image), only_one.stamp(&image));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let rsa = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAA==\n-----END PUBLIC KEY-----\n";
        let many = (0..=KEYS_MAX).map(|_| pair().1).collect::<String>();
        for (text, expected) in [
            ("", KeysError::Pem),
            ("cosign.pub", KeysError::Pem),
            (rsa, KeysError::Algorithm),
            (many.as_str(), KeysError::TooMany),
        ] {
            assert_eq!(Keys::parse(text), Err(expected), "{text:.40}");
        }
    }

    #[test]
    fn signatures_are_found_in_manifests() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let layer = |media_type: &str, size: u64, signature: &str| {
            json!({"mediaType": media_type, "digest": digest, "size": size,
                "annotations": {SIGNATURE_ANNOTATION: signature}})
        };
        let manifest = json!({"layers": [
            layer(SIMPLE_SIGNING, 10, "c2ln"),
            layer("application/wasm", 10, "c2ln"),
            layer(SIMPLE_SIGNING, PAYLOAD_BYTES_MAX + 1, "c2ln"),
            layer(SIMPLE_SIGNING, 10, "no base64!"),
            {"mediaType": SIMPLE_SIGNING, "digest": digest, "size": 10},
            {"mediaType": SIMPLE_SIGNING, "digest": "../../etc", "size": 10, "annotations": {SIGNATURE_ANNOTATION: "c2ln"}},
        ]});
        let expected = Candidate { digest: digest.clone(), size: 10, signature: b"sig".to_vec() };
        assert_eq!(candidates(manifest.to_string().as_bytes()), [expected]);
        assert!(candidates(b"no json").is_empty());
        let many = vec![layer(SIMPLE_SIGNING, 10, "c2ln"); SIGNATURES_MAX + 1];
        assert_eq!(
            candidates(json!({"layers": many}).to_string().as_bytes()).len(),
            SIGNATURES_MAX
        );
        let index = json!({"manifests": [
            {"digest": digest, "artifactType": ARTIFACT_TYPE},
            {"digest": digest, "artifactType": "application/spdx+json"},
            {"digest": "x", "artifactType": ARTIFACT_TYPE},
        ]});
        assert_eq!(referrers(index.to_string().as_bytes()), std::slice::from_ref(&digest));
        assert_eq!(tag(&digest), format!("sha256-{}.sig", "1".repeat(64)));
    }
}
