//! Tokens by which hosts join: the `cluster-info` that they can verify, and the end of old ones.
//!
//! In: the Secrets of tokens, the authority's certificate and where the server is reached. Out: the
//! ConfigMap `kube-public/cluster-info`, signed with each token, and the tokens that have expired.
//!
//! *Source:* Kubernetes, "Authenticating with Bootstrap Tokens"; the `bootstrapsigner` and
//! `tokencleaner` controllers.

pub mod jws;
pub(crate) mod run;
pub mod token;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

pub use token::Token;

/// Namespace of the ConfigMap: everybody may read it.
pub const PUBLIC_NAMESPACE: &str = "kube-public";
/// Name of the ConfigMap.
pub const CLUSTER_INFO: &str = "cluster-info";
/// Its key with the kubeconfig that is signed.
pub const KUBECONFIG: &str = "kubeconfig";
/// What the keys of signatures begin with; the token's id follows.
pub const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

/// The kubeconfig that says where the server is and who vouches for it; it has no user.
#[must_use]
pub fn public_kubeconfig(server: &str, ca_certificate: &str) -> String {
    let authority = ByteString(ca_certificate.as_bytes().to_vec());
    let cluster = json!({"server": server, "certificate-authority-data": authority});
    // JSON is YAML.
    json!({
        "apiVersion": "v1", "kind": "Config", "clusters": [{"name": "", "cluster": cluster}],
        "contexts": [], "current-context": "", "preferences": {}, "users": [],
    })
    .to_string()
}

/// The ConfigMap as it should be; `None` when `current` is it. Keys that others wrote stay.
#[must_use]
pub fn cluster_info(
    current: Option<&ConfigMap>,
    kubeconfig: &str,
    tokens: &[Token],
    now: Timestamp,
) -> Option<ConfigMap> {
    let before = current.and_then(|map| map.data.clone()).unwrap_or_default();
    let mut data: BTreeMap<String, String> = before
        .iter()
        .filter(|(key, _)| !key.starts_with(SIGNATURE_PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    data.insert(KUBECONFIG.to_owned(), kubeconfig.to_owned());
    for token in tokens.iter().filter(|token| token.signs && !token.has_expired(now)) {
        let signature = jws::sign(kubeconfig, &token.id, &token.secret);
        data.insert(format!("{SIGNATURE_PREFIX}{}", token.id), signature);
    }
    if current.is_some() && data == before {
        return None;
    }
    let metadata = current.map(|map| map.metadata.clone()).unwrap_or_else(|| ObjectMeta {
        namespace: Some(PUBLIC_NAMESPACE.to_owned()),
        name: Some(CLUSTER_INFO.to_owned()),
        ..ObjectMeta::default()
    });
    let map = current.cloned().unwrap_or_default();
    Some(ConfigMap { metadata, data: Some(data), ..map })
}

/// The Secrets whose token has expired, and when the next one does.
#[must_use]
pub fn expired<'a>(
    secrets: impl Iterator<Item = &'a Secret>,
    now: Timestamp,
) -> (Vec<&'a Secret>, Option<Timestamp>) {
    let mut next: Option<Timestamp> = None;
    let mut gone = Vec::new();
    for (secret, token) in secrets.filter_map(|secret| Some((secret, Token::read(secret)?))) {
        match token.expiration {
            Some(end) if end <= now => gone.push(secret),
            Some(end) => next = Some(next.map_or(end, |next| next.min(end))),
            None => {}
        }
    }
    (gone, next)
}

#[cfg(test)]
mod tests;
