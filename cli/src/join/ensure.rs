//! A host's kubeconfig: the one that it has, or a new one for a token.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_apiserver::pki::{Identity, Kubeconfig as Written, kubeconfig};
use coracle_controllers::bootstrap::token;
use jiff::Timestamp;
use kube::config::{AuthInfo, Kubeconfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::certificate::{Pair, Validity};
use super::csr::{self, Use};
use super::discover::{Token, discover};
use super::servers;
use crate::config::{DataDir, JoinFlags};

/// What a host is in its cluster.
#[derive(Clone)]
pub(crate) struct Joined {
    /// The node's name.
    pub(crate) node: String,
    /// The server's URL.
    pub(crate) server: String,
    /// The cluster's CA, PEM.
    pub(crate) authority: String,
    /// The certificate by which the host speaks.
    pub(crate) client: Pair,
}

impl Joined {
    /// Reads a kubeconfig with everything in it; `None` if it refers to files or has no
    /// certificate, as one that somebody else wrote may.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let kubeconfig = Kubeconfig::from_yaml(text).ok()?;
        let cluster = kubeconfig.clusters.into_iter().next()?.cluster?;
        let user = kubeconfig.auth_infos.into_iter().next()?.auth_info?;
        let (certificate, key) = pair(&user)?;
        let decode = |encoded: &str| String::from_utf8(STANDARD.decode(encoded).ok()?).ok();
        let name = Validity::read(&certificate).ok()?.name;
        Some(Self {
            node: name.strip_prefix("system:node:")?.to_owned(),
            server: cluster.server?,
            authority: decode(&cluster.certificate_authority_data?)?,
            client: Pair { certificate, key },
        })
    }

    /// The kubeconfig, which holds the key.
    pub(crate) fn kubeconfig(&self) -> String {
        let user = format!("system:node:{}", self.node);
        let Pair { certificate, key } = self.client.clone();
        kubeconfig(&Written {
            server: &self.server,
            ca_certificate: &self.authority,
            cluster: "coracle",
            user: &user,
            identity: &Identity { certificate, key },
        })
    }
}

fn pair(user: &AuthInfo) -> Option<(String, String)> {
    let user = serde_json::to_value(user).ok()?;
    let decode = |field: &str| {
        let encoded = user.get(field)?.as_str()?;
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
    };
    Some((decode("client-certificate-data")?, decode("client-key-data")?))
}

/// Sees to it that the data directory has the kubeconfig of this node: the one that is there while
/// its certificate is good, else a new one, which takes a token.
pub(crate) async fn ensure(
    data: &DataDir,
    flags: &JoinFlags,
    node: &str,
    now: Timestamp,
) -> anyhow::Result<()> {
    let path = data.host_kubeconfig();
    let before = std::fs::read_to_string(&path).ok().and_then(|text| Joined::read(&text));
    let Some(server) = &flags.server else {
        if before.is_none() && !path.exists() {
            bail!(
                "this host belongs to no cluster yet: join one with --server URL --token TOKEN, as `coracle token \
                 create` beside the server prints it"
            );
        }
        return Ok(());
    };
    if let Some(mut before) = before {
        if before.node != node {
            bail!(
                "{} belongs to the node '{}': give --node-name {}, or another --data-dir for '{node}'",
                data.root().display(),
                before.node,
                before.node
            );
        }
        if Validity::read(&before.client.certificate)?.until > now {
            let named = servers::named(server);
            if !named.contains(&before.server) {
                before.server = first(server)?;
                data.write_private(&path, before.kubeconfig().as_bytes())?;
            }
            return Ok(());
        }
        tracing::warn!(node, "the certificate of this host has ended: joining anew");
    }
    let joined = join_any(flags, server, node, now).await?;
    data.write_private(&path, joined.kubeconfig().as_bytes())?;
    tracing::info!(node, server, "joined the cluster");
    Ok(())
}

/// Joins at the first server of the list that takes it.
async fn join_any(
    flags: &JoinFlags,
    list: &str,
    node: &str,
    now: Timestamp,
) -> anyhow::Result<Joined> {
    let mut failed = None;
    for server in servers::named(list) {
        let joined = join(flags, &server, node, now).await;
        match joined.with_context(|| format!("join {server} as node '{node}'")) {
            Ok(joined) => return Ok(joined),
            Err(error) => failed = Some(failed.unwrap_or(error)),
        }
    }
    Err(failed.unwrap_or_else(|| anyhow::anyhow!("--server '{list}' names no server")))
}

fn first(list: &str) -> anyhow::Result<String> {
    let first = servers::named(list).into_iter().next();
    first.with_context(|| format!("--server '{list}' names no server"))
}

async fn join(
    flags: &JoinFlags,
    server: &str,
    node: &str,
    now: Timestamp,
) -> anyhow::Result<Joined> {
    let Some(text) = &flags.token else {
        bail!(
            "--token is missing: take the line that `coracle token create` beside the server prints"
        );
    };
    let Some((id, secret)) = token::parse(text) else {
        bail!("--token must be six and sixteen small letters or digits with a dot between");
    };
    let url: http::Uri = server.parse().with_context(|| format!("--server '{server}'"))?;
    if url.scheme_str() != Some("https") || url.host().is_none() {
        bail!("--server '{server}' must be a URL such as https://192.0.2.1:6443");
    }
    let authority = discover(&url, Token { id, secret }, flags.ca_hash.as_deref(), now).await?;
    let der = CertificateDer::from_pem_slice(authority.as_bytes());
    let der = der.map_err(|error| anyhow::anyhow!("read the cluster's CA: {error}"))?;
    let mut config = kube::Config::new(url);
    config.root_cert = Some(vec![der.to_vec()]);
    config.auth_info.token = Some(text.clone().into());
    let client = kube::Client::try_from(config).context("make a client with the token")?;
    let client = csr::obtain(client, node, &Use::Client).await?;
    let (node, server) = (node.to_owned(), server.to_owned());
    Ok(Joined { node, server, authority, client })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    #[test]
    fn what_was_written_is_read() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "system:node:a");
        let certificate = params.self_signed(&key).unwrap().pem();
        let joined = Joined {
            node: "a".to_owned(),
            server: "https://192.0.2.1:6443".to_owned(),
            authority: certificate.clone(),
            client: Pair { certificate: certificate.clone(), key: key.serialize_pem() },
        };
        let read = Joined::read(&joined.kubeconfig()).unwrap();
        assert_eq!((read.node.as_str(), read.server.as_str()), ("a", "https://192.0.2.1:6443"));
        assert_eq!((read.authority, read.client.certificate), (certificate.clone(), certificate));
        assert_eq!(read.client.key, key.serialize_pem());
        assert!(Joined::read("apiVersion: v1\nkind: Config\n").is_none());
    }
}
