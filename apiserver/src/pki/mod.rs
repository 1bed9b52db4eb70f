//! The cluster's certificate authority: made at the first start, kept in files, asked for every certificate.
//!
//! An edge: it makes keys from random numbers. In: a folder, names and the time. Out: certificates, keys and TLS
//! configurations, and kubeconfigs as text. The CA's key is the only secret on disk that it writes; serving keys are made
//! anew at each start and in time before they end, and live in memory. The CA's certificate is made anew for the same key
//! at a start in the second half of its life: what it signed stays good, and whoever trusts the old one trusts the new.

mod files;
mod kubeconfig;
mod request;
mod service_account;
mod serving;
mod tls;

pub use kubeconfig::{Kubeconfig, kubeconfig};
pub use request::{Subject, subject_of_request};
pub use serving::Serving;
pub(crate) use tls::client_config_for;

use jiff::Timestamp;
use parking_lot::RwLock;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long the authority is valid.
const CA_VALID: Duration = DAY.saturating_mul(3650);
/// The CA's certificate is made anew when it has no longer to go: time enough for the new one to come to whoever has a
/// copy, with the kubeconfigs and the ConfigMaps that each start writes.
const CA_RENEW_LEFT: Duration = DAY.saturating_mul(3650 / 2);
/// The name of the authority that is made here. One of another name is somebody's own, and theirs to renew.
const CA_NAME: &str = "kubernetes";
/// How long a serving or client certificate is valid. *Source:* kubeadm's default.
const LEAF_VALID: Duration = DAY.saturating_mul(365);
/// The last second of the year 9999, since the beginning of 1970. *Source:* RFC 5280, 4.1.2.5: four digits of a year.
const LAST_DATE: Duration = Duration::from_secs(253_402_300_799);
/// Certificates begin in the past by this, for machines whose clock is behind.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// Names by which every API server is reached, beyond its machine's own. *Source:* kubeadm's serving certificate; the
/// address is the first of the Services.
const SERVING_NAMES: [&str; 8] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "10.96.0.1",
];

