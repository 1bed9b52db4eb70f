//! Makes and removes sandboxes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use coracle_client::Failure as _;
use coracle_vnet::Protocol;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::node::v1::RuntimeClass;

use super::{Shared, Target};
use crate::config::dns::{self, DnsSurroundings};
use crate::pods::hostname::{full_name, hostname, kernel_name};
use crate::pods::plan::{self, Role};
use crate::pods::state::{Note, PodEvent};
use crate::record::record;
use crate::runtime::{HANDLER_PROCESS, HostPort, SandboxRequest};

/// The annotation that grants a pod addresses outside of the cluster.
const EGRESS_ANNOTATION: &str = "coracle.dev/egress";

/// Where the machine says who its name servers are.
const MACHINE_RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long the server may take to give a RuntimeClass.
const CLASS_TIME_MAX: Duration = Duration::from_secs(5);

/// Makes the sandbox of a pod; `kept` is the address it had before the host was restarted.
pub(crate) async fn create(shared: &Shared, target: &Target, kept: Option<IpAddr>) {
    let event = match try_create(shared, target, kept).await {
        Ok(ips) => PodEvent::SandboxReady { ips: ips.iter().map(IpAddr::to_string).collect() },
        Err(message) => PodEvent::SandboxFailed { message },
    };
    shared.tell(&target.key.uid, event);
}

async fn try_create(
    shared: &Shared,
    target: &Target,
    kept: Option<IpAddr>,
) -> Result<Vec<IpAddr>, String> {
    let host_network = plan::spec(&target.pod).host_network.unwrap_or(false);
    if host_network && !shared.config.host_network {
        return Err(
            "hostNetwork is not allowed on this host: start it with --allow-host-network, or \
                    leave hostNetwork out of the pod"
                .into(),
        );
    }
    let ip = match kept {
        _ if host_network => shared.config.host_ip,
        Some(ip) => ip,
        None => shared.addresses.allocate().await?,
    };
    let ips = if host_network { vec![ip] } else { shared.addresses.all_of(ip) };
    let request = match handler(shared, target).await {
        Ok(handler) => request(shared, target, ips.clone(), handler),
        Err(message) => Err(message),
    };
    let made = match request {
        Ok(request) => shared.runtime.create_sandbox(request).await,
        Err(message) => Err(message),
    };
    if made.is_err() {
        shared.addresses.release(ip);
    }
    made.map(|()| ips)
}

/// The handler of the pod's RuntimeClass, empty without one. While no server answers, a class named
/// as a handler of this host stands for that handler: so it was made, and a pod that ran must run
/// again.
async fn handler(shared: &Shared, target: &Target) -> Result<String, String> {
    let Some(class) = plan::spec(&target.pod).runtime_class_name.as_ref() else {
        return Ok(String::new());
    };
    let api = shared.client.cluster::<RuntimeClass>();
    let failed =
        |why: &str| format!("failed to get sandbox runtime: RuntimeClass \"{class}\": {why}");
    match tokio::time::timeout(CLASS_TIME_MAX, api.get(class)).await {
        Ok(Ok(found)) => Ok(found.handler),
        Ok(Err(error)) if error.is_not_found() => Err(failed("not found")),
        _unknown if class == HANDLER_PROCESS => Ok(class.clone()),
        Ok(Err(error)) => Err(failed(&error.message())),
        Err(_) => Err(failed("the server does not answer")),
    }
}

fn request(
    shared: &Shared,
    target: &Target,
    ips: Vec<IpAddr>,
    handler: String,
) -> Result<SandboxRequest, String> {
    let spec = plan::spec(&target.pod);
    let mut aliases = Vec::new();
    for alias in spec.host_aliases.iter().flatten() {
        let address: IpAddr =
            alias.ip.parse().map_err(|_| format!("hostAliases: \"{}\" must be an IP", alias.ip))?;
        let names = alias.hostnames.iter().flatten();
        aliases.extend(names.map(|name| (address, name.clone())));
    }
    let limit = spec.resources.as_ref().and_then(|needs| needs.limits.as_ref());
    let limit = |name: &str| limit.and_then(|limits| limits.get(name));
    Ok(SandboxRequest {
        pod: target.key.clone(),
        ips,
        host_network: spec.host_network.unwrap_or(false),
        hostname: hostname(&target.pod),
        kernel_name: kernel_name(&target.pod, &shared.config.cluster_domain)?,
        full_name: full_name(&target.pod, &shared.config.cluster_domain),
        host_aliases: aliases,
        egress: egress(shared, target),
        resolv_conf: resolv_conf(shared, target),
        memory_limit_bytes: match limit("memory") {
            Some(text) => super::start::amount(&text.0),
            None => limits_together(&target.pod),
        },
        cpu_millis: limit("cpu").and_then(|text| super::start::millis(&text.0)),
        host_ports: host_ports(target)?,
        handler,
    })
}

