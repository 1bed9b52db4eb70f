//! A host as a member of its cluster: who it is, kept good, and its ways to server and other hosts.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use coracle_agent::AgentConfig;
use coracle_client::{Caches, Client};
use coracle_network::network::Network;
use coracle_network::switch::Ranges;
use coracle_network::tunnel::keys::connecting;
use coracle_network::tunnel::reach::{PROTOCOL, Reachable};
use coracle_network::tunnel::{self, Keys, Pem, TunnelConfig};
use coracle_vnet::Fabric;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::certificate::Pair;
use super::ensure::{Joined, ensure};
use super::rotate::{Rotation, serving_pair};
use super::servers;
use super::switch::Switch;
use crate::config::{DataDir, HostFlags};

/// The host's certificates: to speak by, and once there is one, to serve under.
type Certificates = watch::Receiver<(Joined, Option<Pair>)>;

/// A host in its cluster. Dropping it ends what keeps its certificates good.
pub(crate) struct Member {
    certificates: Certificates,
    known: Known,
    _rotating: AbortOnDropHandle<()>,
}

/// The servers of the cluster.
struct Known {
    given: Vec<String>,
    switch: Switch,
    told: watch::Sender<Vec<String>>,
}

/// The ways to other parts of the cluster, open until it is dropped.
pub(crate) struct Ways {
    _tunnel: tunnel::Running,
    _tasks: [AbortOnDropHandle<()>; 3],
}

/// Gives the host's client and, unless somebody else keeps its kubeconfig, itself as a member; joins
/// the cluster first if it has to.
pub(crate) async fn open(
    data: &DataDir,
    flags: &HostFlags,
    config: &AgentConfig,
) -> anyhow::Result<(Client, Option<Member>)> {
    if let Some(path) = &flags.kubeconfig {
        return Ok((Client::from_kubeconfig(path).await?, None));
    }
    let now = now();
    ensure(data, &flags.join, &config.node_name, now).await?;
    let path = data.host_kubeconfig();
    let text = std::fs::read_to_string(&path);
    let text = text.with_context(|| format!("read {}", path.display()))?;
    let joined = Joined::read(&text).with_context(|| format!("understand {}", path.display()))?;
    let given = match &flags.join.server {
        Some(list) => servers::named(list),
        None => vec![joined.server.clone()],
    };
    let urls = servers::known(data, &given);
    let switch = Switch::open(&path, &urls).await?;
    let (client, servers) = (switch.client(), watch::Sender::new(urls));
    let known = Known { given, switch: switch.clone(), told: servers };
    let serving = serving_pair(data, config.host_ip, now);
    let (told, certificates) = watch::channel((joined.clone(), serving));
    let rotation = Rotation { data: data.clone(), joined, switch, address: config.host_ip, told };
    let rotating = AbortOnDropHandle::new(tokio::spawn(rotation.run()));
    Ok((client, Some(Member { certificates, known, _rotating: rotating })))
}

impl Member {
    /// Opens the ways: the tunnel to other hosts, and the connections by which servers reach this
    /// one.
    pub(crate) async fn open_ways(
        &self,
        data: &DataDir,
        config: &AgentConfig,
        port: u16,
        ranges: Ranges,
        net: (&Arc<Network>, &Arc<Fabric>),
        caches: &Caches,
    ) -> anyhow::Result<Ways> {
        let (joined, serving) = self.certificates.borrow().clone();
        let (keys, followed) = watch::channel(keys(&joined, serving.as_ref())?);
        let (to_server, reachable) = watch::channel(to_server(&joined)?);
        let tunnel = TunnelConfig {
            node: config.node_name.clone(),
            address: config.host_ip,
            port,
            ranges,
            file: data.host().join("peers.json"),
        };
        let tunnel = tunnel::start(tunnel, followed, net, caches).await;
        let tunnel = tunnel.with_context(|| {
            format!(
                "listen on {} for other hosts: --node-ip must be this machine's",
                config.host_ip
            )
        })?;
        let Known { given, switch, told } = &self.known;
        let keeping = keep_reachable(told.subscribe(), reachable, data.agent_socket());
        let slices = servers::endpoints(caches.client());
        let learning =
            servers::follow(data.clone(), slices, given.clone(), switch.clone(), told.clone());
        let mut certificates = self.certificates.clone();
        let following = async move {
            while certificates.changed().await.is_ok() {
                let (joined, serving) = certificates.borrow_and_update().clone();
                match keys_of_both(&joined, serving.as_ref()) {
                    Ok((peers, server)) => {
                        keys.send_replace(peers);
                        to_server.send_replace(server);
                    }
                    Err(error) => tracing::error!(%error, "a new certificate does not serve"),
                }
            }
        };
        let tasks = [tokio::spawn(following), tokio::spawn(keeping), tokio::spawn(learning)];
        Ok(Ways { _tunnel: tunnel, _tasks: tasks.map(AbortOnDropHandle::new) })
    }
}

/// Keeps a connection to each server, by which it reaches this host.
async fn keep_reachable(
    mut servers: watch::Receiver<Vec<String>>,
    keys: watch::Receiver<ClientKeys>,
    agent: PathBuf,
) {
    let mut kept: HashMap<String, AbortOnDropHandle<()>> = HashMap::new();
    loop {
        let urls = servers.borrow_and_update().clone();
        kept.retain(|url, _| urls.contains(url));
        for url in urls {
            let (keys, agent) = (keys.clone(), agent.clone());
            match server(&url) {
                Ok(server) => {
                    kept.entry(url).or_insert_with(|| {
                        let reachable = Reachable { server, keys, agent };
                        AbortOnDropHandle::new(tokio::spawn(reachable.keep()))
                    });
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "a server that cannot be reached");
                }
            }
        }
        if servers.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

type ClientKeys = Arc<rustls::ClientConfig>;

fn keys_of_both(
    joined: &Joined,
    serving: Option<&Pair>,
) -> anyhow::Result<(Option<Keys>, ClientKeys)> {
    Ok((keys(joined, serving)?, to_server(joined)?))
}

fn keys(joined: &Joined, serving: Option<&Pair>) -> anyhow::Result<Option<Keys>> {
    let serving =
        serving.map(|pair| Keys::new(&joined.authority, &pem(&joined.client), &pem(pair)));
    serving.transpose().context("use the certificates of this host")
}

fn to_server(joined: &Joined) -> anyhow::Result<ClientKeys> {
    let keys = connecting(&joined.authority, &pem(&joined.client), PROTOCOL);
    keys.context("use the certificate of this host")
}

fn pem(pair: &Pair) -> Pem {
    Pem { certificate: pair.certificate.clone(), key: pair.key.clone() }
}

/// Host and port of the server's URL.
fn server(url: &str) -> anyhow::Result<(String, u16)> {
    let parsed: http::Uri = url.parse().with_context(|| format!("read the URL '{url}'"))?;
    let host = parsed.host().with_context(|| format!("find the host in '{url}'"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), parsed.port_u16().unwrap_or(443)))
}

#[expect(clippy::disallowed_methods, reason = "certificates are compared with the clock")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_read_off_its_url() {
        let check = |url: &str, host: &str, port| {
            assert_eq!(server(url).unwrap(), (host.to_owned(), port));
        };
        check("https://192.0.2.1:6443", "192.0.2.1", 6443);
        check("https://[fd00::1]:6443", "fd00::1", 6443);
        check("https://api.example", "api.example", 443);
        assert!(server("nonsense").is_ok() && server("/").is_err());
    }
}
