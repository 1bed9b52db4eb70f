//! The `status` that a pod's object is to show.
//!
//! Comes in: pod, state, what the host says of itself, the moment. Goes out: a typed `PodStatus`.
//! *Source:* kubelet's `generateAPIPodStatus` and `getPhase` (1.35).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{HostIP, Pod, PodIP, PodStatus};

use super::conditions;
use super::container_status::{container_status, is_restarting};
use super::plan::{self, Role};
use super::state::{ContainerState, Life, PodState, Sandbox, Volumes};

/// What the host contributes to every status.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// The host's own address (`status.hostIP`).
    pub host_ip: String,
}

/// Phase of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Accepted; something has still to be made.
    Pending,
    /// At least one container runs or is started again.
    Running,
    /// All containers ended well and none starts again.
    Succeeded,
    /// All containers ended, one badly, and none starts again; or the pod was condemned.
    Failed,
}

impl Phase {
    /// The word in `status.phase`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// Succeeded or Failed.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// Builds the status of `pod` at `now`; `previous` is the status its object shows already, from
/// which transition times and other writers' conditions are kept.
#[must_use]
pub fn pod_status(
    pod: &Pod,
    state: &PodState,
    previous: Option<&PodStatus>,
    host: &HostFacts,
    now: Timestamp,
) -> PodStatus {
    let phase = phase(pod, state);
    let statuses = |wanted: fn(Role) -> bool| -> Vec<_> {
        plan::containers(pod)
            .zip(&state.containers)
            .filter(|((role, _), _)| wanted(*role))
            .map(|((role, spec), container)| container_status(pod, role, spec, container, now))
            .collect()
    };
    // *Source:* kubelet's `rejectPod`, which says nothing of containers that it never looked at.
    let statuses = |wanted: fn(Role) -> bool| {
        if is_rejected(state) { Vec::new() } else { statuses(wanted) }
    };
    let init = statuses(|role| matches!(role, Role::Init | Role::Sidecar));
    let ephemeral = statuses(|role| role == Role::Ephemeral);
    let apps = statuses(|role| role == Role::App);
    let ips = shown_ips(state, previous);
    let host_ips = vec![HostIP { ip: host.host_ip.clone() }];
    let mut status = PodStatus {
        phase: Some(phase.word().into()),
        reason: state.verdict.as_ref().map(|verdict| verdict.reason.clone()),
        message: state.verdict.as_ref().map(|verdict| verdict.message.clone()),
        start_time: state.started_at.map(Into::into),
        host_ip: Some(host.host_ip.clone()),
        host_ips: Some(host_ips),
        pod_ip: ips.first().map(|first| first.ip.clone()),
        pod_ips: (!ips.is_empty()).then_some(ips),
        qos_class: Some(super::qos::class(plan::spec(pod)).into()),
        observed_generation: pod.metadata.generation,
        init_container_statuses: (!init.is_empty()).then_some(init),
        container_statuses: (!is_rejected(state)).then_some(apps),
        ephemeral_container_statuses: (!ephemeral.is_empty()).then_some(ephemeral),
        ..PodStatus::default()
    };
    status.conditions = Some(conditions::conditions(pod, state, &status, previous, phase, now));
    status
}

/// Tells whether this host never began with the pod, because it did not take it.
fn is_rejected(state: &PodState) -> bool {
    let is_untouched = state.sandbox == Sandbox::Absent && state.volumes == Volumes::Absent;
    let has_run = state.containers.iter().any(ContainerState::was_started);
    state.verdict.is_some() && is_untouched && !has_run
}

/// Decides the phase.
#[must_use]
pub fn phase(pod: &Pod, state: &PodState) -> Phase {
    let tally = Tally::of(pod, state);
    if state.verdict.is_some() && tally.live == 0 {
        return Phase::Failed;
    }
    if tally.init_failed_for_good && tally.live == 0 {
        return Phase::Failed;
    }
    if tally.apps > 0 && tally.done == tally.apps {
        if tally.live > 0 {
            return Phase::Running;
        }
        return if tally.done_badly == 0 { Phase::Succeeded } else { Phase::Failed };
    }
    if tally.init_pending
        || tally.never_started > 0
        || tally.running + tally.restarting + tally.done == 0
    {
        return Phase::Pending;
    }
    Phase::Running
}

#[derive(Default)]
struct Tally {
    apps: usize,
    running: usize,
    restarting: usize,
    done: usize,
    done_badly: usize,
    never_started: usize,
    /// Containers of any role that still have a life.
    live: usize,
    init_pending: bool,
    init_failed_for_good: bool,
}

impl Tally {
    fn of(pod: &Pod, state: &PodState) -> Self {
        let mut tally = Self::default();
        let apps_begun = plan::containers(pod)
            .zip(&state.containers)
            .any(|((role, _), container)| role == Role::App && container.was_started());
        for ((role, spec), container) in plan::containers(pod).zip(&state.containers) {
            tally.live += usize::from(container.is_live());
            let again = is_restarting(pod, role, spec, container);
            match role {
                Role::Init => tally.add_init(container, again, apps_begun),
                Role::Sidecar => tally.init_pending |= !apps_begun && !container.started(),
                Role::App => tally.add_app(container, again),
                Role::Ephemeral => {}
            }
        }
        tally
    }

    fn add_init(&mut self, container: &ContainerState, again: bool, apps_begun: bool) {
        if container.ready(Role::Init) || apps_begun {
            return;
        }
        self.init_pending = true;
        self.init_failed_for_good |= matches!(container.life, Life::Exited { .. }) && !again;
    }

    fn add_app(&mut self, container: &ContainerState, again: bool) {
        self.apps += 1;
        match &container.life {
            Life::Running(run) if run.post_start == super::state::Hook::Done => self.running += 1,
            Life::Exited { .. } if again => self.restarting += 1,
            Life::Exited { exit, .. } => {
                self.done += 1;
                self.done_badly += usize::from(exit.exit_code != 0);
            }
            Life::Running(_) | Life::Waiting | Life::Blocked { .. } | Life::Starting => {
                if container.last.is_some() {
                    self.restarting += 1;
                } else {
                    self.never_started += 1;
                }
            }
        }
    }
}

/// The pod's addresses; they stay in the status of a pod that has ended.
fn shown_ips(state: &PodState, previous: Option<&PodStatus>) -> Vec<PodIP> {
    match &state.sandbox {
        Sandbox::Removing | Sandbox::Removed => {
            previous.and_then(|status| status.pod_ips.clone()).unwrap_or_default()
        }
        Sandbox::Ready { ips } => ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect(),
        Sandbox::Absent | Sandbox::Creating | Sandbox::Failed { .. } => Vec::new(),
    }
}
