//! Pods and their containers.

use super::page::{Family, Labels, Lines, counter, flag, gauge};
use super::rows::{Amounts, Condition, Row, amount, label, seconds, unit};
use jiff::Timestamp;
use serde::Deserialize;

/// `spec` of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    node_name: String,
    priority_class_name: String,
    host_network: bool,
    restart_policy: String,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    image: String,
    resources: Resources,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    requests: Amounts,
    limits: Amounts,
}

/// `status` of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    phase: String,
    reason: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
    start_time: Option<Timestamp>,
    conditions: Vec<Condition>,
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    image: String,
    #[serde(rename = "imageID")]
    image_id: String,
    #[serde(rename = "containerID")]
    container_id: String,
    ready: bool,
    restart_count: u32,
    state: State,
    last_state: State,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    waiting: Option<Waiting>,
    running: Option<Running>,
    terminated: Option<Terminated>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Running {
    started_at: Option<Timestamp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Terminated {
    reason: String,
    exit_code: i32,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

type Pod = Row<Spec, Status>;

const PHASES: [&str; 5] = ["Pending", "Succeeded", "Failed", "Unknown", "Running"];
const REASONS: [&str; 5] =
    ["Evicted", "NodeAffinity", "NodeLost", "Shutdown", "UnexpectedAdmissionError"];
const CONDITION_STATES: [(&str, &str); 3] =
    [("True", "true"), ("False", "false"), ("Unknown", "unknown")];

/// Metrics of pods.
pub(super) const PODS: &[Family<Pod>] = &[
    gauge("kube_pod_info", pod_info),
    gauge("kube_pod_owner", |pod, out| {
        for owner in &pod.metadata.owner_references {
            let controls = if owner.controller { "true" } else { "false" };
            let more = [
                ("owner_kind", owner.kind.as_str()),
                ("owner_name", &owner.name),
                ("owner_is_controller", controls),
            ];
            out.add(&own(pod), &more, 1.0);
        }
        if pod.metadata.owner_references.is_empty() {
            let more = [("owner_kind", ""), ("owner_name", ""), ("owner_is_controller", "")];
            out.add(&own(pod), &more, 1.0);
        }
    }),
    gauge("kube_pod_created", |pod, out| {
        out.maybe(&own(pod), &[], seconds(pod.metadata.creation_timestamp));
    }),
    gauge("kube_pod_deletion_timestamp", |pod, out| {
        out.maybe(&own(pod), &[], seconds(pod.metadata.deletion_timestamp));
    }),
    gauge("kube_pod_start_time", |pod, out| {
        out.maybe(&own(pod), &[], seconds(pod.status.start_time));
    }),
    gauge("kube_pod_completion_time", |pod, out| {
        out.maybe(&own(pod), &[], seconds(completed(pod)));
    }),
    gauge("kube_pod_restart_policy", |p, out| {
        let policy =
            if p.spec.restart_policy.is_empty() { "Always" } else { &p.spec.restart_policy };
        out.add(&own(p), &[("type", policy)], 1.0);
    }),
    gauge("kube_pod_status_phase", |pod, out| {
        out.states(&own(pod), "phase", &PHASES, &pod.status.phase);
    }),
    gauge("kube_pod_status_ready", |pod, out| {
        condition(pod, "Ready", out);
    }),
    gauge("kube_pod_status_scheduled", |pod, out| {
        condition(pod, "PodScheduled", out);
    }),
    gauge("kube_pod_status_unschedulable", |pod, out| {
        let is_not = |c: &Condition| c.r#type == "PodScheduled" && c.reason == "Unschedulable";
        if pod.status.conditions.iter().any(is_not) {
            out.add(&own(pod), &[], 1.0);
        }
    }),
    gauge("kube_pod_status_reason", |pod, out| {
        out.states(&own(pod), "reason", &REASONS, &pod.status.reason);
    }),
    gauge("kube_pod_container_info", |pod, out| {
        info(pod, &pod.spec.containers, &pod.status.container_statuses, out);
    }),
    gauge("kube_pod_init_container_info", |pod, out| {
        info(pod, &pod.spec.init_containers, &pod.status.init_container_statuses, out);
    }),
    gauge("kube_pod_container_resource_requests", |pod, out| {
        resources(pod, &pod.spec.containers, |each| &each.requests, out)
    }),
    gauge("kube_pod_container_resource_limits", |pod, out| {
        resources(pod, &pod.spec.containers, |each| &each.limits, out)
    }),
    gauge("kube_pod_init_container_resource_requests", |pod, out| {
        resources(pod, &pod.spec.init_containers, |each| &each.requests, out)
    }),
    gauge("kube_pod_init_container_resource_limits", |pod, out| {
        resources(pod, &pod.spec.init_containers, |each| &each.limits, out)
    }),
    gauge("kube_pod_container_state_started", |pod, out| {
        containers(pod, out, |each, own, out| {
            let running = each.state.running.as_ref().and_then(|state| state.started_at);
            let ended = each.state.terminated.as_ref().and_then(|state| state.started_at);
            out.maybe(own, &[], seconds(running.or(ended)));
        });
    }),
    gauge("kube_pod_container_status_ready", |pod, out| {
        containers(pod, out, |each, own, out| out.add(own, &[], flag(each.ready)));
    }),
    counter("kube_pod_container_status_restarts_total", |pod, out| {
        containers(pod, out, |each, own, out| out.add(own, &[], f64::from(each.restart_count)));
    }),
    gauge("kube_pod_container_status_running", |pod, out| {
        containers(pod, out, |each, own, out| {
            out.add(own, &[], flag(each.state.running.is_some()))
        });
    }),
    gauge("kube_pod_container_status_waiting", |pod, out| {
        containers(pod, out, |each, own, out| {
            out.add(own, &[], flag(each.state.waiting.is_some()))
        });
    }),
    gauge("kube_pod_container_status_waiting_reason", |pod, out| {
        containers(pod, out, |each, own, out| {
            if let Some(state) = &each.state.waiting {
                out.add(own, &[("reason", &state.reason)], 1.0);
            }
        });
    }),
    gauge("kube_pod_container_status_terminated", |pod, out| {
        containers(pod, out, |each, own, out| {
            out.add(own, &[], flag(each.state.terminated.is_some()));
        });
    }),
    gauge("kube_pod_container_status_terminated_reason", |pod, out| {
        containers(pod, out, |each, own, out| {
            if let Some(state) = &each.state.terminated {
                out.add(own, &[("reason", &state.reason)], 1.0);
            }
        });
    }),
    gauge("kube_pod_container_status_last_terminated_reason", |pod, out| {
        containers(pod, out, |each, own, out| {
            if let Some(state) = &each.last_state.terminated {
                out.add(own, &[("reason", &state.reason)], 1.0);
            }
        });
    }),
    gauge("kube_pod_container_status_last_terminated_exitcode", |pod, out| {
        containers(pod, out, |each, own, out| {
            let ended = each.last_state.terminated.as_ref();
            out.maybe(own, &[], ended.map(|state| f64::from(state.exit_code)));
        });
    }),
];

fn own(pod: &Pod) -> [(&str, &str); 3] {
    let meta = &pod.metadata;
    [("namespace", &meta.namespace), ("pod", &meta.name), ("uid", &meta.uid)]
}

fn pod_info(pod: &Pod, out: &mut Lines<'_>) {
    let owner = pod.metadata.controller();
    let more = [
        ("host_ip", pod.status.host_ip.as_str()),
        ("pod_ip", &pod.status.pod_ip),
        ("node", &pod.spec.node_name),
        ("created_by_kind", owner.map_or("", |owner| &owner.kind)),
        ("created_by_name", owner.map_or("", |owner| &owner.name)),
        ("priority_class", &pod.spec.priority_class_name),
        ("host_network", if pod.spec.host_network { "true" } else { "false" }),
    ];
    out.add(&own(pod), &more, 1.0);
}

/// When the last container of a pod that is done ended.
fn completed(pod: &Pod) -> Option<Timestamp> {
    if !matches!(pod.status.phase.as_str(), "Succeeded" | "Failed") {
        return None;
    }
    let ended =
        pod.status.container_statuses.iter().filter_map(|each| each.state.terminated.as_ref());
    ended.filter_map(|state| state.finished_at).max()
}

fn condition(pod: &Pod, wanted: &str, out: &mut Lines<'_>) {
    let found = pod.status.conditions.iter().find(|condition| condition.r#type == wanted);
    if let Some(found) = found {
        for (state, word) in CONDITION_STATES {
            out.add(&own(pod), &[("condition", word)], flag(found.status == state));
        }
    }
}

fn info(pod: &Pod, containers: &[Container], statuses: &[ContainerStatus], out: &mut Lines<'_>) {
    let [namespace, name, uid] = own(pod);
    for status in statuses {
        let spec = containers.iter().find(|container| container.name == status.name);
        let own = [namespace, name, uid, ("container", status.name.as_str())];
        let more = [
            ("image_spec", spec.map_or("", |container| &container.image)),
            ("image", &status.image),
            ("image_id", &status.image_id),
            ("container_id", &status.container_id),
        ];
        out.add(&own, &more, 1.0);
    }
}

/// Calls back for each container that has a status, with the labels that say which it is.
fn containers(
    pod: &Pod,
    out: &mut Lines<'_>,
    each: fn(&ContainerStatus, Labels<'_>, &mut Lines<'_>),
) {
    let [namespace, name, uid] = own(pod);
    for status in &pod.status.container_statuses {
        each(status, &[namespace, name, uid, ("container", &status.name)], out);
    }
}

fn resources(
    pod: &Pod,
    containers: &[Container],
    amounts: fn(&Resources) -> &Amounts,
    out: &mut Lines<'_>,
) {
    let [namespace, name, uid] = own(pod);
    let node = ("node", pod.spec.node_name.as_str());
    for container in containers {
        let own = [namespace, name, uid, ("container", &container.name), node];
        for (resource, text) in amounts(&container.resources) {
            let resource_label = label(resource);
            let more = [("resource", resource_label.as_str()), ("unit", unit(resource))];
            out.maybe(&own, &more, amount(text));
        }
    }
}
