//! A pod's host name.
//!
//! *Source:* kubelet's `GeneratePodHostNameAndDomain`: `spec.hostname`, else the pod's name, cut to
//! 63 characters; with the host's network the node's.

use k8s_openapi::api::core::v1::Pod;

use super::plan;

const HOSTNAME_BYTES_MAX: usize = 63;

/// Gives the host name of `pod`.
#[must_use]
pub fn hostname(pod: &Pod) -> String {
    let spec = plan::spec(pod);
    let nodes = spec.node_name.as_ref().filter(|_| spec.host_network.unwrap_or(false));
    let own = spec.hostname_override.as_ref().or(nodes).or(spec.hostname.as_ref());
    let name = own.filter(|name| !name.is_empty()).or(pod.metadata.name.as_ref());
    let name = name.map(String::as_str).unwrap_or_default();
    let cut: String = name.chars().take(HOSTNAME_BYTES_MAX).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// Gives the host name of `pod` with all domains, when it has a subdomain.
#[must_use]
pub fn full_name(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = plan::spec(pod).subdomain.as_ref().filter(|domain| !domain.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Some(format!("{}.{subdomain}.{namespace}.svc.{cluster_domain}", hostname(pod)))
}
