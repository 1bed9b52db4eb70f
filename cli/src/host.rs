//! `coracle host`: engine, fabric, network and node agent of one machine in one process.

use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use coracle_agent::runtime::wasm::WasmRuntime;
use coracle_agent::{AgentConfig, Parts, Surroundings};
use coracle_client::{Caches, Client, Recorder};
use coracle_network::cidr::Cidr;
use coracle_network::network::{Answers, Network};
use coracle_network::refusals;
use coracle_network::run::follow;
use coracle_network::switch::Ranges;
use coracle_runtime::{Engine, EngineConfig};
use coracle_vnet::Fabric;
use tokio_util::sync::CancellationToken;

use crate::config::{DataDir, HostFlags, NetworkFlags, node_name};
use crate::signals;

/// Runs this machine's host until SIGINT or SIGTERM; then its pods are stopped.
pub(crate) async fn run(data: &DataDir, flags: &HostFlags) -> anyhow::Result<()> {
    let _held = data.hold("host")?;
    let mut stop = signals::Stop::listen()?;
    let config = agent_config(data, flags)?;
    let program = std::env::current_exe().context("find the own executable")?;
    let engine = Engine::new(EngineConfig::new(data.host().join("compiled"), program))?;
    let (network, told) = Network::new(ranges(&flags.network)?);
    let answers = Arc::new(Answers(Arc::clone(&network)));
    let fabric = Fabric::new(Arc::clone(&answers) as _, answers);
    let kubeconfig = flags.kubeconfig.clone().unwrap_or_else(|| data.host_kubeconfig());
    let client = Client::from_kubeconfig(&kubeconfig).await?;
    let caches = Caches::new(client.clone());
    let runtime = WasmRuntime::new(
        engine,
        Arc::clone(&fabric),
        Arc::clone(&network),
        config.host_ip,
        config.dns_ip,
        &config.cluster_domain,
    );
    let _following = follow(&network, &fabric, &caches, data.host().join("services.json"));
    let recorder = Recorder::new(&client, "coracle-network", &config.node_name);
    let telling = refusals::tell(told, recorder);
    let parts = Parts {
        client,
        runtime: Arc::new(runtime),
        services: Arc::new(Surroundings { services: caches.get(), namespaces: caches.get() }),
    };
    let ended = CancellationToken::new();
    let agent = coracle_agent::run(config, parts, ended.clone());
    tokio::pin!(agent);
    let outcome = tokio::select! {
        outcome = &mut agent => outcome.context("the node agent ended"),
        () = stop.wait() => {
            ended.cancel();
            agent.await.context("stop the node agent")
        }
    };
    telling.abort();
    outcome
}

fn agent_config(data: &DataDir, flags: &HostFlags) -> anyhow::Result<AgentConfig> {
    let name = node_name(flags.limits.node_name.as_deref());
    let mut config = AgentConfig::new(&name, data.host(), memory_dir(data)?, own_address());
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

fn ranges(flags: &NetworkFlags) -> anyhow::Result<Ranges> {
    let range = |flag, text: &str| {
        Cidr::parse(text)
            .with_context(|| format!("{flag} '{text}' must be a range such as 10.128.0.0/9"))
    };
    Ok(Ranges {
        pods: range("--cluster-cidr", &flags.cluster_cidr)?,
        services: range("--service-cidr", &flags.service_cidr)?,
        host: [own_address()].into(),
    })
}

/// The address of the interface that leads out; loopback on a machine without a network. Connecting
/// a datagram socket sends nothing.
fn own_address() -> IpAddr {
    let outwards = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect("192.0.2.1:9")?;
        Ok(socket.local_addr()?.ip())
    };
    outwards().unwrap_or(IpAddr::from([127, 0, 0, 1]))
}
