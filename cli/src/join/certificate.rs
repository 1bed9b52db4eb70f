//! A host's certificates as files hold them: pure.

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

/// The part of a certificate's life after which the next one is asked for, in percent.
///
/// *Source:* kubelet rotates between 70 and 90 percent.
const ROTATE_PERCENT: std::ops::RangeInclusive<i64> = 70..=90;

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    /// The certificate.
    pub(crate) certificate: String,
    /// Its private key: a secret.
    pub(crate) key: String,
}

/// When a certificate is valid, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validity {
    /// The subject's common name.
    pub(crate) name: String,
    /// From when.
    pub(crate) from: Timestamp,
    /// Until when.
    pub(crate) until: Timestamp,
}

impl Validity {
    /// Reads it off a certificate, PEM.
    pub(crate) fn read(certificate: &str) -> anyhow::Result<Self> {
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).context("read a certificate")?;
        let (_, certificate) =
            X509Certificate::from_der(&pem.contents).context("read a certificate")?;
        let name = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
        let at = |seconds| Timestamp::from_second(seconds).context("read a certificate's dates");
        Ok(Self {
            name: name.unwrap_or_default().to_owned(),
            from: at(certificate.validity().not_before.timestamp())?,
            until: at(certificate.validity().not_after.timestamp())?,
        })
    }

    /// When to ask for the next one. `draw` (0 to 99) spreads the hosts of a cluster over time.
    pub(crate) fn rotate_at(&self, draw: u8) -> Timestamp {
        let width = ROTATE_PERCENT.end() - ROTATE_PERCENT.start();
        let percent = ROTATE_PERCENT.start() + width * i64::from(draw % 100) / 99;
        let life = self.until.duration_since(self.from).as_secs();
        self.from + SignedDuration::from_secs(life * percent / 100)
    }
}

/// A new key and a request for a certificate of a node with it, PEM both. `names`: under which it
/// serves, names and addresses.
pub(crate) fn request(node: &str, names: &[String]) -> anyhow::Result<(KeyPair, String)> {
    let key = KeyPair::generate().context("make a key")?;
    let mut params =
        CertificateParams::new(names.to_vec()).with_context(|| format!("name node '{node}'"))?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "system:nodes");
    subject.push(DnType::CommonName, format!("system:node:{node}"));
    params.distinguished_name = subject;
    let request = params.serialize_request(&key).and_then(|request| request.pem());
    Ok((key, request.context("make a request for a certificate")?))
}

/// The digest of an authority's public key, as `--ca-hash` has it: `sha256:` and 64 hexadecimal
/// digits. *Source:* kubeadm's `--discovery-token-ca-cert-hash`.
pub(crate) fn ca_hash(certificate: &str) -> anyhow::Result<String> {
    let (_, pem) = parse_x509_pem(certificate.as_bytes()).context("read the cluster's CA")?;
    let (_, certificate) =
        X509Certificate::from_der(&pem.contents).context("read the cluster's CA")?;
    let digest = Sha256::digest(certificate.tbs_certificate.subject_pki.raw);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{hex}"))
}

/// Checks an authority against `--ca-hash`.
pub(crate) fn check_hash(certificate: &str, wanted: &str) -> anyhow::Result<()> {
    let found = ca_hash(certificate)?;
    if !found.eq_ignore_ascii_case(wanted) {
        bail!(
            "the cluster's CA has the hash {found}, not {wanted} as --ca-hash says: the server belongs to another \
             cluster; take both from one line of `coracle token create`"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, IsCa};

    fn authority() -> String {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 11);
        params.distinguished_name.push(DnType::CommonName, "system:node:a");
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn the_next_certificate_is_asked_for_well_before_the_end() {
        let validity = Validity::read(&authority()).unwrap();
        assert_eq!(validity.name, "system:node:a");
        // A life of 100 days.
        for (draw, day) in [(0, "2026-03-12"), (99, "2026-04-01"), (49, "2026-03-21")] {
            let at = validity.rotate_at(draw).to_string();
            assert!(at.starts_with(day), "{draw}: {at}");
        }
        let until = validity.from + SignedDuration::from_secs(80);
        let short = Validity { until, ..validity };
        assert_eq!(short.rotate_at(0), short.from + SignedDuration::from_secs(56));
        assert!(Validity::read("junk").is_err());
    }

    #[test]
    fn another_authority_has_another_hash() {
        let (own, other) = (authority(), authority());
        let hash = ca_hash(&own).unwrap();
        assert!(hash.len() == 71 && hash.starts_with("sha256:"));
        check_hash(&own, &hash).unwrap();
        check_hash(&own, &hash.to_uppercase().replace("SHA256", "sha256")).unwrap();
        let error = check_hash(&other, &hash).unwrap_err().to_string();
        assert!(error.contains("another cluster") && error.contains("coracle token create"));
    }
}
