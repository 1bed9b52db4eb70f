//! Kubeconfig files, as text.

use super::Identity;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// What a kubeconfig says.
#[derive(Clone, Copy)]
pub struct Kubeconfig<'a> {
    /// The server's URL, `https://127.0.0.1:6443`.
    pub server: &'a str,
    /// The cluster's CA, PEM.
    pub ca_certificate: &'a str,
    /// The cluster's and the context's name.
    pub cluster: &'a str,
    /// The user's name in the file.
    pub user: &'a str,
    /// The user's certificate and key.
    pub identity: &'a Identity,
}

/// Writes a kubeconfig as YAML. It holds the user's private key: its file must be readable by its owner alone.
///
/// *Source:* `client-go/tools/clientcmd/api/v1`.
pub fn kubeconfig(config: &Kubeconfig<'_>) -> String {
    let encode = |pem: &str| STANDARD.encode(pem);
    // JSON strings are YAML strings, whatever is in them.
    let text = |value: &str| json!(value).to_string();
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: {cluster}\n  cluster:\n    server: {server}\n    \
         certificate-authority-data: {ca}\nusers:\n- name: {user}\n  user:\n    client-certificate-data: \
         {certificate}\n    client-key-data: {key}\ncontexts:\n- name: {cluster}\n  context:\n    cluster: \
         {cluster}\n    user: {user}\ncurrent-context: {cluster}\n",
        cluster = text(config.cluster),
        server = text(config.server),
        ca = encode(config.ca_certificate),
        user = text(config.user),
        certificate = encode(&config.identity.certificate),
        key = encode(&config.identity.key),
    )
}
