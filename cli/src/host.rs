//! `coracle host`: engine, fabric, network and node agent of one machine in one process.

use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use coracle_agent::runtime::wasm::WasmRuntime;
use coracle_agent::{AgentConfig, Parts, Surroundings};
use coracle_client::{Caches, Recorder};
use coracle_network::cidr::Cidr;
use coracle_network::dns;
use coracle_network::front;
use coracle_network::network::{Answers, Network};
use coracle_network::policy::follow_policies;
use coracle_network::refusals;
use coracle_network::run::follow;
use coracle_network::switch::Ranges;
use coracle_runtime::worker::Workers;
use coracle_runtime::{Engine, EngineConfig};
use coracle_telemetry::Telemetry;
use coracle_vnet::Fabric;
use tokio_util::sync::CancellationToken;

use crate::config::{DataDir, HostFlags, HostLimits, NetworkFlags, node_name};
use crate::join;
use crate::signals;

/// Runs this machine's host until SIGINT or SIGTERM; then its pods are stopped, and go on at the next
/// start. SIGPWR says that the machine goes down: then its pods end for good, in order, first.
pub(crate) async fn run(data: &DataDir, flags: &HostFlags) -> anyhow::Result<()> {
    let _held = data.hold("host")?;
    let mut stop = signals::Stop::listen()?;
    let mut power_off = signals::PowerOff::listen()?;
    let mut config = agent_config(data, flags)?;
    let program = std::env::current_exe().context("find the own executable")?;
    let workers = Workers::new(&program, vec!["worker".to_owned()]);
    let engine = Engine::new(EngineConfig::new(data.host().join("compiled"), program))?;
    let ranges = ranges(&flags.network, config.host_ip)?;
    let dns_addresses = dns_addresses(&ranges);
    config.dns_ip = dns_addresses.first().copied();
    let (network, told) = Network::new(ranges.clone());
    let answers = Arc::new(Answers(Arc::clone(&network)));
    let fabric = Fabric::new(Arc::clone(&answers) as _, answers);
    let (client, member) = join::open(data, flags, &config).await?;
    let caches = Caches::new(client.clone());
    let telemetry = flags.limits.telemetry.config();
    let telemetry = telemetry.as_ref().map(Telemetry::start).transpose()?;
    let (telemetry, exporting) = telemetry.unzip();
    let runtime =
        WasmRuntime::new(engine, Arc::clone(&fabric), Arc::clone(&network), config.host_ip)
            .with_telemetry(telemetry)
            .with_workers(workers);
    let _dns = dns::serve(&network, &fabric, dns_addresses).context("serve DNS to pods")?;
    let saved = (config.node_name.as_str(), data.host().join("services.json"));
    let following = follow(&network, &fabric, &caches, saved);
    let policies = data.host().join("policies.json");
    let _policies = follow_policies(&network, &fabric, &caches, policies);
    let front = front_config(flags, &config, &ranges);
    let _front = front::start(front, (&network, &fabric), &caches);
    let port = flags.limits.tunnel_port;
    let ways = match &member {
        Some(member) => {
            Some(member.open_ways(data, &config, port, ranges, (&network, &fabric), &caches).await?)
        }
        None => None,
    };
    let recorder = Recorder::new(&client, "coracle-network", &config.node_name);
    let telling = refusals::tell(told, recorder);
    let shut_down = CancellationToken::new();
    let parts = Parts {
        client,
        shut_down: shut_down.clone(),
        runtime: Arc::new(runtime),
        services: Arc::new(Surroundings { services: caches.get(), namespaces: caches.get() }),
    };
    let ended = CancellationToken::new();
    let agent = coracle_agent::run(config, parts, ended.clone());
    tokio::pin!(agent);
    let outcome = loop {
        tokio::select! {
            outcome = &mut agent => break outcome.context("the node agent ended"),
            mismatch = following.mismatch() => break Err(mismatch.into()),
            () = power_off.wait() => shut_down.cancel(),
            () = stop.wait() => {
                ended.cancel();
                break agent.await.context("stop the node agent");
            }
        }
    };
    telling.abort();
    drop((member, ways));
    if let Some(exporting) = exporting {
        exporting.stop().await;
    }
    outcome
}

fn agent_config(data: &DataDir, flags: &HostFlags) -> anyhow::Result<AgentConfig> {
    let name = node_name(flags.limits.node_name.as_deref());
    let address = node_address(&flags.limits);
    let mut config = AgentConfig::new(&name, data.host(), memory_dir(data)?, address);
    config.seal_key = data.seal_key();
    config.pods_max = flags.limits.max_pods;
    flags.limits.node.apply(&mut config)?;
    Ok(config)
}

/// A folder in memory that belongs to this data directory.
fn memory_dir(data: &DataDir) -> anyhow::Result<PathBuf> {
    let path = data.memory();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .with_context(|| format!("make {}", path.display()))?;
    Ok(path)
}

/// The address of the node.
fn node_address(limits: &HostLimits) -> IpAddr {
    limits.node_ip.unwrap_or_else(own_address)
}

fn ranges(flags: &NetworkFlags, address: IpAddr) -> anyhow::Result<Ranges> {
    let range = |flag, text: &str| {
        Cidr::parse_families(text).with_context(|| {
            format!("{flag} '{text}' must be a range such as 10.128.0.0/9, or one of each family")
        })
    };
    Ok(Ranges {
        pods: range("--cluster-cidr", &flags.cluster_cidr)?,
        services: range("--service-cidr", &flags.service_cidr)?,
        host: [own_address(), address].into(),
    })
}

/// How the way in from outside is.
fn front_config(flags: &HostFlags, config: &AgentConfig, ranges: &Ranges) -> front::FrontConfig {
    let ports = &flags.limits.node;
    let instead = front::doors::Instead { http: ports.http_port, https: ports.https_port };
    front::FrontConfig { node: config.node_name.clone(), ranges: ranges.clone(), instead }
}

/// The addresses of the cluster's DNS, the tenth of each range of Services. *Source:* kubeadm.
fn dns_addresses(ranges: &Ranges) -> Vec<IpAddr> {
    let tenth = |range: &Cidr| match range.start() {
        IpAddr::V4(first) => IpAddr::V4((first.to_bits() + 10).into()),
        IpAddr::V6(first) => IpAddr::V6((first.to_bits() + 10).into()),
    };
    let mut all: Vec<IpAddr> = ranges.services.iter().map(tenth).collect();
    all.sort_unstable();
    all
}

/// The address of the interface that leads out; loopback on a machine without a network. Connecting
/// a datagram socket sends nothing.
pub(crate) fn own_address() -> IpAddr {
    let outwards = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect("192.0.2.1:9")?;
        Ok(socket.local_addr()?.ip())
    };
    outwards().unwrap_or(IpAddr::from([127, 0, 0, 1]))
}
