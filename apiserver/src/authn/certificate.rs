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

/// What a user's `extra` tells under which credential it came.
///
/// *Source:* KEP-4193; `CredentialIDKey` of `k8s.io/apiserver`.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The user of a client certificate (DER) that TLS has verified: the subject's common name, and its organizations as
/// groups, and the digest of the certificate by which logs tell it from the user's others.
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
    let mut user = UserInfo::new(name, groups);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    user.extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={digest}")]);
    Ok(user)
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
        let mut found = user_of_certificate(certificate.der());
        if let Ok(user) = &mut found {
            let id = user.extra.remove(CREDENTIAL_ID).unwrap();
            let digest = id[0].strip_prefix("X509SHA256=").unwrap();
            assert!(id.len() == 1 && digest.len() == 64, "{id:?}");
        }
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
