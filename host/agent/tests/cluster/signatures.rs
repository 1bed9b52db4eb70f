//! Namespaces that run only what a trusted key has signed, as cosign signs it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_agent::images::signature::KEYS_ANNOTATION;
use coracle_agent::images::store::digest_of;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::harness::{Cluster, container, pod};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// A P-256 key in a `SubjectPublicKeyInfo`, before its point (RFC 5480).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key pair as `cosign generate-key-pair` makes it.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn public(&self) -> String {
        let der = [&P256_PREFIX[..], self.0.public_key().as_ref()].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    /// Signs an image and pushes the signature: by the tag that cosign has used since its first
    /// version, or as a referrer of the image.
    async fn sign(
        &self,
        cluster: &Cluster,
        repository: &str,
        digest: &str,
        subject: Option<usize>,
    ) {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": format!("registry.coracle.internal/{repository}")},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": null,
        })
        .to_string();
        let signature = self.0.sign(&SystemRandom::new(), payload.as_bytes()).unwrap();
        let mut layer = cluster.blob(repository, payload.as_bytes()).await;
        layer["mediaType"] = "application/vnd.dev.cosign.simplesigning.v1+json".into();
        layer["annotations"] =
            json!({"dev.cosignproject.cosign/signature": STANDARD.encode(signature.as_ref())});
        let mut config = cluster.blob(repository, b"{}").await;
        config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        let mut manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        let reference = match subject {
            None => format!("{}.sig", digest.replace(':', "-")),
            Some(size) => {
                manifest["artifactType"] = ARTIFACT.into();
                manifest["subject"] =
                    json!({"mediaType": MANIFEST, "digest": digest, "size": size});
                digest_of(manifest.to_string().as_bytes())
            }
        };
        let path = format!("/v2/{repository}/manifests/{reference}");
        cluster.put("PUT", &path, MANIFEST, manifest.to_string().into_bytes()).await;
    }
}

impl Cluster {
    /// Pushes a component as tag `1`; gives its manifest's digest and size.
    async fn component(&self, repository: &str, wasm: &[u8]) -> (String, usize) {
        let with = |mut blob: Value, media_type: &str| {
            blob["mediaType"] = media_type.into();
            blob
        };
        let config =
            with(self.blob(repository, b"{}").await, "application/vnd.wasm.config.v0+json");
        let layer = with(self.blob(repository, wasm).await, "application/wasm");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
        });
        let bytes = manifest.to_string().into_bytes();
        let facts = (digest_of(&bytes), bytes.len());
        self.put("PUT", &format!("/v2/{repository}/manifests/1"), MANIFEST, bytes).await;
        facts
    }

    async fn trust(&self, keys: &str) {
        let api: kube::Api<Namespace> = kube::Api::all(self.admin.kube());
        let patch = Patch::Merge(json!({"metadata": {"annotations": {KEYS_ANNOTATION: keys}}}));
        api.patch("default", &PatchParams::default(), &patch).await.unwrap();
    }

    async fn run(&self, name: &str, repository: &str) {
        let image = format!("registry.coracle.internal/{repository}:1");
        let app = container("app", json!({"image": image}));
        self.create::<Pod>(pod(name, json!({"containers": [app]}))).await;
    }

    /// Makes pods until one is refused: the agent hears of a namespace's annotations a moment later.
    async fn until_refused(&self, repository: &str) {
        let api: kube::Api<Pod> = kube::Api::default_namespaced(self.admin.kube());
        for turn in 0.. {
            let name = format!("turn-{turn}");
            self.run(&name, repository).await;
            let reason = loop {
                let status = api.get(&name).await.unwrap().status.unwrap_or_default();
                let state = status.container_statuses.unwrap_or_default().pop();
                let state = state.and_then(|one| one.state).unwrap_or_default();
                let waiting = state.waiting.and_then(|waiting| waiting.reason);
                match waiting.as_deref() {
                    Some("SignatureValidationFailed") => break waiting,
                    _ if state.running.is_some() => break None,
                    _ => tokio::task::yield_now().await,
                }
            };
            if reason.is_some() {
                return;
            }
        }
    }

    /// Waits until a pod is refused for its signature; gives the sentence.
    async fn is_refused(&self, name: &str) -> String {
        let at = "/status/containerStatuses/0/state/waiting/reason";
        let shown = self.shows(name, at, "SignatureValidationFailed").await;
        let waiting = &shown["status"]["containerStatuses"][0]["state"]["waiting"];
        waiting["message"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn only_what_a_trusted_key_has_signed_runs() {
    let cluster = Cluster::start().await;
    let (trusted, stranger) = (Signer::new(), Signer::new());
    let (by_tag, _) = cluster.component("shop/tagged", b"\0asm-one").await;
    let (by_referrer, size) = cluster.component("shop/referred", b"\0asm-two").await;
    let (by_stranger, _) = cluster.component("shop/strange", b"\0asm-three").await;
    cluster.component("shop/unsigned", b"\0asm-four").await;
    trusted.sign(&cluster, "shop/tagged", &by_tag, None).await;
    trusted.sign(&cluster, "shop/referred", &by_referrer, Some(size)).await;
    stranger.sign(&cluster, "shop/strange", &by_stranger, None).await;

    cluster.run("before", "shop/unsigned").await;
    cluster.is_ready("before").await;
    cluster.trust(&trusted.public()).await;
    cluster.run("tagged", "shop/tagged").await;
    cluster.is_ready("tagged").await;
    cluster.run("referred", "shop/referred").await;
    cluster.is_ready("referred").await;
    cluster.until_refused("shop/unsigned").await;
    cluster.run("unsigned", "shop/unsigned").await;
    let why = cluster.is_refused("unsigned").await;
    assert!(why.contains("has no signature") && why.contains("cosign sign --key"), "{why}");
    cluster.run("strange", "shop/strange").await;
    let why = cluster.is_refused("strange").await;
    assert!(why.contains("none is by a key that its namespace trusts"), "{why}");
    cluster.told("Failed: Error: SignatureValidationFailed").await;

    cluster.trust(&(stranger.public() + &trusted.public())).await;
    cluster.run("both", "shop/strange").await;
    cluster.is_ready("both").await;
}
