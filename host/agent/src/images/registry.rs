//! Talks to registries: any by the OCI distribution protocol, the built-in one through the API
//! server with the host's own credentials.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use tokio::io::AsyncWriteExt as _;

use super::hosts::{RegistryHosts, Route};
use super::reference::{BUILT_IN_REGISTRY, Reference};

/// Most bytes of a manifest or an image configuration.
///
/// *Source:* the OCI distribution spec asks registries to take 4 MiB at least.
pub(super) const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// What manifests we can read.
const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Name and password for a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a registry gave nothing; a sentence for the pod's owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// It could not be asked: worth using what is here already.
    #[error("{0}")]
    Unreachable(String),
    /// It answered with a refusal, or with something that we cannot use.
    #[error("{0}")]
    Refused(String),
}

/// A blob that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its digest, which the caller checks again.
    pub digest: &'a str,
    /// Its size by the manifest, in bytes: a registry that sends more is cut off.
    pub bytes_max: u64,
}

/// Fetches manifests and blobs.
pub trait Registry: Send + Sync {
    /// Fetches a manifest by tag or digest; gives its bytes and its digest. A reference with a
    /// digest gets exactly that content.
    fn manifest<'a>(
        &'a self,
        reference: &'a Reference,
        credentials: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<(Bytes, String), RegistryError>>;

    /// Fetches a blob into a new file, and no more of it than was asked for.
    fn blob<'a>(
        &'a self,
        reference: &'a Reference,
        credentials: Option<&'a Credentials>,
        wanted: Wanted<'a>,
        to: &'a Path,
    ) -> BoxFuture<'a, Result<(), RegistryError>>;

    /// Fetches the list of what refers to a manifest, which the reference names by its digest: an
    /// image index.
    fn referrers<'a>(
        &'a self,
        reference: &'a Reference,
        credentials: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Bytes, RegistryError>>;
}

/// Any registry over HTTPS; registries on this machine over HTTP. Mirrors are asked first.
pub struct OciRegistry {
    hosts: RegistryHosts,
    anonymous: std::sync::OnceLock<oci_client::Client>,
}

impl OciRegistry {
    /// Makes one; connects at the first request only. Sets the process's TLS provider unless it has
    /// one, because the HTTP client underneath cannot be made without.
    #[must_use]
    pub fn new(hosts: RegistryHosts) -> Self {
        // An error says that there is one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self { hosts, anonymous: std::sync::OnceLock::new() }
    }

    /// A client keeps the credentials of a registry once it has seen them, so those of one pod get
    /// a client of their own; so does a place that is reached in its own way.
    fn client(
        &self,
        route: &Route,
        credentials: Option<&Credentials>,
    ) -> Result<oci_client::Client, RegistryError> {
        if route.plain_http || route.ca.is_some() || credentials.is_some() {
            return Ok(oci_client::Client::new(config(route)?));
        }
        let plain = || oci_client::Client::new(ClientConfig::default());
        Ok(self.anonymous.get_or_init(plain).clone())
    }

    /// Asks one place after the other; the registry's own answer counts when none has it.
    async fn ask<'a, T, F>(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
        ask: impl Fn(oci_client::Client, Route, Option<Credentials>) -> F,
    ) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>> + Send + 'a,
    {
        let mut last = RegistryError::Unreachable(format!("no registry has \"{reference}\""));
        for route in self.hosts.routes(reference) {
            // What a pod brings along is for the registry that it names.
            let own = credentials.filter(|_| !route.is_mirror).or(route.credentials.as_ref());
            let own = own.cloned();
            let client = self.client(&route, own.as_ref())?;
            let place = route.reference.registry.clone();
            match ask(client, route, own).await {
                Ok(found) => return Ok(found),
                Err(error) => {
                    tracing::debug!(place, %error, "asks the next place");
                    last = error;
                }
            }
        }
        Err(last)
    }
}

fn config(route: &Route) -> Result<ClientConfig, RegistryError> {
    let protocol = if route.plain_http { ClientProtocol::Http } else { ClientProtocol::Https };
    let mut config = ClientConfig { protocol, ..ClientConfig::default() };
    if let Some(path) = &route.ca {
        let data = std::fs::read(path).map_err(|error| {
            RegistryError::Unreachable(format!(
                "read the certificates of \"{}\" from {}: {error}",
                route.reference.registry,
                path.display()
            ))
        })?;
        let encoding = oci_client::client::CertificateEncoding::Pem;
        config.extra_root_certificates.push(oci_client::client::Certificate { encoding, data });
    }
    Ok(config)
}

