//! The connection to a webhook or an issuer: HTTPS with the other side's own authority.
//!
//! An edge: it talks to other servers.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::body;
use crate::reach::Connector;

/// Largest answer of a webhook. *Source:* an object and its patch, each as large as a request may be.
const ANSWER_BYTES_MAX: usize = 2 * body::REQUEST_BODY_BYTES_MAX;
/// Clients that are kept, one for each authority; one more and all are made anew.
const CLIENTS_MAX: usize = 64;

type Https = Client<HttpsConnector<Connector>, Full<Bytes>>;

/// Clients of webhooks and issuers, which keep their connections open.
#[derive(Default)]
pub(crate) struct Clients {
    /// By the digest of their authority.
    by_authority: Mutex<HashMap<[u8; 32], Https>>,
    /// How connections are made.
    pub(crate) connector: Connector,
}

impl Clients {
    /// Posts a review and gives what comes back. `authority` is PEM; empty for the system's own.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(crate) async fn post(
        &self,
        url: &str,
        authority: &[u8],
        review: &Value,
        timeout: Duration,
    ) -> Result<Value, String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(Bytes::from(review.to_string())));
        self.exchange(request.map_err(|error| error.to_string())?, authority, timeout).await
    }

    /// Gets a JSON document. `authority` is PEM; empty for the system's own.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(crate) async fn get(
        &self,
        url: &str,
        authority: &[u8],
        timeout: Duration,
    ) -> Result<Value, String> {
        let request = Request::builder().uri(url).body(Full::default());
        self.exchange(request.map_err(|error| error.to_string())?, authority, timeout).await
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        authority: &[u8],
        timeout: Duration,
    ) -> Result<Value, String> {
        let client = self.client(authority)?;
        let exchange = async {
            let answer = client.request(request).await.map_err(|error| in_words(&error))?;
            let code = answer.status();
            let bytes = body::read_up_to(body::boxed(answer.into_body()), ANSWER_BYTES_MAX).await;
            let bytes = bytes.map_err(|status| status.to_string())?;
            if !code.is_success() {
                return Err(format!("the server answered {code}"));
            }
            serde_json::from_slice(&bytes)
                .map_err(|error| format!("the answer is no JSON: {error}"))
        };
        let late = || "context deadline exceeded".to_owned();
        tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    fn client(&self, authority: &[u8]) -> Result<Https, String> {
        let digest: [u8; 32] = Sha256::digest(authority).into();
        let mut clients = self.by_authority.lock();
        if let Some(client) = clients.get(&digest) {
            return Ok(client.clone());
        }
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls(authority)?);
        let connector = connector.https_only().enable_http1().enable_http2();
        let connector = connector.wrap_connector(self.connector.clone());
        let client = Client::builder(TokioExecutor::new()).build(connector);
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(digest, client.clone());
        Ok(client)
    }
}

fn tls(authority: &[u8]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if authority.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        for certificate in CertificateDer::pem_slice_iter(authority) {
            let certificate = certificate.map_err(|error| format!("read caBundle: {error}"))?;
            roots.add(certificate).map_err(|error| format!("read caBundle: {error}"))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// An error with what caused it.
fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(&format!(": {error}"));
        source = error.source();
    }
    words
}
