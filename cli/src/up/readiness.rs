//! Whether what was applied is there: rollouts done, pods ready, Services leading to them, and if not, why not.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// What is still missing, in words for a person; empty when everything is ready.
pub(crate) fn missing(deployments: &[Deployment], pods: &[Pod]) -> Vec<String> {
    let rollouts = deployments.iter().filter_map(unfinished_rollout);
    let bare = pods.iter().filter(|pod| !is_owned(pod)).filter_map(unready_pod);
    rollouts.chain(bare).collect()
}

/// Ready pods that a Service of their namespace selects and does not lead to yet, in words: who asks it may be refused.
pub(crate) fn unpublished(
    services: &[Service],
    pods: &[Pod],
    slices: &[EndpointSlice],
) -> Vec<String> {
    let mut missing = Vec::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        for pod in pods.iter().filter(|pod| is_to_serve(pod) && selects(service, pod)) {
            let ips = addresses_for(service, pod);
            if !ips.is_empty() && !is_published(name, &ips, slices) {
                let pod = pod.metadata.name.as_deref().unwrap_or_default();
                missing.push(format!("service {name}: it does not lead to pod {pod} yet"));
            }
        }
    }
    missing
}

/// Whether Services lead to it as soon as they know: it is Ready and has not been told to go.
fn is_to_serve(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// *Source:* Services without a selector have endpoints that somebody else writes, and those of the type
/// `ExternalName` have none.
fn selects(service: &Service, pod: &Pod) -> bool {
    let Some(spec) = &service.spec else { return false };
    let Some(selector) = spec.selector.as_ref().filter(|all| !all.is_empty()) else { return false };
    let has = |(key, value): (&String, &String)| {
        pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value)
    };
    spec.type_.as_deref() != Some("ExternalName") && selector.iter().all(has)
}

/// The addresses of a pod that are of the Service's families.
fn addresses_for<'a>(service: &Service, pod: &'a Pod) -> Vec<&'a str> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    let fits = |ip: &str| {
        let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
        families.is_none_or(|families| families.iter().any(|one| one == family))
    };
    let ips = pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
    ips.map(|ip| ip.ip.as_str()).filter(|ip| fits(ip)).collect()
}

fn is_published(service: &str, ips: &[&str], slices: &[EndpointSlice]) -> bool {
    let of_service = |slice: &&EndpointSlice| {
        let labels = slice.metadata.labels.as_ref();
        let owner = labels.and_then(|labels| labels.get("kubernetes.io/service-name"));
        owner.is_some_and(|owner| owner == service)
    };
    let endpoints = slices.iter().filter(of_service).flat_map(|slice| &slice.endpoints);
    let mut ready = endpoints
        .filter(|one| one.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true))
        .flat_map(|one| &one.addresses);
    ready.any(|address| ips.contains(&address.as_str()))
}

/// Reasons that pods give for not being ready, each once, with the pods that give it.
pub(crate) fn reasons(pods: &[Pod]) -> Vec<String> {
    let mut by_reason: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !is_ready(pod)) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        for reason in waiting_reasons(pod) {
            by_reason.entry(reason).or_default().push(name);
        }
    }
    by_reason.into_iter().map(|(reason, pods)| format!("{}: {reason}", pods.join(", "))).collect()
}

fn unfinished_rollout(deployment: &Deployment) -> Option<String> {
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let current = status.observed_generation >= deployment.metadata.generation;
    let updated = status.updated_replicas.unwrap_or(0);
    let available = status.available_replicas.unwrap_or(0);
    let all = status.replicas.unwrap_or(0);
    let done = current && updated == wanted && available == wanted && all == wanted;
    (!done).then(|| format!("deployment {name}: {available} of {wanted} pods are available"))
}

fn unready_pod(pod: &Pod) -> Option<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    (!is_ready(pod)).then(|| format!("pod {name} is not ready"))
}

