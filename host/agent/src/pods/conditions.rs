//! The conditions of a pod.
//!
//! *Source:* kubelet's `status/generate.go` (1.35).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};

use super::plan::{self, Role};
use super::shutdown::TERMINATED;
use super::state::{PodState, PodVerdict, Sandbox, Volumes};
use super::status::Phase;

/// The condition types that this host writes; all others belong to someone else.
pub const OWNED: [&str; 6] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    DISRUPTION_TARGET,
];

/// Says that a pod did not end by itself; others write it too, of pods that they end.
const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// Builds the conditions that go with `status`; transition times move only when a status does.
#[must_use]
pub fn conditions(
    pod: &Pod,
    state: &PodState,
    status: &PodStatus,
    previous: Option<&PodStatus>,
    phase: Phase,
    now: Timestamp,
) -> Vec<PodCondition> {
    let ground = ground(state);
    let initialized = initialized(pod, state, phase);
    let containers_ready = containers_ready(pod, status, phase);
    let ready = ready(pod, previous, &containers_ready);
    let scheduled = bare("PodScheduled", true);
    let mut all = vec![ground, initialized, ready, containers_ready, scheduled];
    let before = previous.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    all.extend(disrupted(state, before));
    for condition in &mut all {
        condition.observed_generation = pod.metadata.generation;
        let old = before.iter().find(|old| old.type_ == condition.type_);
        condition.last_transition_time = old
            .filter(|old| old.status == condition.status)
            .and_then(|old| old.last_transition_time.clone())
            .or_else(|| Some(now.into()));
    }
    all.extend(before.iter().filter(|old| !OWNED.contains(&old.type_.as_str())).cloned());
    all
}

fn disrupted(state: &PodState, before: &[PodCondition]) -> Option<PodCondition> {
    let by_host = |verdict: &&PodVerdict| matches!(verdict.reason.as_str(), "Evicted" | TERMINATED);
    let evicted = state.verdict.as_ref().filter(by_host);
    let ours = evicted.map(|verdict| {
        why(DISRUPTION_TARGET, true, "TerminationByKubelet", Some(verdict.message.clone()))
    });
    let theirs = || before.iter().find(|old| old.type_ == DISRUPTION_TARGET).cloned();
    ours.or_else(theirs)
}

/// Whether containers could be started; says why not where the host has tried, which clients that wait for a pod show
/// sooner than an event.
fn ground(state: &PodState) -> PodCondition {
    const KIND: &str = "PodReadyToStartContainers";
    if let Volumes::Failed { message, .. } = &state.volumes {
        return why(KIND, false, "FailedMount", Some(message.clone()));
    }
    if let Sandbox::Failed { message, .. } = &state.sandbox {
        return why(KIND, false, "FailedCreatePodSandBox", Some(message.clone()));
    }
    bare(KIND, state.ip().is_some())
}

fn bare(kind: &str, holds: bool) -> PodCondition {
    let status = if holds { "True" } else { "False" };
    PodCondition { type_: kind.into(), status: status.into(), ..PodCondition::default() }
}

fn why(kind: &str, holds: bool, reason: &str, message: Option<String>) -> PodCondition {
    PodCondition { reason: Some(reason.into()), message, ..bare(kind, holds) }
}

fn initialized(pod: &Pod, state: &PodState, phase: Phase) -> PodCondition {
    const KIND: &str = "Initialized";
    if phase == Phase::Succeeded {
        return why(KIND, true, "PodCompleted", None);
    }
    let rows = || plan::containers(pod).zip(&state.containers);
    let begun = rows().any(|((role, _), container)| role == Role::App && container.was_started());
    let incomplete: Vec<&str> = rows()
        .filter(|((role, _), container)| match role {
            Role::Init => !container.ready(*role),
            Role::Sidecar => !container.started(),
            Role::App | Role::Ephemeral => false,
        })
        .map(|((_, spec), _)| spec.name.as_str())
        .collect();
    if begun || incomplete.is_empty() {
        return bare(KIND, true);
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    why(KIND, false, "ContainersNotInitialized", Some(message))
}

fn containers_ready(pod: &Pod, status: &PodStatus, phase: Phase) -> PodCondition {
    const KIND: &str = "ContainersReady";
    match phase {
        Phase::Succeeded => return why(KIND, false, "PodCompleted", None),
        Phase::Failed => return why(KIND, false, "PodFailed", None),
        Phase::Pending | Phase::Running => {}
    }
    let is_ready = |name: &str| {
        let list = |list: Option<&Vec<ContainerStatus>>| {
            list.into_iter().flatten().any(|status| status.name == name && status.ready)
        };
        list(status.container_statuses.as_ref()) || list(status.init_container_statuses.as_ref())
    };
    let unready: Vec<&str> = plan::containers(pod)
        .filter(|(role, spec)| {
            !matches!(role, Role::Init | Role::Ephemeral) && !is_ready(&spec.name)
        })
        .map(|(_, spec)| spec.name.as_str())
        .collect();
    if unready.is_empty() {
        return bare(KIND, true);
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    why(KIND, false, "ContainersNotReady", Some(message))
}

fn ready(pod: &Pod, previous: Option<&PodStatus>, containers: &PodCondition) -> PodCondition {
    if containers.status != "True" {
        return PodCondition { type_: "Ready".into(), ..containers.clone() };
    }
    let before = previous.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let missing: Vec<String> = plan::spec(pod)
        .readiness_gates
        .iter()
        .flatten()
        .filter_map(|gate| unmet(&gate.condition_type, before))
        .collect();
    if missing.is_empty() {
        return bare("Ready", true);
    }
    why("Ready", false, "ReadinessGatesNotReady", Some(missing.join(", ")))
}

fn unmet(gate: &str, conditions: &[PodCondition]) -> Option<String> {
    match conditions.iter().find(|condition| condition.type_ == gate) {
        None => Some(format!(
            "corresponding condition of pod readiness gate \"{gate}\" does not exist."
        )),
        Some(condition) if condition.status != "True" => Some(format!(
            "the status of pod readiness gate \"{gate}\" is not \"True\", but {}",
            condition.status
        )),
        Some(_) => None,
    }
}
