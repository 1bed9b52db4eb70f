//! An API server that is measured: our own or the reference.

use std::time::Duration;

use coracle_e2e::Cluster;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use crate::figures::ready;
use crate::process::{Process, Processes};
use crate::reference::kube::KubeApiserver;

/// Connections of the load, each with [`IN_FLIGHT_EACH`] requests at a time.
pub(super) const CONNECTIONS: usize = 4;
/// Requests at a time on one connection.
pub(super) const IN_FLIGHT_EACH: usize = 16;

/// What is kept alive while it is measured.
enum Owner {
    Ours(#[expect(dead_code, reason = "held for its drop, which stops it")] Cluster),
    Reference(#[expect(dead_code, reason = "held for its drop, which stops it")] KubeApiserver),
}

/// A running server, clients to it, and its processes.
pub(super) struct Target {
    /// One for each connection.
    pub(super) clients: Vec<Client>,
    processes: Vec<Process>,
    _owner: Owner,
}

impl Target {
    /// Our server on a new data directory.
    pub(super) async fn ours() -> anyhow::Result<Self> {
        let cluster = Cluster::start();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(ready::client(&cluster).await?);
        }
        let processes = vec![Processes::of(&cluster)?.server];
        Ok(Self { clients, processes, _owner: Owner::Ours(cluster) })
    }

    /// kube-apiserver and etcd on a new data directory.
    pub(super) async fn kube_apiserver() -> anyhow::Result<Self> {
        let server = KubeApiserver::start().await?;
        let clients = (0..CONNECTIONS).map(|_| server.client()).collect::<anyhow::Result<_>>()?;
        let processes = server.processes();
        Ok(Self { clients, processes, _owner: Owner::Reference(server) })
    }

    /// ConfigMaps in namespace `default`, for writer number `writer`.
    pub(super) fn config_maps(&self, writer: usize) -> Api<ConfigMap> {
        Api::default_namespaced(self.clients[writer % CONNECTIONS].clone())
    }

    /// CPU that all its processes have used since their start.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        self.processes.iter().map(|process| process.cpu()).sum()
    }

    /// Resident memory of all its processes.
    pub(super) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.processes.iter().map(|process| process.resident_bytes()).sum()
    }
}
