//! Pushing a component: two blobs and a manifest.
//!
//! *Source:* OCI distribution specification 1.1 (*Push*), and the CNCF Wasm OCI artifact layout
//! (`application/vnd.wasm.config.v0+json` with one `application/wasm` layer).

use http::{Method, Request, StatusCode, header};
use kube::client::Body;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::name::ImageName;

const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    /// The bytes are no WebAssembly binary.
    #[error(
        "{0} is not a WebAssembly binary (it does not begin with \\0asm): give the .wasm file that your build made"
    )]
    NotWasm(String),
    /// The registry could not be reached.
    #[error("{step} of {image}")]
    Transport {
        /// What was sent.
        step: &'static str,
        /// For which image.
        image: String,
        /// Why it failed.
        #[source]
        source: kube::Error,
    },
    /// The registry refused.
    #[error("{step} of {image}: the registry answered {status}: {body}")]
    Refused {
        /// What was sent.
        step: &'static str,
        /// For which image.
        image: String,
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        body: String,
    },
}

/// Pushes `wasm` under `image`, and gives the manifest's digest (`sha256:…`). Blobs that are there
/// already are not sent again.
pub(crate) async fn push(
    client: &kube::Client,
    image: &ImageName,
    wasm: Vec<u8>,
) -> Result<String, PushError> {
    if !wasm.starts_with(b"\0asm") {
        return Err(PushError::NotWasm(image.to_string()));
    }
    let layer = (digest(&wasm), wasm.len());
    let config = json!({
        "architecture": "wasm", "os": "wasip2", "layerDigests": [layer.0],
    })
    .to_string()
    .into_bytes();
    let config_entry = (digest(&config), config.len());
    let push = Push { client, image };
    push.blob("upload the component", &layer.0, wasm).await?;
    push.blob("upload the configuration", &config_entry.0, config).await?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": config_entry.0, "size": config_entry.1},
        "layers": [{"mediaType": LAYER_TYPE, "digest": layer.0, "size": layer.1}],
    })
    .to_string()
    .into_bytes();
    push.manifest(manifest).await
}

struct Push<'a> {
    client: &'a kube::Client,
    image: &'a ImageName,
}

impl Push<'_> {
    async fn blob(
        &self,
        step: &'static str,
        digest: &str,
        bytes: Vec<u8>,
    ) -> Result<(), PushError> {
        let repository = &self.image.repository;
        let path = format!("/v2/{repository}/blobs/{digest}");
        let there = self.send(step, Method::HEAD, &path, None, Vec::new()).await?;
        if there.status() == StatusCode::OK {
            return Ok(());
        }
        // The one-request form of an upload.
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer =
            self.send(step, Method::POST, &path, Some("application/octet-stream"), bytes).await?;
        self.expect(step, StatusCode::CREATED, answer).await
    }

    async fn manifest(&self, manifest: Vec<u8>) -> Result<String, PushError> {
        let step = "upload the manifest";
        let digest = digest(&manifest);
        let path = format!("/v2/{}/manifests/{}", self.image.repository, self.image.tag);
        let answer = self.send(step, Method::PUT, &path, Some(MANIFEST_TYPE), manifest).await?;
        self.expect(step, StatusCode::CREATED, answer).await?;
        Ok(digest)
    }

    async fn send(
        &self,
        step: &'static str,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        bytes: Vec<u8>,
    ) -> Result<http::Response<Body>, PushError> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let failed = |source| PushError::Transport { step, image: self.image.to_string(), source };
        let request = request
            .body(Body::from(bytes))
            .map_err(|error| failed(kube::Error::HttpError(error)))?;
        self.client.send(request).await.map_err(failed)
    }

    async fn expect(
        &self,
        step: &'static str,
        wanted: StatusCode,
        answer: http::Response<Body>,
    ) -> Result<(), PushError> {
        let status = answer.status();
        if status == wanted {
            return Ok(());
        }
        let body = answer.into_body().collect_bytes().await;
        let body = body.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        let body = body.unwrap_or_else(|error| format!("(body unreadable: {error})"));
        Err(PushError::Refused { step, image: self.image.to_string(), status, body })
    }
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}
