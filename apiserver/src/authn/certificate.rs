//! The user that a client certificate names.

use super::UserInfo;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a certificate names no user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is no X.509 certificate.
    #[error("read the client certificate: it is no X.509 certificate")]
    Malformed,
    /// Its subject has no common name.
    #[error("read the client certificate: its subject has no common name")]
    Nameless,
}

/// The user of a client certificate (DER) that TLS has verified: the subject's common name, and its organizations as
/// groups.
///
/// *Source:* Kubernetes, "X509 client certificates".
///
/// # Errors
/// When it is no certificate or names nobody.
pub fn user_of_certificate(der: &[u8]) -> Result<UserInfo, CertificateError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().find_map(|name| name.as_str().ok());
    let name = name.filter(|name| !name.is_empty()).ok_or(CertificateError::Nameless)?;
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
    Ok(UserInfo::new(name, groups))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn check(subject: &[(DnType, &str)], expected: Result<(&str, &[&str]), CertificateError>) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let found = user_of_certificate(certificate.der());
        let expected = expected.map(|(name, groups)| UserInfo::new(name, groups.iter().copied()));
        assert_eq!(found, expected);
    }

    #[test]
    fn reads_name_and_groups() {
        let name = (DnType::CommonName, "system:node:a");
        let group = (DnType::OrganizationName, "system:nodes");
        check(&[name.clone(), group.clone()], Ok(("system:node:a", &["system:nodes"])));
        check(&[name], Ok(("system:node:a", &[])));
        check(&[group], Err(CertificateError::Nameless));
        assert_eq!(user_of_certificate(b"junk"), Err(CertificateError::Malformed));
    }
}
