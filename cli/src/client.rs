//! Clients of a cluster, for the commands that talk to one.

use std::path::Path;

use anyhow::Context as _;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// A client by a kubeconfig file.
pub(crate) async fn of_kubeconfig(path: &Path) -> anyhow::Result<kube::Client> {
    of_kubeconfig_at(path, None).await
}

/// A client by a kubeconfig file that gives each answer as it came: a 503 of a program that is tested is not asked
/// for again and again.
pub(crate) async fn that_asks_once(path: &Path) -> anyhow::Result<kube::Client> {
    let mut config = config(path).await?;
    config.default_retry = false;
    client(path, config)
}

/// A client by a kubeconfig file, of the server at another URL.
pub(crate) async fn of_kubeconfig_at(
    path: &Path,
    url: Option<&str>,
) -> anyhow::Result<kube::Client> {
    let mut config = config(path).await?;
    if let Some(url) = url {
        config.cluster_url = url.parse().with_context(|| format!("read the URL '{url}'"))?;
    }
    client(path, config)
}

async fn config(path: &Path) -> anyhow::Result<Config> {
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| {
        format!(
            "read {}: is a server running with this data directory? Start one with `coracle server` or `coracle up`, \
             or name another directory by --data-dir",
            path.display()
        )
    })?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    config.with_context(|| format!("use {}", path.display()))
}

fn client(path: &Path, config: Config) -> anyhow::Result<kube::Client> {
    kube::Client::try_from(config).with_context(|| format!("make a client of {}", path.display()))
}