/// Why the cluster's certificates could not be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("{verb} {path}")]
    File {
        /// What was done.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The authority's certificate is there and its key is not: nothing can be signed.
    #[error(
        "read {path}: the key of the cluster's CA is missing; restore it, or delete ca.crt to begin a new cluster"
    )]
    KeyMissing {
        /// The key's file.
        path: PathBuf,
    },
    /// A certificate or key is malformed, or could not be made.
    #[error("{what}")]
    Certificate {
        /// What was done.
        what: &'static str,
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
    /// TLS does not accept the keys.
    #[error("configure TLS: {0}")]
    Tls(String),
    /// No key to seal Secrets with could be made.
    #[error(transparent)]
    Seal(#[from] crate::seal::SealConfigError),
    /// The keys for service account tokens are wrong.
    #[error(transparent)]
    TokenKeys(#[from] crate::authn::TokenError),
    /// The token file is wrong.
    #[error(transparent)]
    Tokens(#[from] crate::authn::TokenFileError),
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key: a secret.
    pub key: String,
}

/// The cluster's certificate authority.
pub struct Pki {
    ca_pem: String,
    ca_der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    now: RwLock<Timestamp>,
    valid: Duration,
    signing: Duration,
}

impl Pki {
    /// Reads the authority from a folder, or makes it there: `ca.crt`, and `ca.key` for its owner alone. The folder is
    /// made too. `now` dates what is issued.
    ///
    /// # Errors
    /// When files cannot be read or written, are malformed, or the key is missing.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Pki, PkiError> {
        let (ca_pem, key_pem) = match files::read_authority(folder)? {
            Some((certificate, key)) if !is_due(&certificate, now) => (certificate, key),
            found => {
                let key = match found {
                    Some((_, key)) => {
                        KeyPair::from_pem(&key).map_err(because("read the key of the cluster's CA"))
                    }
                    None => {
                        KeyPair::generate().map_err(because("make the key of the cluster's CA"))
                    }
                };
                let made = make_authority(now, &key?)?;
                files::write_authority(folder, &made.certificate, &made.key)?;
                (made.certificate, made.key)
            }
        };
        Pki::of(ca_pem, &key_pem, now)
    }

    fn of(ca_pem: String, key_pem: &str, now: Timestamp) -> Result<Pki, PkiError> {
        let key =
            KeyPair::from_pem(key_pem).map_err(because("read the key of the cluster's CA"))?;
        let malformed = "read the certificate of the cluster's CA";
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(because(malformed))?;
        let ca_der = tls::first_certificate(&ca_pem)?;
        let now = RwLock::new(now);
        Ok(Pki { ca_pem, ca_der, issuer, now, valid: LEAF_VALID, signing: LEAF_VALID })
    }

    /// The same, but what is signed for those who ask by a `CertificateSigningRequest` is valid for `duration` at most.
    #[must_use]
    pub fn signing_for(self, duration: Duration) -> Pki {
        Pki { signing: duration, ..self }
    }

    /// The same, but the certificates that it issues of itself are valid for `duration`.
    #[must_use]
    pub fn valid_for(self, duration: Duration) -> Pki {
        Pki { valid: duration, ..self }
    }

    /// How long after a certificate was issued the next one should be.
    pub fn renew_after(&self) -> Duration {
        // *Source:* kubelet renews between 70 and 90 percent of a certificate's life.
        self.valid / 5 * 4
    }

    /// Dates what is issued from now on.
    pub fn set_now(&self, now: Timestamp) {
        *self.now.write() = now;
    }

    /// The authority's certificate, PEM.
    pub fn ca_certificate(&self) -> &str {
        &self.ca_pem
    }

    /// Issues a certificate for the API server, for its well-known names and `names` (host names and IP addresses).
    ///
    /// # Errors
    /// When a name is neither a DNS name nor an address.
    pub fn issue_serving(&self, names: &[String]) -> Result<Identity, PkiError> {
        let mut all: Vec<String> = SERVING_NAMES.iter().map(|name| (*name).to_owned()).collect();
        all.extend(names.iter().cloned());
        let mut params =
            CertificateParams::new(all).map_err(because("name the serving certificate"))?;
        params.distinguished_name = subject("kube-apiserver", None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// Issues a client certificate: `user` becomes its common name, `group` its organization.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn issue_client(&self, user: &str, group: Option<&str>) -> Result<Identity, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Identity, PkiError> {
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        validity(&mut params, *self.now.read(), self.valid);
        let key = KeyPair::generate().map_err(because("make a key"))?;
        let certificate =
            params.signed_by(&key, &self.issuer).map_err(because("sign a certificate"))?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The static tokens of `tokens.csv` in the folder; none when the file is not there.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn tokens(folder: &Path) -> Result<crate::authn::Tokens, PkiError> {
        let text = files::read(&folder.join("tokens.csv"))?;
        Ok(crate::authn::Tokens::parse(&text.unwrap_or_default())?)
    }
}

/// Whether an authority's certificate is to be made anew: it is of this program's making, and ends in some years.
fn is_due(certificate: &str, now: Timestamp) -> bool {
    // Of one that cannot be read, its user says so.
    let Ok(der) = tls::first_certificate(certificate) else { return false };
    let Ok((_, read)) = X509Certificate::from_der(&der) else { return false };
    let name = format!("CN={CA_NAME}");
    let is_ours = read.subject().to_string() == name && read.issuer().to_string() == name;
    let left = read.validity().not_after.timestamp().saturating_sub(now.as_second());
    is_ours && left <= i64::try_from(CA_RENEW_LEFT.as_secs()).unwrap_or(i64::MAX)
}

fn make_authority(now: Timestamp, key: &KeyPair) -> Result<Identity, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(CA_NAME, None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    validity(&mut params, now, CA_VALID);
    let certificate = params.self_signed(key).map_err(because("make the cluster's CA"))?;
    Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn subject(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject.push(DnType::CommonName, name);
    subject
}

/// Dates a certificate: good for so long from now, or to the last second that a date of a certificate can name.
fn validity(params: &mut CertificateParams, now: Timestamp, valid: Duration) {
    let since_epoch = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let date = |since: Duration| epoch + since.min(LAST_DATE);
    params.not_before = date(since_epoch.saturating_sub(CLOCK_SKEW.min(valid)));
    params.not_after = date(since_epoch.saturating_add(valid));
}

fn because(what: &'static str) -> impl FnOnce(rcgen::Error) -> PkiError {
    move |source| PkiError::Certificate { what, source }
}

#[cfg(test)]
mod tests;