/// What the containers' own limits of memory come to, if every one has a limit: it bounds their memory
/// volumes too.
///
/// *Source:* kubelet's `ResourceConfigForPod`: the pod's cgroup has a limit if all containers have.
fn limits_together(pod: &Pod) -> Option<u64> {
    let (mut together, mut init_max) = (0_u64, 0_u64);
    for (role, container) in plan::containers(pod) {
        let limits = container.resources.as_ref().and_then(|needs| needs.limits.as_ref());
        let limit = limits.and_then(|limits| limits.get("memory"));
        let bytes = limit.and_then(|text| super::start::amount(&text.0));
        match role {
            Role::App | Role::Sidecar => together = together.saturating_add(bytes?),
            Role::Init => init_max = init_max.max(together.saturating_add(bytes?)),
            Role::Ephemeral => {}
        }
    }
    Some(together.max(init_max)).filter(|bytes| *bytes > 0)
}

/// The pod's `resolv.conf`; `None` when the cluster has no DNS address.
fn resolv_conf(shared: &Shared, target: &Target) -> Option<String> {
    let around = DnsSurroundings {
        cluster: shared.config.dns_ip?,
        domain: &shared.config.cluster_domain,
        // Read for each pod: it changes when the machine moves to another network.
        machine: &std::fs::read_to_string(MACHINE_RESOLV_CONF).unwrap_or_default(),
    };
    Some(dns::resolv_conf(plan::spec(&target.pod), &target.key.namespace, around))
}

/// The ports of the host that the pod's containers ask for.
fn host_ports(target: &Target) -> Result<Vec<HostPort>, String> {
    let mut found = Vec::new();
    if plan::spec(&target.pod).host_network.unwrap_or(false) {
        // What its containers listen at is the host's already.
        return Ok(found);
    }
    for (_, container) in plan::containers(&target.pod) {
        for port in container.ports.iter().flatten() {
            let number = |port: i32| u16::try_from(port).ok().filter(|port| *port > 0);
            let Some(host) = port.host_port.and_then(number) else { continue };
            let Some(container_port) = number(port.container_port) else { continue };
            let protocol = match port.protocol.as_deref() {
                None | Some("" | "TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some(other) => {
                    let message =
                        format!("hostPort {host}: {other} is not supported, TCP and UDP are");
                    return Err(message);
                }
            };
            let ip = port.host_ip.as_deref().filter(|ip| !ip.is_empty()).unwrap_or("0.0.0.0");
            let ip: IpAddr = ip.parse().map_err(|_| format!("hostIP \"{ip}\" must be an IP"))?;
            let address = SocketAddr::new(ip, host);
            found.push(HostPort { address, container_port, protocol });
        }
    }
    Ok(found)
}

/// What the pod and its namespace grant together.
fn egress(shared: &Shared, target: &Target) -> Option<String> {
    let annotations = target.pod.metadata.annotations.as_ref();
    let own = annotations.and_then(|map| map.get(EGRESS_ANNOTATION)).cloned();
    let outer = shared.services.egress_of_namespace(&target.key.namespace);
    own.into_iter().chain(outer).reduce(|own, outer| format!("{own},{outer}"))
}

/// Grants a running pod what its annotations and its namespace's say now. What cannot be read leaves
/// the grant as it was, and the pod's owner is told.
pub(crate) fn grant(shared: &Shared, target: &Target) {
    if let Err(message) = shared.runtime.grant(&target.key, egress(shared, target).as_deref()) {
        let message = format!("annotation {EGRESS_ANNOTATION} not followed: {message}");
        let note = Note { warning: true, reason: "InvalidEgress", message, container: None };
        record(&shared.recorder, &target.pod, note);
    }
}

/// Removes the sandbox of a pod and gives its address back.
pub(crate) async fn remove(shared: &Shared, target: &Target) {
    shared.runtime.remove_sandbox(&target.key).await;
    if let Some(ip) = target.ip().and_then(|ip| ip.parse().ok()) {
        shared.addresses.release(ip);
    }
    shared.tell(&target.key.uid, PodEvent::SandboxRemoved);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_pod_may_hold_what_its_containers_may_together() {
        let check = |init: Value, apps: Value, expected: Option<u64>| {
            let spec = json!({"initContainers": init, "containers": apps});
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            assert_eq!(limits_together(&pod), expected, "{spec}");
        };
        let of = |memory: &str| json!({"name": "c", "resources": {"limits": {"memory": memory}}});
        let side = |memory: &str| {
            let mut side = of(memory);
            side["restartPolicy"] = json!("Always");
            side
        };
        check(json!([]), json!([of("1Ki"), of("2Ki")]), Some(3072));
        check(json!([]), json!([of("1Ki"), {"name": "free"}]), None);
        check(json!([side("1Ki"), of("9Ki")]), json!([of("2Ki")]), Some(10 << 10));
        check(json!([{"name": "free"}]), json!([of("2Ki")]), None);
        check(json!([side("1Ki")]), json!([of("2Ki")]), Some(3072));
    }
}
