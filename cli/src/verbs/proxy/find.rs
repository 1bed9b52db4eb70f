//! Finds the pod and the port behind a host and a port, by asking the API.

use std::net::IpAddr;

use anyhow::{Context as _, bail};
use rand::Rng as _;
use serde_json::Value;

use super::place::Place;
use crate::verbs::query::Query;
use crate::verbs::session::Session;

/// A port of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The pod's namespace.
    pub(super) namespace: String,
    /// The pod's name.
    pub(super) pod: String,
    /// The port in the pod.
    pub(super) port: u16,
}

/// Finds a pod for a host and a port.
pub(super) async fn find(session: &Session, host: &str, port: u16) -> anyhow::Result<Found> {
    match Place::of(host, &session.namespace) {
        None => bail!("it is no name of the cluster: go there without this proxy"),
        Some(Place::Address(address)) => by_address(session, address, port).await,
        Some(Place::Service { namespace, name, pod }) => {
            let path = format!("/api/v1/namespaces/{namespace}/services/{name}");
            let service = session.get(&path).await?;
            behind(session, &service, pod.as_deref(), port).await
        }
    }
}

async fn by_address(session: &Session, address: IpAddr, port: u16) -> anyhow::Result<Found> {
    let selector = format!("status.podIP={address}");
    let pods =
        session.get(&Query::default().with("fieldSelector", &selector).on("/api/v1/pods")).await?;
    let running = |pod: &&Value| pod["status"]["phase"] == "Running";
    if let Some(pod) = pods["items"].as_array().into_iter().flatten().find(running) {
        return Ok(Found {
            namespace: text(&pod["metadata"]["namespace"]),
            pod: text(&pod["metadata"]["name"]),
            port,
        });
    }
    let address = address.to_string();
    let services = session.get("/api/v1/services").await?;
    let mut services = services["items"].as_array().into_iter().flatten();
    let has = |service: &&Value| {
        let mut all = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
        all.any(|ip| ip == address.as_str())
    };
    let service = services.find(has).context("no pod and no Service has the address")?;
    behind(session, service, None, port).await
}

/// A ready pod of a Service.
async fn behind(
    session: &Session,
    service: &Value,
    hostname: Option<&str>,
    port: u16,
) -> anyhow::Result<Found> {
    let (namespace, name) =
        (text(&service["metadata"]["namespace"]), text(&service["metadata"]["name"]));
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
    let selector = format!("kubernetes.io/service-name={name}");
    let slices = session.get(&Query::default().with("labelSelector", &selector).on(&path)).await?;
    let mut all = ready(&slices, service, hostname, port)?;
    if all.is_empty() {
        bail!("Service {namespace}/{name} has no ready pod for port {port}");
    }
    let (pod, port) = all.swap_remove(rand::rng().random_range(..all.len()));
    Ok(Found { namespace, pod, port })
}

/// The ready pods of a Service, each with its port.
fn ready(
    slices: &Value,
    service: &Value,
    hostname: Option<&str>,
    port: u16,
) -> anyhow::Result<Vec<(String, u16)>> {
    let headless = service["spec"]["clusterIP"] == "None";
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let named = ports.find(|one| one["port"] == port).map(|one| text(&one["name"]));
    if named.is_none() && !headless {
        bail!("the Service has no port {port}");
    }
    let mut all = Vec::new();
    for slice in slices["items"].as_array().into_iter().flatten() {
        let mut ports = slice["ports"].as_array().into_iter().flatten();
        let inner = named.as_ref().and_then(|name| ports.find(|one| text(&one["name"]) == *name));
        let inner = inner.and_then(|one| u16::try_from(one["port"].as_u64()?).ok());
        // Without a virtual address in between, a client knows the pods' own ports.
        let inner = if headless { Some(port) } else { inner };
        let Some(inner) = inner else { continue };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            let is_meant = hostname.is_none_or(|name| endpoint["hostname"] == name);
            let is_ready = endpoint["conditions"]["ready"] != false;
            if is_meant && is_ready && endpoint["targetRef"]["kind"] == "Pod" {
                all.push((text(&endpoint["targetRef"]["name"]), inner));
            }
        }
    }
    Ok(all)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ready_pods_and_their_ports_are_found() {
        let endpoint = |name: &str, ready: bool| json!({"conditions": {"ready": ready}, "hostname": name, "targetRef": {"kind": "Pod", "name": name}});
        let slices = json!({"items": [
            {"ports": [{"name": "http", "port": 8080}], "endpoints": [endpoint("a", true), endpoint("b", false)]},
            {"ports": [{"name": "http", "port": 9090}], "endpoints": [endpoint("c", true)]},
        ]});
        let check = |ip: &str, hostname, port, wanted: Option<&[(&str, u16)]>| {
            let service =
                json!({"spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80}]}});
            let found = ready(&slices, &service, hostname, port).ok();
            let found: Option<Vec<(&str, u16)>> = found
                .as_ref()
                .map(|all| all.iter().map(|(name, port)| (name.as_str(), *port)).collect());
            assert_eq!(found.as_deref(), wanted);
        };
        check("10.96.0.9", None, 80, Some(&[("a", 8080), ("c", 9090)]));
        check("10.96.0.9", None, 81, None);
        check("None", Some("c"), 7000, Some(&[("c", 7000)]));
        check("None", Some("b"), 7000, Some(&[]));
    }
}