fn auth(credentials: Option<&Credentials>) -> RegistryAuth {
    credentials.map_or(RegistryAuth::Anonymous, |credentials| {
        RegistryAuth::Basic(credentials.user.clone(), credentials.password.clone())
    })
}

fn theirs(reference: &Reference) -> oci_client::Reference {
    let (registry, repository) = (reference.registry.clone(), reference.repository.clone());
    match &reference.digest {
        Some(digest) => oci_client::Reference::with_digest(registry, repository, digest.clone()),
        None => {
            let tag = reference.tag.clone().unwrap_or_else(|| "latest".into());
            oci_client::Reference::with_tag(registry, repository, tag)
        }
    }
}

impl Registry for OciRegistry {
    fn manifest<'a>(
        &'a self,
        reference: &'a Reference,
        credentials: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<(Bytes, String), RegistryError>> {
        self.ask(reference, credentials, |client, route, own| async move {
            let asked = theirs(&route.reference);
            let found = client.pull_manifest_raw(&asked, &auth(own.as_ref()), &ACCEPTED).await;
            found.map_err(|error| explain(&route.reference, &error))
        })
        .boxed()
    }

    fn blob<'a>(
        &'a self,
        reference: &'a Reference,
        credentials: Option<&'a Credentials>,
        wanted: Wanted<'a>,
        to: &'a Path,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        self.ask(reference, credentials, move |client, route, own| async move {
            let auth = auth(own.as_ref());
            client.store_auth_if_needed(&route.reference.registry, &auth).await;
            let io = |error: std::io::Error| {
                RegistryError::Refused(format!("write {}: {error}", to.display()))
            };
            let mut file = tokio::fs::File::create(to).await.map_err(io)?;
            let mut chunks = client
                .pull_blob_stream(&theirs(&route.reference), wanted.digest)
                .await
                .map_err(|error| explain(&route.reference, &error))?;
            let mut left = wanted.bytes_max;
            while let Some(chunk) = chunks.try_next().await.map_err(|error| {
                RegistryError::Refused(format!("fetch blob {}: {error}", wanted.digest))
            })? {
                left = less(left, chunk.len(), wanted)?;
                file.write_all(&chunk).await.map_err(io)?;
            }
            file.flush().await.map_err(io)
        })
        .boxed()
    }

    fn referrers<'a>(
        &'a self,
        reference: &'a Reference,
        credentials: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Bytes, RegistryError>> {
        self.ask(reference, credentials, |client, route, own| async move {
            let asked = theirs(&route.reference);
            client.store_auth_if_needed(&route.reference.registry, &auth(own.as_ref())).await;
            let found = client.pull_referrers(&asked, None).await;
            let found = found.map_err(|error| explain(&route.reference, &error))?;
            serde_json::to_vec(&found).map(Bytes::from).map_err(refused)
        })
        .boxed()
    }
}

/// Words a registry's refusal as people know it from other runtimes.
fn explain(
    reference: &Reference,
    error: &oci_client::errors::OciDistributionError,
) -> RegistryError {
    use oci_client::errors::OciDistributionError;
    let text = sentence(reference, error);
    if matches!(error, OciDistributionError::RequestError(_)) {
        return RegistryError::Unreachable(text);
    }
    RegistryError::Refused(text)
}

fn sentence(reference: &Reference, error: &oci_client::errors::OciDistributionError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let lower = text.to_lowercase();
    let hint = if lower.contains("not found")
        || lower.contains("manifest_unknown")
        || lower.contains("manifest unknown")
    {
        "not found; check the name and tag, or push the image first"
    } else if lower.contains("unauthorized")
        || lower.contains("denied")
        || lower.contains("not authorized")
    {
        "the registry wants credentials; name a Secret of type kubernetes.io/dockerconfigjson in `imagePullSecrets`"
    } else {
        "the registry could not be asked"
    };
    format!("failed to resolve reference \"{reference}\": {hint}: {text}")
}

/// The registry of the API server.
pub struct BuiltInRegistry {
    client: kube::Client,
}

