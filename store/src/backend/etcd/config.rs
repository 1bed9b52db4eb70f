//! Where etcd is and who we are there: parsed once. Pure.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::sync::Arc;

/// How the address of an etcd may begin; the second and the fourth mean TLS.
pub const ADDRESS_SCHEMES: [&str; 4] = ["etcd://", "etcds://", "http://", "https://"];

/// The port of etcd's members for clients, when an address gives none.
const PORT_DEFAULT: u16 = 2379;

/// Why an etcd cannot be reached with what was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdConfigError {
    /// The address is none.
    #[error("'{0}' must be etcd://HOST:PORT,HOST:PORT… or, with TLS, https://HOST:PORT,HOST:PORT…")]
    Address(String),
    /// A certificate or key cannot be used.
    #[error("{what} of etcd cannot be used: {why}")]
    Tls {
        /// Which one.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How an etcd is reached.
#[derive(Clone)]
pub struct EtcdConfig {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    wants_tls: bool,
    pub(super) user: Option<(String, String)>,
}

impl fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        f.debug_struct("EtcdConfig").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl EtcdConfig {
    /// Reads the address of one or several members, such as `etcd://a:2379,b:2379`.
    ///
    /// # Errors
    /// [`EtcdConfigError::Address`].
    pub fn parse(address: &str) -> Result<EtcdConfig, EtcdConfigError> {
        let wrong = || EtcdConfigError::Address(address.to_owned());
        let (index, rest) = ADDRESS_SCHEMES
            .iter()
            .enumerate()
            .find_map(|(index, scheme)| Some((index, address.strip_prefix(scheme)?)))
            .ok_or_else(wrong)?;
        let members = rest.trim_end_matches('/').split(',');
        let endpoints: Option<Vec<Endpoint>> = members
            // Lists of URLs are common too: the scheme of the first counts.
            .map(|member| member.strip_prefix(ADDRESS_SCHEMES[index]).unwrap_or(member))
            .map(endpoint)
            .collect();
        let endpoints = endpoints.ok_or_else(wrong)?;
        Ok(EtcdConfig { endpoints, tls: None, wants_tls: index % 2 == 1, user: None })
    }

    /// Whether the address asks for TLS.
    pub fn wants_tls(&self) -> bool {
        self.wants_tls
    }

    /// Trusts these authorities and shows this certificate; all of it PEM.
    ///
    /// # Errors
    /// [`EtcdConfigError::Tls`].
    pub fn with_tls(
        mut self,
        authorities: &[u8],
        identity: Option<(&[u8], &[u8])>,
    ) -> Result<EtcdConfig, EtcdConfigError> {
        let failed = |what| move |why: String| EtcdConfigError::Tls { what, why };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            let certificate =
                certificate.map_err(|e| failed("the authority's certificate")(e.to_string()))?;
            roots
                .add(certificate)
                .map_err(|e| failed("the authority's certificate")(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(failed("the authority's certificate")("it holds none".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| failed("TLS")(e.to_string()))?
            .with_root_certificates(roots);
        let mut tls = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
                let chain = chain.map_err(|e| failed("the client's certificate")(e.to_string()))?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|e| failed("the client's key")(e.to_string()))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| failed("the client's certificate")(e.to_string()))?
            }
        };
        tls.alpn_protocols = vec![b"h2".to_vec()];
        self.tls = Some(Arc::new(tls));
        Ok(self)
    }

    /// Logs in with a name and a password.
    #[must_use]
    pub fn with_user(mut self, name: String, password: String) -> EtcdConfig {
        self.user = Some((name, password));
        self
    }
}

fn endpoint(text: &str) -> Option<Endpoint> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let port = match port? {
        "" => PORT_DEFAULT,
        digits => digits.parse().ok()?,
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    (!host.is_empty() && host.chars().all(is_name))
        .then(|| Endpoint { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_members() {
        let check = |address: &str, expected: Option<(&str, bool)>| {
            let parsed = EtcdConfig::parse(address).ok().map(|config| {
                let members: Vec<_> = config.endpoints.iter().map(ToString::to_string).collect();
                (members.join(" "), config.wants_tls())
            });
            assert_eq!(parsed, expected.map(|(all, tls)| (all.to_owned(), tls)), "{address}");
        };
        check("etcd://a:2379,b:1,c", Some(("a:2379 b:1 c:2379", false)));
        check("https://[fd00::1]:2,[::1]/", Some(("[fd00::1]:2 [::1]:2379", true)));
        check("https://a:1,https://b:2", Some(("a:1 b:2", true)));
        check("etcds://10.0.0.1", Some(("10.0.0.1:2379", true)));
        for wrong in ["", "a:1", "etcd://", "etcd://a:x", "etcd://a,,b", "redb", "etcd://a b"] {
            check(wrong, None);
        }
    }
}
