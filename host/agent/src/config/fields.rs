//! The downward API: fields of the pod and resources of a container, as text.
//!
//! *Source:* Kubernetes' `fieldpath` and `resource` helpers.

use std::collections::BTreeMap;

use coracle_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use crate::pods::plan;

/// What the host knows about a pod beyond its object.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The pod's addresses, `podIP` first; empty before it has any.
    pub pod_ips: Vec<String>,
    /// The host's address.
    pub host_ip: String,
    /// What the node can give: `cpu`, `memory`, `ephemeral-storage` as quantities.
    pub allocatable: BTreeMap<String, String>,
}

/// Gives the value of a `fieldRef`.
///
/// # Errors
/// A sentence when the path is not one that the downward API knows.
pub fn field(pod: &Pod, facts: &Facts, path: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(format!("unsupported fieldPath: {path}")),
        };
        return Ok(map.and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let spec = plan::spec(pod);
    Ok(match path {
        "metadata.name" => text(meta.name.as_ref()),
        "metadata.namespace" => text(meta.namespace.as_ref()),
        "metadata.uid" => text(meta.uid.as_ref()),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => text(spec.node_name.as_ref()),
        "spec.serviceAccountName" => text(spec.service_account_name.as_ref()),
        "status.podIP" => text(facts.pod_ips.first()),
        "status.podIPs" => facts.pod_ips.join(","),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.clone(),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// Gives the value of a `resourceFieldRef` as seen from `container` of `pod`.
///
/// # Errors
/// A sentence when the resource, the container or the divisor is not one.
pub fn resource(
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match named {
        Some(name) => plan::containers(pod)
            .map(|(_, container)| container)
            .find(|container| container.name == name)
            .ok_or_else(|| format!("container {name} not found"))?,
        None => container,
    };
    let unknown = || format!("unsupported container resource : {}", selector.resource);
    let (list, resource) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let needs = container.resources.as_ref();
    let limit = || needs.and_then(|needs| needs.limits.as_ref()).and_then(|map| map.get(resource));
    let request =
        || needs.and_then(|needs| needs.requests.as_ref()).and_then(|map| map.get(resource));
    let declared = match list {
        "limits" => limit()
            .map(|quantity| quantity.0.clone())
            .or_else(|| facts.allocatable.get(resource).cloned()),
        "requests" => request().or_else(limit).map(|quantity| quantity.0.clone()),
        _ => return Err(unknown()),
    };
    let amount = parse(declared.as_deref().unwrap_or("0"))?;
    let divisor = selector.divisor.as_ref().map(|quantity| quantity.0.as_str());
    let divisor = parse(divisor.filter(|text| !text.is_empty() && *text != "0").unwrap_or("1"))?;
    Ok(match resource {
        "cpu" => ceil(amount.milli_value(), divisor.milli_value()),
        _ => ceil(amount.value(), divisor.value()),
    }
    .to_string())
}

fn parse(text: &str) -> Result<Quantity, String> {
    text.parse().map_err(|_| format!("\"{text}\" must be a quantity"))
}

fn ceil(amount: i64, divisor: i64) -> i64 {
    let divisor = divisor.max(1);
    amount.saturating_add(divisor - 1) / divisor
}

/// Splits `metadata.labels['key']` into its two names.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// Prints a map as the downward API does: one `key="value"` a line, sorted, values quoted.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

/// Quotes as Go's `%q` does for the characters that occur in labels and annotations.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
