//! What a request for a certificate (PKCS #10) asks for.

use std::net::IpAddr;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

use super::NODE_PREFIX;

/// Subject and names of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The common name.
    pub name: String,
    /// The organizations.
    pub groups: Vec<String>,
    /// Names as DNS has them.
    pub dns: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether it asks for names of other kinds, such as e-mail addresses.
    pub has_other_names: bool,
}

impl Asked {
    /// Reads a request, PEM; `None` when it is none.
    #[must_use]
    pub fn read(pem: &[u8]) -> Option<Asked> {
        let (_, pem) = parse_x509_pem(pem).ok()?;
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).ok()?;
        let subject = &request.certification_request_info.subject;
        let text = |value: Option<&str>| value.map(str::to_owned);
        let mut asked = Asked {
            name: subject.iter_common_name().find_map(|name| text(name.as_str().ok()))?,
            groups: subject.iter_organization().filter_map(|o| text(o.as_str().ok())).collect(),
            ..Asked::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                names.general_names.iter().for_each(|name| asked.add(name));
            }
        }
        Some(asked)
    }

    /// The node that the subject names.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.name.strip_prefix(NODE_PREFIX).filter(|node| !node.is_empty())
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        if let GeneralName::DNSName(name) = name {
            self.dns.push((*name).to_owned());
        } else if let Some(address) = address(name) {
            self.addresses.push(address);
        } else {
            self.has_other_names = true;
        }
    }
}

fn address(name: &GeneralName<'_>) -> Option<IpAddr> {
    let GeneralName::IPAddress(bytes) = name else { return None };
    let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok()
}