impl BuiltInRegistry {
    /// Makes one that uses the host's own connection and certificate.
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }

    async fn get(
        &self,
        reference: &Reference,
        path: String,
    ) -> Result<http::Response<kube::client::Body>, RegistryError> {
        let request = http::Request::get(path)
            .header(http::header::ACCEPT, ACCEPTED.join(", "))
            .body(kube::client::Body::empty())
            .map_err(refused)?;
        let what = format!("failed to resolve reference \"{reference}\"");
        let response = self.client.send(request).await.map_err(|error| {
            RegistryError::Unreachable(format!("{what}: ask the API server: {error}"))
        })?;
        match response.status().as_u16() {
            200 => Ok(response),
            404 => Err(RegistryError::Refused(format!(
                "{what}: not found; check the name and tag, or push the image first with `coracle push`"
            ))),
            code @ (429 | 502..=504) => Err(RegistryError::Unreachable(format!(
                "{what}: the built-in registry answers with status {code}"
            ))),
            code => Err(RegistryError::Refused(format!(
                "{what}: the built-in registry answers with status {code}"
            ))),
        }
    }
}

impl Registry for BuiltInRegistry {
    fn manifest<'a>(
        &'a self,
        reference: &'a Reference,
        _credentials: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<(Bytes, String), RegistryError>> {
        async move {
            let path = format!("/v2/{}/manifests/{}", reference.repository, reference.version());
            let body = self.get(reference, path).await?.into_body();
            let limited = http_body_util::Limited::new(body, MANIFEST_BYTES_MAX);
            let bytes = limited.collect().await.map_err(cut)?.to_bytes();
            let digest = super::store::digest_of(&bytes);
            match &reference.digest {
                Some(wanted) if *wanted != digest => Err(RegistryError::Refused(format!(
                    "manifest of \"{reference}\" has digest {digest}"
                ))),
                Some(_) | None => Ok((bytes, digest)),
            }
        }
        .boxed()
    }

    fn blob<'a>(
        &'a self,
        reference: &'a Reference,
        _credentials: Option<&'a Credentials>,
        wanted: Wanted<'a>,
        to: &'a Path,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        async move {
            let path = format!("/v2/{}/blobs/{}", reference.repository, wanted.digest);
            let body = self.get(reference, path).await?.into_body();
            let io = |error: std::io::Error| {
                RegistryError::Refused(format!("write {}: {error}", to.display()))
            };
            let mut file = tokio::fs::File::create(to).await.map_err(io)?;
            let mut chunks = body.into_data_stream();
            let mut left = wanted.bytes_max;
            while let Some(chunk) = chunks.try_next().await.map_err(cut)? {
                left = less(left, chunk.len(), wanted)?;
                file.write_all(&chunk).await.map_err(io)?;
            }
            file.flush().await.map_err(io)
        }
        .boxed()
    }

    fn referrers<'a>(
        &'a self,
        reference: &'a Reference,
        _credentials: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Bytes, RegistryError>> {
        async move {
            let path = format!("/v2/{}/referrers/{}", reference.repository, reference.version());
            let body = self.get(reference, path).await?.into_body();
            let limited = http_body_util::Limited::new(body, MANIFEST_BYTES_MAX);
            Ok(limited.collect().await.map_err(cut)?.to_bytes())
        }
        .boxed()
    }
}

fn refused(error: impl std::fmt::Display) -> RegistryError {
    RegistryError::Refused(error.to_string())
}

/// What may still come of a blob after `length` bytes more.
fn less(left: u64, length: usize, wanted: Wanted<'_>) -> Result<u64, RegistryError> {
    left.checked_sub(length as u64).ok_or_else(|| {
        let Wanted { digest, bytes_max } = wanted;
        RegistryError::Refused(format!(
            "blob {digest} is longer than the {bytes_max} bytes that its manifest says"
        ))
    })
}

/// The connection broke in the middle, or the answer was too long.
fn cut(error: impl std::fmt::Display) -> RegistryError {
    RegistryError::Unreachable(format!("read from the built-in registry: {error}"))
}

/// Picks the registry of a reference.
#[derive(Clone)]
pub struct Registries {
    built_in: Arc<dyn Registry>,
    any: Arc<dyn Registry>,
}

impl Registries {
    /// The built-in one and any other.
    #[must_use]
    pub fn new(built_in: Arc<dyn Registry>, any: Arc<dyn Registry>) -> Self {
        Self { built_in, any }
    }

    /// Gives the registry that has the image.
    #[must_use]
    pub fn of(&self, reference: &Reference) -> &dyn Registry {
        if reference.registry == BUILT_IN_REGISTRY { &*self.built_in } else { &*self.any }
    }
}
