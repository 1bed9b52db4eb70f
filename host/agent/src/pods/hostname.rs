//! A pod's host name.
//!
//! *Source:* kubelet's `GeneratePodHostNameAndDomain`: `spec.hostname`, else the pod's name, cut to
//! 63 characters; with the host's network the node's.

use k8s_openapi::api::core::v1::Pod;

use super::plan;

const HOSTNAME_BYTES_MAX: usize = 63;

/// Bytes of a full name as a host name. *Source:* `HOST_NAME_MAX` of Linux.
const FULL_NAME_BYTES_MAX: usize = 64;

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

/// Gives what `hostname` says in `pod`: its host name, or with `setHostnameAsFQDN` the one with all domains.
///
/// *Source:* kubelet's `GetNodenameForKernel`.
///
/// # Errors
/// A sentence when the full name is longer than a kernel takes; the pod waits for a shorter one.
pub fn kernel_name(pod: &Pod, cluster_domain: &str) -> Result<String, String> {
    let is_wanted = plan::spec(pod).set_hostname_as_fqdn.unwrap_or(false);
    match full_name(pod, cluster_domain).filter(|_| is_wanted) {
        None => Ok(hostname(pod)),
        Some(name) if name.len() <= FULL_NAME_BYTES_MAX => Ok(name),
        Some(name) => Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long \
             ({FULL_NAME_BYTES_MAX} characters is the max, {} characters requested)",
            name.len()
        )),
    }
}

/// Gives the host name of `pod` with all domains, when it has a subdomain.
#[must_use]
pub fn full_name(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = plan::spec(pod).subdomain.as_ref().filter(|domain| !domain.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Some(format!("{}.{subdomain}.{namespace}.svc.{cluster_domain}", hostname(pod)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_pod_is_called_by_its_full_name_where_it_asks_for_that() {
        let check = |spec: Value, expected: Result<&str, &str>| {
            let meta = json!({"name": "web", "namespace": "shop"});
            let pod: Pod = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
            let name = kernel_name(&pod, "cluster.local");
            let name = name.as_ref().map(String::as_str).map_err(String::as_str);
            match (name, expected) {
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (name, expected) => assert_eq!(name, expected, "{spec}"),
            }
        };
        let spec = |sub: &str, fqdn: bool| json!({"containers": [], "subdomain": sub, "setHostnameAsFQDN": fqdn});
        check(spec("in", true), Ok("web.in.shop.svc.cluster.local"));
        check(spec("in", false), Ok("web"));
        check(spec("", true), Ok("web"));
        check(spec(&"s".repeat(40), true), Err("is too long (64 characters is the max, 67"));
    }
}
