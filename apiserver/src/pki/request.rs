//! Certificates for those who ask by a `CertificateSigningRequest`.

use super::{Pki, PkiError, because};
use jiff::Timestamp;
use rcgen::{
    CertificateSigningRequestParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose,
};
use std::time::Duration;

/// What a request for a certificate says of its subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The common name.
    pub name: String,
    /// The organizations.
    pub groups: Vec<String>,
}

/// Reads the subject of a request, PEM.
///
/// # Errors
/// When it is no request.
pub fn subject_of_request(request: &str) -> Result<Subject, PkiError> {
    let params = CertificateSigningRequestParams::from_pem(request)
        .map_err(because("read the request for a certificate"))?;
    // Other encodings are history; a name in one of them is nobody's.
    let text = |value: &DnValue| {
        if let DnValue::Utf8String(text) = value {
            return text.clone();
        }
        let printable = if let DnValue::PrintableString(text) = value { text.as_str() } else { "" };
        let ascii = if let DnValue::Ia5String(text) = value { text.as_str() } else { "" };
        format!("{printable}{ascii}")
    };
    let mut subject = Subject::default();
    for (kind, value) in params.params.distinguished_name.iter() {
        if *kind == DnType::CommonName {
            subject.name = text(value);
        } else if *kind == DnType::OrganizationName {
            subject.groups.push(text(value));
        }
    }
    Ok(subject)
}

impl Pki {
    /// Signs a request, PEM, for some usages (names of `certificates.k8s.io`) and at most `seconds`; when nothing is
    /// said, for as long as this authority signs at all ([`Pki::signing_for`], a year). `now` dates the certificate.
    ///
    /// # Errors
    /// When it is no request, or asks for what cannot be signed.
    pub fn sign_request(
        &self,
        request: &str,
        usages: &[String],
        seconds: Option<u64>,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let mut request = CertificateSigningRequestParams::from_pem(request)
            .map_err(because("read the request for a certificate"))?;
        let params = &mut request.params;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = usages.iter().filter_map(|usage| key_usage(usage)).collect();
        params.extended_key_usages =
            usages.iter().filter_map(|usage| extended_usage(usage)).collect();
        let valid =
            seconds.map_or(self.signing, |seconds| Duration::from_secs(seconds).min(self.signing));
        super::validity(params, now, valid);
        let signed = request.signed_by(&self.issuer).map_err(because("sign a certificate"))?;
        Ok(signed.pem())
    }
}

/// *Source:* the names of `KeyUsage` in `certificates.k8s.io/v1`.
fn key_usage(name: &str) -> Option<KeyUsagePurpose> {
    Some(match name {
        "signing" | "digital signature" => KeyUsagePurpose::DigitalSignature,
        "content commitment" => KeyUsagePurpose::ContentCommitment,
        "key encipherment" => KeyUsagePurpose::KeyEncipherment,
        "key agreement" => KeyUsagePurpose::KeyAgreement,
        "data encipherment" => KeyUsagePurpose::DataEncipherment,
        _ => return None,
    })
}

fn extended_usage(name: &str) -> Option<ExtendedKeyUsagePurpose> {
    Some(match name {
        "client auth" => ExtendedKeyUsagePurpose::ClientAuth,
        "server auth" => ExtendedKeyUsagePurpose::ServerAuth,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::user_of_certificate;
    use rcgen::{CertificateParams, DistinguishedName, KeyPair};
    use x509_parser::prelude::{FromDer, X509Certificate};

    #[test]
    fn a_request_becomes_a_certificate_of_its_subject() {
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let pki = Pki::open(folder.path(), now).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "dev");
        params.distinguished_name.push(DnType::CommonName, "ann");
        let request =
            params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let subject = Subject { name: "ann".to_owned(), groups: vec!["dev".to_owned()] };
        assert_eq!(subject_of_request(&request).unwrap(), subject);

        let usages = ["client auth".to_owned(), "digital signature".to_owned()];
        let signed = pki.sign_request(&request, &usages, Some(600), now).unwrap();
        let der = super::super::tls::first_certificate(&signed).unwrap();
        let user = user_of_certificate(&der).unwrap();
        assert_eq!((user.name.as_str(), user.is_in("dev")), ("ann", true));
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(certificate.validity().not_after.timestamp(), now.as_second() + 600);
        assert!(!certificate.is_ca());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert_eq!((usage.client_auth, usage.server_auth), (true, false));
        assert!(pki.sign_request("junk", &usages, None, now).is_err());
        let until = |signed: &str| {
            let (_, pem) = x509_parser::pem::parse_x509_pem(signed.as_bytes()).unwrap();
            pem.parse_x509().unwrap().validity().not_after.timestamp()
        };
        let short = pki.signing_for(Duration::from_secs(60));
        for asked in [None, Some(600)] {
            let signed = short.sign_request(&request, &usages, asked, now).unwrap();
            assert_eq!(until(&signed), now.as_second() + 60);
        }
    }
}
