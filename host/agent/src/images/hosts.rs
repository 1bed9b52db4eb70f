//! How this host reaches registries: mirrors, private authorities, standing credentials. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::reference::Reference;
use super::registry::Credentials;

/// The registries file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryHosts {
    /// Registry, or `*` for every one without an entry of its own, to the mirrors that are asked
    /// before it, in order: `https://mirror.example:5000`.
    #[serde(default, rename = "mirror")]
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Host and port to how it is reached.
    #[serde(default, rename = "host")]
    pub hosts: BTreeMap<String, Host>,
}

/// How one registry or mirror is reached.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// File with the certificates (PEM) of the authority that it is signed by.
    pub ca: Option<PathBuf>,
    /// Without TLS.
    #[serde(default)]
    pub plain_http: bool,
    /// Name for pulls that bring no credentials along.
    pub user: Option<String>,
    /// Password or token that goes with it.
    pub password: Option<String>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ca, plain_http, user, .. } = self;
        f.debug_struct("Host")
            .field("ca", ca)
            .field("plain_http", plain_http)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

/// One place to ask for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The reference as that place knows it.
    pub reference: Reference,
    /// Without TLS.
    pub plain_http: bool,
    /// File with the certificates of its authority.
    pub ca: Option<PathBuf>,
    /// What is sent when the pod brings nothing along for this place.
    pub credentials: Option<Credentials>,
    /// It stands in for the registry that the reference names.
    pub is_mirror: bool,
}

impl RegistryHosts {
    /// Lists the places to ask for an image, mirrors first, the registry itself last.
    #[must_use]
    pub fn routes(&self, reference: &Reference) -> Vec<Route> {
        let mirrors = self.mirrors.get(&reference.registry).or_else(|| self.mirrors.get("*"));
        let mirrors = mirrors.into_iter().flatten().map(|endpoint| {
            let (plain, host) = match endpoint.split_once("://") {
                Some((scheme, host)) => (scheme == "http", host),
                None => (false, endpoint.as_str()),
            };
            let registry = host.trim_end_matches('/').to_owned();
            self.route(Reference { registry, ..reference.clone() }, plain, true)
        });
        let own = self.route(reference.clone(), reference.is_local(), false);
        mirrors.chain([own]).collect()
    }

    fn route(&self, reference: Reference, plain: bool, is_mirror: bool) -> Route {
        let host = self.hosts.get(&reference.registry).cloned().unwrap_or_default();
        let pair = host.user.zip(host.password);
        Route {
            plain_http: plain || host.plain_http,
            ca: host.ca,
            credentials: pair.map(|(user, password)| Credentials { user, password }),
            reference,
            is_mirror,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_asked_first_each_in_its_own_way() {
        let hosts: RegistryHosts = serde_json::from_value(serde_json::json!({
            "mirror": {"docker.io": ["http://near:5000", "https://far.example/"], "*": ["https://any.example"]},
            "host": {"far.example": {"ca": "/ca.pem", "user": "u", "password": "p"}},
        }))
        .unwrap();
        let shown = |image: &str| {
            let routes = hosts.routes(&Reference::parse(image).unwrap());
            let line = |route: &Route| {
                let (plain, ca) = (route.plain_http, route.ca.is_some());
                format!("{} {plain} {ca} {}", route.reference, route.credentials.is_some())
            };
            routes.iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(
            shown("app:1"),
            [
                "near:5000/library/app:1 true false false",
                "far.example/library/app:1 false true true",
                "docker.io/library/app:1 false false false",
            ]
        );
        assert_eq!(
            shown("localhost:5000/app:1"),
            ["any.example/app:1 false false false", "localhost:5000/app:1 true false false"]
        );
        assert!(!format!("{hosts:?}").contains("\"p\""));
        let unknown = serde_json::json!({"mirrors": {}});
        assert!(serde_json::from_value::<RegistryHosts>(unknown).is_err());
    }
}