fn is_owned(pod: &Pod) -> bool {
    pod.metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty())
}

/// Ready, or done: a pod that ran to its end is not waited for.
fn is_ready(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let ready =
        status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    ready || status.phase.as_deref() == Some("Succeeded")
}

fn waiting_reasons(pod: &Pod) -> Vec<String> {
    let Some(status) = &pod.status else { return Vec::new() };
    let containers =
        status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let waiting = containers.filter_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        let quiet = ["ContainerCreating", "PodInitializing"].contains(&reason);
        let message = waiting.message.as_deref().unwrap_or_default();
        (!quiet).then(|| {
            format!("container {}: {reason} {message}", container.name).trim_end().to_owned()
        })
    });
    let unscheduled = status.conditions.iter().flatten().filter_map(|condition| {
        let says = condition.type_ == "PodScheduled" && condition.status == "False";
        says.then(|| condition.message.clone().unwrap_or_default())
    });
    waiting.chain(unscheduled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(generation: i64, observed: i64, counts: [i32; 3]) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": generation},
            "spec": {"replicas": 3, "selector": {}, "template": {}},
            "status": {"observedGeneration": observed, "replicas": counts[0],
                "updatedReplicas": counts[1], "availableReplicas": counts[2]},
        }))
        .unwrap()
    }

    #[test]
    fn a_rollout_is_done_when_all_pods_are_new_and_available() {
        assert!(missing(&[deployment(2, 2, [3, 3, 3])], &[]).is_empty());
        for (deployment, available) in [
            (deployment(2, 1, [3, 3, 3]), 3),
            (deployment(2, 2, [4, 3, 3]), 3),
            (deployment(2, 2, [3, 3, 2]), 2),
        ] {
            let expected = format!("deployment web: {available} of 3 pods are available");
            assert_eq!(missing(&[deployment], &[]), [expected]);
        }
    }

    #[test]
    fn services_lead_to_what_is_ready() {
        let pod = |name: &str, ip: &str, ready: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {"app": "web", "tier": "front"}},
                "status": {"podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": ready}]},
            }))
            .unwrap()
        };
        let service = |name: &str, spec: serde_json::Value| -> Service {
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
        };
        let slice = |service: &str, ip: &str, ready: bool| -> EndpointSlice {
            serde_json::from_value(json!({"addressType": "IPv4",
                "metadata": {"labels": {"kubernetes.io/service-name": service}},
                "endpoints": [{"addresses": [ip], "conditions": {"ready": ready}}]}))
            .unwrap()
        };
        let services = [
            service("web", json!({"selector": {"app": "web"}})),
            service("other", json!({"selector": {"app": "web", "tier": "back"}})),
            service("by-hand", json!({})),
            service("six", json!({"selector": {"app": "web"}, "ipFamilies": ["IPv6"]})),
            service("away", json!({"type": "ExternalName", "selector": {"app": "web"}})),
        ];
        let pods = [pod("a", "10.0.0.1", "True"), pod("b", "10.0.0.2", "False")];
        let waits = ["service web: it does not lead to pod a yet"];
        for (slices, expected) in [
            (vec![], &waits[..]),
            (vec![slice("web", "10.0.0.1", false)], &waits[..]),
            (vec![slice("other", "10.0.0.1", true)], &waits[..]),
            (vec![slice("web", "10.0.0.2", false), slice("web", "10.0.0.1", true)], &[][..]),
        ] {
            assert_eq!(unpublished(&services, &pods, &slices), expected, "{slices:?}");
        }
    }

    #[test]
    fn says_once_why_pods_wait() {
        let pod = |name: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": name},
                "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
                    "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull", "message": "no such tag"}}}]},
            }))
            .unwrap()
        };
        assert_eq!(reasons(&[pod("a"), pod("b")]), ["a, b: container c: ErrImagePull no such tag"]);
        assert_eq!(missing(&[], &[pod("a")]), ["pod a is not ready"]);
    }
}
