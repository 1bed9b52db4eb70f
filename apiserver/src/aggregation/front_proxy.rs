//! How this server vouches for users towards aggregated servers: a certificate of an authority of its own, and headers.
//!
//! The authority signs nothing else: whoever has a certificate of it may speak in anybody's name.
//! *Source:* Kubernetes, "Configure the Aggregation Layer".

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::authn::UserInfo;
use crate::pki::{Identity, Pki, PkiError};

/// The name in the certificate, which aggregated servers ask for.
const NAME: &str = "front-proxy-client";

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA_PREFIX: &str = "x-remote-extra-";

/// The certificate with its key, and its authority's certificate.
#[derive(Clone)]
pub struct FrontProxy {
    pub(super) identity: Identity,
    authority: String,
    /// The authority of client certificates of the cluster itself.
    clients: String,
}

impl FrontProxy {
    /// Issues the certificate from an authority that is for nothing else. `clients` is the certificate of the authority of
    /// the cluster's own clients, PEM.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn new(authority: &Pki, clients: &str) -> Result<FrontProxy, PkiError> {
        Ok(FrontProxy {
            identity: authority.issue_client(NAME, None)?,
            authority: authority.ca_certificate().to_owned(),
            clients: clients.to_owned(),
        })
    }

    /// The ConfigMap that tells aggregated servers whom to trust.
    pub(crate) fn config_map(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
            "data": {
                "client-ca-file": self.clients,
                "requestheader-client-ca-file": self.authority,
                "requestheader-allowed-names": json!([NAME]).to_string(),
                "requestheader-username-headers": json!(["X-Remote-User"]).to_string(),
                "requestheader-uid-headers": json!(["X-Remote-Uid"]).to_string(),
                "requestheader-group-headers": json!(["X-Remote-Group"]).to_string(),
                "requestheader-extra-headers-prefix": json!(["X-Remote-Extra-"]).to_string(),
            },
        })
    }
}

/// Says in the headers who asks; values that no header can hold are left out.
pub(super) fn name_user(headers: &mut HeaderMap, user: &UserInfo) {
    let mut add = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(name, value);
        }
    };
    add(USER, &user.name);
    if !user.uid.is_empty() {
        add(UID, &user.uid);
    }
    user.groups.iter().for_each(|group| add(GROUP, group));
    for (key, values) in &user.extra {
        let name = format!("{EXTRA_PREFIX}{}", percent_encoded(key));
        let Ok(name) = HeaderName::try_from(name) else { continue };
        values.iter().for_each(|value| add(name.clone(), value));
    }
}

/// A key as part of a header's name. *Source:* `headerKeyEscape` of `k8s.io/client-go/transport`.
fn percent_encoded(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
    key.to_lowercase()
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_in_headers() {
        let mut user = UserInfo::new("ann", ["dev"]);
        user.extra.insert("example.com/Team".into(), vec!["red".into(), "blue".into()]);
        let mut headers = HeaderMap::new();
        name_user(&mut headers, &user);
        let all = |name: &str| -> Vec<&str> {
            headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
        };
        assert_eq!(all("x-remote-user"), ["ann"]);
        assert_eq!(all("x-remote-group"), ["dev", "system:authenticated"]);
        assert_eq!(all("x-remote-extra-example.com%2fteam"), ["red", "blue"]);
        assert!(!headers.contains_key("x-remote-uid"));
    }
}
