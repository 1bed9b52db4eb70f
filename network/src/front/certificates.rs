//! Certificates of TLS from Secrets, as they are now.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Weak};

use coracle_client::{Cache, Client, EventKind, Recorder, Scope, Subscription};
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use parking_lot::{Mutex, RwLock};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::routes::SecretKey;
use super::state::Front;

/// Why a Secret gives no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCertificate {
    /// An entry is missing.
    #[error("it has no entry '{0}': it must be of type kubernetes.io/tls")]
    Missing(&'static str),
    /// An entry is no PEM of what it should be.
    #[error("its entry '{0}' cannot be read as PEM")]
    Pem(&'static str, #[source] rustls::pki_types::pem::Error),
    /// The key is of a kind that TLS does not know here, or not the certificate's.
    #[error("its key cannot be used with its certificate: {0}")]
    Key(#[from] rustls::Error),
}

/// Reads certificate and key of a Secret.
///
/// *Source:* core/v1 `Secret`, type `kubernetes.io/tls`.
///
/// # Errors
/// [`InvalidCertificate`].
pub fn read(secret: &Secret) -> Result<CertifiedKey, InvalidCertificate> {
    let entry = |name: &'static str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(name));
        bytes.map(|bytes| bytes.0.as_slice()).ok_or(InvalidCertificate::Missing(name))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(entry("tls.crt")?)
        .collect::<Result<_, _>>()
        .map_err(|source| InvalidCertificate::Pem("tls.crt", source))?;
    if chain.is_empty() {
        return Err(InvalidCertificate::Missing("tls.crt"));
    }
    let key = PrivateKeyDer::from_pem_slice(entry("tls.key")?);
    let key = key.map_err(|source| InvalidCertificate::Pem("tls.key", source))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    Ok(CertifiedKey::from_der(chain, key, &provider)?)
}

type Loaded = Arc<RwLock<HashMap<SecretKey, Arc<CertifiedKey>>>>;

/// Follows Secrets, each by its own name, as a host may read no others.
pub(super) struct Certificates {
    client: Client,
    recorder: Arc<Recorder>,
    loaded: Loaded,
    followed: Mutex<HashMap<SecretKey, (Cache<Secret>, Subscription)>>,
}

impl Certificates {
    pub(super) fn new(client: Client, recorder: Arc<Recorder>) -> Self {
        Self { client, recorder, loaded: Loaded::default(), followed: Mutex::default() }
    }

    /// From now on follows just these.
    pub(super) fn follow(&self, wanted: &BTreeSet<SecretKey>) {
        let mut followed = self.followed.lock();
        followed.retain(|key, _| wanted.contains(key));
        self.loaded.write().retain(|key, _| wanted.contains(key));
        for key in wanted {
            followed.entry(key.clone()).or_insert_with(|| self.start(key));
        }
    }

    fn start(&self, key: &SecretKey) -> (Cache<Secret>, Subscription) {
        let (namespace, name) = key;
        let scope = Scope::all().in_namespace(namespace).fields(format!("metadata.name={name}"));
        let cache = Cache::<Secret>::start(&self.client, scope);
        let (key, loaded, recorder) =
            (key.clone(), Arc::clone(&self.loaded), Arc::clone(&self.recorder));
        let following = cache.observe(move |change| {
            let Some(secret) = &change.new else {
                loaded.write().remove(&key);
                return;
            };
            match read(secret) {
                Ok(certificate) => drop(loaded.write().insert(key.clone(), Arc::new(certificate))),
                // What was there before serves on: a mistake in a renewal takes nobody down.
                Err(error) => {
                    let message = format!("No certificate for TLS: {error}");
                    recorder.event_about(
                        reference(&key),
                        EventKind::Warning,
                        "InvalidCertificate",
                        message,
                    );
                }
            }
        });
        (cache, following)
    }

    fn get(&self, key: &SecretKey) -> Option<Arc<CertifiedKey>> {
        self.loaded.read().get(key).cloned()
    }
}

fn reference((namespace, name): &SecretKey) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Secret".to_owned()),
        namespace: Some(namespace.clone()),
        name: Some(name.clone()),
        ..ObjectReference::default()
    }
}

/// Answers TLS greetings at one port.
pub(super) struct AtPort {
    pub(super) front: Weak<Front>,
    pub(super) port: u16,
}

impl fmt::Debug for AtPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AtPort({})", self.port)
    }
}

impl ResolvesServerCert for AtPort {
    /// The certificate of the closest listener for the name; a client that gives no name, as it
    /// knows an address alone, gets any.
    fn resolve(&self, greeting: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let front = self.front.upgrade()?;
        let routes = front.routes();
        match greeting.server_name() {
            Some(name) => {
                let name = name.to_ascii_lowercase();
                let mut found = routes.certificates(self.port, &name);
                found.find_map(|key| front.certificates.get(key))
            }
            None => routes.all_certificates(self.port).find_map(|key| front.certificates.get(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn secret(entries: &[(&str, &str)]) -> Secret {
        let entry = |(name, text): &(&str, &str)| ((*name).to_owned(), ByteString((*text).into()));
        Secret { data: Some(entries.iter().map(entry).collect()), ..Secret::default() }
    }

    #[test]
    fn a_secret_must_have_a_certificate_and_its_key() {
        let made = || rcgen::generate_simple_self_signed(["a.b".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let (foreign, twice) =
            (other.signing_key.serialize_pem(), format!("{certificate}{certificate}"));
        let check = |entries: &[(&str, &str)], wanted: &str| {
            let read = read(&secret(entries)).map(|read| read.cert.len());
            let told = read.map_or_else(|error| error.to_string(), |length| length.to_string());
            assert!(told.starts_with(wanted), "{told}");
        };
        check(&[("tls.crt", &certificate), ("tls.key", &key)], "1");
        check(&[("tls.crt", &twice), ("tls.key", &key)], "2");
        check(&[("tls.key", &key)], "it has no entry 'tls.crt'");
        check(&[("tls.crt", ""), ("tls.key", &key)], "it has no entry 'tls.crt'");
        check(&[("tls.crt", &certificate)], "it has no entry 'tls.key'");
        check(&[("tls.crt", &certificate), ("tls.key", "x")], "its entry 'tls.key' cannot be read");
        check(&[("tls.crt", &certificate), ("tls.key", &foreign)], "its key cannot be used");
    }
}
