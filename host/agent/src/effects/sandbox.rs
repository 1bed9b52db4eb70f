//! Makes and removes sandboxes.

use std::net::IpAddr;

use super::{Shared, Target};
use crate::pods::hostname::hostname;
use crate::pods::plan;
use crate::pods::state::{Note, PodEvent};
use crate::record::record;
use crate::runtime::SandboxRequest;

/// The annotation that grants a pod addresses outside of the cluster.
const EGRESS_ANNOTATION: &str = "coracle.dev/egress";

/// Makes the sandbox of a pod; `kept` is the address it had before the host was restarted.
pub(crate) async fn create(shared: &Shared, target: &Target, kept: Option<IpAddr>) {
    let event = match try_create(shared, target, kept).await {
        Ok(ip) => PodEvent::SandboxReady { ip: ip.to_string() },
        Err(message) => PodEvent::SandboxFailed { message },
    };
    shared.tell(&target.key.uid, event);
}

async fn try_create(
    shared: &Shared,
    target: &Target,
    kept: Option<IpAddr>,
) -> Result<IpAddr, String> {
    let ip = match kept {
        Some(ip) => ip,
        None => shared.addresses.allocate().await?,
    };
    let made = shared.runtime.create_sandbox(request(shared, target, ip)?).await;
    if made.is_err() {
        shared.addresses.release(ip);
    }
    made.map(|()| ip)
}

fn request(shared: &Shared, target: &Target, ip: IpAddr) -> Result<SandboxRequest, String> {
    let spec = plan::spec(&target.pod);
    if spec.host_network.unwrap_or(false) {
        return Err("hostNetwork is not allowed on this host".into());
    }
    let mut aliases = Vec::new();
    for alias in spec.host_aliases.iter().flatten() {
        let address: IpAddr =
            alias.ip.parse().map_err(|_| format!("hostAliases: \"{}\" must be an IP", alias.ip))?;
        let names = alias.hostnames.iter().flatten();
        aliases.extend(names.map(|name| (address, name.clone())));
    }
    let limit = spec.resources.as_ref().and_then(|needs| needs.limits.as_ref());
    let limit = limit.and_then(|limits| limits.get("memory"));
    Ok(SandboxRequest {
        pod: target.key.clone(),
        ip,
        hostname: hostname(&target.pod),
        host_aliases: aliases,
        egress: egress(shared, target),
        memory_limit_bytes: limit.and_then(|text| super::start::amount(&text.0)),
    })
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
    if let Some(ip) = target.ip.as_ref().and_then(|ip| ip.parse().ok()) {
        shared.addresses.release(ip);
    }
    shared.tell(&target.key.uid, PodEvent::SandboxRemoved);
}
