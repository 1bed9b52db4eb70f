//! Which servers the cluster has: those that the command line names, and those behind the `kubernetes` Service.
//!
//! An edge: it follows the Service's endpoints, and keeps them in a file for a start while the first server is gone.

use std::path::PathBuf;
use std::time::Duration;

use coracle_client::{Cache, Client, Scope};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::watch;

use super::switch::Switch;
use crate::config::DataDir;

/// Servers that are kept at most: more than a cluster has, and few to try.
const SERVERS_MAX: usize = 16;
/// How long a change is waited for after the first: servers come and go one after another.
const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// The Service that stands for the servers.
const SERVICE: &str = "kubernetes";
/// The label of its EndpointSlices. *Source:* discovery.k8s.io/v1.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The file in which a host keeps the servers that it knows.
fn file(data: &DataDir) -> PathBuf {
    data.host().join("servers.json")
}

/// The URLs to begin with: the given ones first, then those that were known before.
pub(crate) fn known(data: &DataDir, given: &[String]) -> Vec<String> {
    let text = std::fs::read(file(data)).unwrap_or_default();
    let saved: Vec<String> = serde_json::from_slice(&text).unwrap_or_default();
    merged(given, saved)
}

/// The URLs of a list that names several.
pub(crate) fn named(list: &str) -> Vec<String> {
    list.split(',').filter(|url| !url.is_empty()).map(str::to_owned).collect()
}

fn merged(given: &[String], more: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for url in given.iter().cloned().chain(more) {
        if !urls.contains(&url) && urls.len() < SERVERS_MAX {
            urls.push(url);
        }
    }
    urls
}

/// Follows the endpoints of the `kubernetes` Service alone: of all others the host's network keeps what it needs.
pub(crate) fn endpoints(client: &Client) -> Cache<EndpointSlice> {
    let labels = format!("{SERVICE_NAME_LABEL}={SERVICE}");
    Cache::start(client, Scope::all().in_namespace("default").labels(labels))
}

/// The URLs of the servers behind the `kubernetes` Service, in order.
fn behind(slices: &[impl AsRef<EndpointSlice>]) -> Vec<String> {
    let mut urls = Vec::new();
    for slice in slices {
        let slice: &EndpointSlice = slice.as_ref();
        let labels = slice.metadata.labels.as_ref();
        let service = labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL));
        if service.map(String::as_str) != Some(SERVICE) {
            continue;
        }
        let ports = slice.ports.iter().flatten();
        let port = ports.filter_map(|port| port.port).next().unwrap_or(443);
        for address in slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses) {
            let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
            urls.push(format!("https://{host}:{port}"));
        }
    }
    urls.sort();
    urls
}

/// Follows the endpoints for as long as it is polled, and tells the servers to whom it may concern.
pub(crate) async fn follow(
    data: DataDir,
    slices: Cache<EndpointSlice>,
    given: Vec<String>,
    switch: Switch,
    told: watch::Sender<Vec<String>>,
) {
    let mut changes = slices.subscribe();
    slices.wait_synced().await;
    loop {
        let found = behind(&slices.list_in("default"));
        let urls = merged(&given, found);
        let before = told.borrow().clone();
        if urls != before {
            if let Err(error) = switch.renew(&data.host_kubeconfig(), &urls).await {
                let error = format!("{error:#}");
                tracing::warn!(error, "the servers' addresses cannot be used");
            }
            let text = serde_json::to_vec(&urls).unwrap_or_default();
            if let Err(error) = data.write_private(&file(&data), &text) {
                tracing::warn!(%error, "the servers' addresses are not kept");
            }
            tracing::debug!(?urls, "the servers of the cluster");
            told.send_replace(urls);
        }
        while changes.next().await.key.namespace.as_deref() != Some("default") {}
        tokio::time::sleep(SETTLED_AFTER).await;
        while changes.try_next().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn servers_are_behind_the_service() {
        let slice = |service: &str, addresses: &[&str], port: i32| -> Arc<EndpointSlice> {
            let endpoints: Vec<_> =
                addresses.iter().map(|a| serde_json::json!({"addresses": [a]})).collect();
            let slice = serde_json::json!({
                "metadata": {"labels": {"kubernetes.io/service-name": service}},
                "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": port}],
            });
            Arc::new(serde_json::from_value(slice).unwrap())
        };
        let slices = [
            slice("kubernetes", &["10.0.0.2", "10.0.0.1"], 6443),
            slice("web", &["10.0.0.9"], 80),
            slice("kubernetes", &["fd00::1"], 7443),
        ];
        let found = behind(&slices);
        let expected = ["https://10.0.0.1:6443", "https://10.0.0.2:6443", "https://[fd00::1]:7443"];
        assert_eq!(found, expected);
        let given = named("https://a:1,https://10.0.0.2:6443");
        let all = merged(&given, found);
        assert_eq!((all.len(), all[0].as_str(), all[1].as_str()), (4, "https://a:1", expected[1]));
    }
}
