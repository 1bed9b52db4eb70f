//! What is to be done about a pod now: pod and state in, ordered actions and a wake time out.
//!
//! Total and without effects. The edge calls [`begin`] for every action before it carries it out,
//! so that asking again at the same moment gives no action twice.
//!
//! *Source:* kubelet's `computePodActions` and its stop order; side-cars as in KEP-753.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};

use super::notes::StopReason;
use super::plan::{self, Index, Role};
use super::probe::{ProbeKind, Verdict};
use super::restart::{after, restarts};
use super::state::{
    ContainerState, Hook, Image, Life, PULL_ERROR_SHOWN_SECONDS, PodState, PodVerdict, Sandbox,
    Volumes,
};

/// Seconds that an evicted pod gets. *Source:* kubelet's `immediateEvictionGracePeriodSeconds`.
const EVICTED_GRACE_SECONDS: u64 = 1;
/// Seconds that a pod gets when its object vanished without any notice.
pub const GONE_GRACE_SECONDS: u64 = 2;

/// One thing to do for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the network namespace and give the pod its address.
    CreateSandbox,
    /// Fill all volumes.
    MountVolumes,
    /// See that the image is here and prepared, by the container's pull policy.
    EnsureImage(Index),
    /// Start the container; its number is the restart count that it will have.
    Start(Index),
    /// Run the `postStart` hook.
    PostStart(Index),
    /// Try a probe once.
    Probe(Index, ProbeKind),
    /// Run the `preStop` hook and stop the container, all before `deadline`.
    Stop {
        /// The container.
        index: Index,
        /// Why.
        reason: StopReason,
        /// The moment by which it must be over.
        deadline: Timestamp,
    },
    /// The pod must not run any more.
    Condemn(PodVerdict),
    /// Take the network namespace away and give the address back.
    RemoveSandbox,
    /// Take all volumes away.
    RemoveVolumes,
    /// Delete the object with a grace period of zero.
    Finalize,
}

/// What to do now, and when to look again if nothing happens before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are to be begun.
    pub actions: Vec<Action>,
    /// The next moment at which time alone changes something.
    pub wake: Option<Timestamp>,
}

impl Plan {
    fn wake_at(&mut self, moment: Timestamp) {
        self.wake = Some(self.wake.map_or(moment, |wake| wake.min(moment)));
    }
}

/// Decides what to do about `pod`, of which `state` is known, at `now`.
#[must_use]
pub fn reconcile(pod: &Pod, state: &PodState, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if let Some(verdict) = overdue(pod, state, now, &mut plan) {
        plan.actions.push(Action::Condemn(verdict));
        return plan;
    }
    match goal(pod, state) {
        Goal::Run => keep_running(pod, state, now, &mut plan),
        Goal::End => end(pod, state, now, &mut plan),
    }
    plan
}

/// Takes note that `action` is under way.
pub fn begin(state: &mut PodState, action: &Action) {
    match action {
        Action::CreateSandbox => state.sandbox = Sandbox::Creating,
        Action::MountVolumes => state.volumes = Volumes::Mounting,
        Action::RemoveSandbox => state.sandbox = Sandbox::Removing,
        Action::RemoveVolumes => state.volumes = Volumes::Removing,
        Action::Finalize => state.finalized = true,
        Action::Condemn(_) => {}
        Action::EnsureImage(index)
        | Action::Start(index)
        | Action::PostStart(index)
        | Action::Probe(index, _)
        | Action::Stop { index, .. } => {
            if let Some(container) = state.containers.get_mut(*index) {
                begin_container(container, action);
            }
        }
    }
}

/// Tells whether the pod has nothing more to run, now or ever.
#[must_use]
pub fn is_over(pod: &Pod, state: &PodState) -> bool {
    let asked = goal(pod, state) == Goal::End;
    asked && state.containers.iter().all(|container| !container.is_live())
}

fn begin_container(container: &mut ContainerState, action: &Action) {
    match action {
        Action::EnsureImage(_) => container.image = Image::Pulling,
        Action::Start(_) => container.life = Life::Starting,
        Action::PostStart(_) => {
            if let Life::Running(run) = &mut container.life {
                run.post_start = Hook::Running;
            }
        }
        Action::Probe(_, kind) => {
            for probe in container.probes.iter_mut().filter(|probe| probe.kind == *kind) {
                probe.in_flight = true;
            }
        }
        Action::Stop { deadline, .. } => {
            if let Life::Running(run) = &mut container.life {
                run.stop_by = Some(*deadline);
            }
        }
        Action::CreateSandbox
        | Action::MountVolumes
        | Action::Condemn(_)
        | Action::RemoveSandbox
        | Action::RemoveVolumes
        | Action::Finalize => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    Run,
    End,
}

fn goal(pod: &Pod, state: &PodState) -> Goal {
    let told = state.deletion_seen.is_some() || state.object_gone || state.verdict.is_some();
    if told || init_failed(pod, state) || apps_done(pod, state) { Goal::End } else { Goal::Run }
}

fn rows<'a>(
    pod: &'a Pod,
    state: &'a PodState,
) -> impl Iterator<Item = (Index, Role, &'a Container, &'a ContainerState)> {
    plan::containers(pod)
        .zip(&state.containers)
        .enumerate()
        .map(|(index, ((role, spec), container))| (index, role, spec, container))
}

/// An init container failed and its policy does not let it try again.
fn init_failed(pod: &Pod, state: &PodState) -> bool {
    rows(pod, state).any(|(_, role, spec, container)| match &container.life {
        Life::Exited { exit, .. } if role == Role::Init && exit.exit_code != 0 => {
            !restarts(plan::spec(pod), role, spec, exit.exit_code)
        }
        Life::Exited { .. }
        | Life::Waiting
        | Life::Blocked { .. }
        | Life::Starting
        | Life::Running(_) => false,
    })
}

/// Every app container ended and none is to start again.
fn apps_done(pod: &Pod, state: &PodState) -> bool {
    let mut apps = rows(pod, state).filter(|(_, role, _, _)| *role == Role::App).peekable();
    apps.peek().is_some()
        && apps.all(|(_, role, spec, container)| ended(pod, role, spec, container))
}

fn ended(pod: &Pod, role: Role, spec: &Container, container: &ContainerState) -> bool {
    match &container.life {
        Life::Exited { exit, .. } => !restarts(plan::spec(pod), role, spec, exit.exit_code),
        Life::Waiting | Life::Blocked { .. } | Life::Starting | Life::Running(_) => false,
    }
}

fn overdue(pod: &Pod, state: &PodState, now: Timestamp, plan: &mut Plan) -> Option<PodVerdict> {
    let seconds = u64::try_from(plan::spec(pod).active_deadline_seconds?).ok()?;
    if state.verdict.is_some() || goal(pod, state) == Goal::End {
        return None;
    }
    let deadline = after(state.started_at?, seconds);
    if now < deadline {
        plan.wake_at(deadline);
        return None;
    }
    Some(PodVerdict {
        reason: "DeadlineExceeded".into(),
        message: "Pod was active on the node longer than the specified deadline".into(),
        until: None,
    })
}

fn keep_running(pod: &Pod, state: &PodState, now: Timestamp, plan: &mut Plan) {
    match &state.volumes {
        Volumes::Absent => plan.actions.push(Action::MountVolumes),
        Volumes::Failed { retry_at, .. } => when(*retry_at, now, plan, Action::MountVolumes),
        Volumes::Mounting | Volumes::Mounted | Volumes::Removing | Volumes::Removed => {}
    }
    // *Source:* kubelet's `SyncPod`: nothing is begun for a pod that waits for its volumes.
    let mounted = state.volumes == Volumes::Mounted;
    match &state.sandbox {
        Sandbox::Absent if mounted => plan.actions.push(Action::CreateSandbox),
        Sandbox::Failed { retry_at, .. } => when(*retry_at, now, plan, Action::CreateSandbox),
        Sandbox::Absent
        | Sandbox::Creating
        | Sandbox::Ready { .. }
        | Sandbox::Removing
        | Sandbox::Removed => {}
    }
    let ground = state.ip().is_some() && mounted;
    let initialized = apps_begun(pod, state);
    let mut open = true;
    let mut in_order = true;
    for (index, role, spec, container) in rows(pod, state) {
        if mounted && (open || role == Role::Ephemeral) {
            let may_start = ground && (role != Role::App || in_order);
            advance(pod, index, role, spec, container, may_start, now, plan);
        }
        care(pod, index, spec, container, now, plan);
        match role {
            Role::Init => open &= initialized || container.ready(role),
            Role::Sidecar => open &= initialized || container.started(),
            Role::App => in_order &= !holds_next(container),
            Role::Ephemeral => {}
        }
    }
}

/// An app container has been started, so the init phase is behind the pod.
fn apps_begun(pod: &Pod, state: &PodState) -> bool {
    rows(pod, state).any(|(_, role, _, container)| role == Role::App && container.was_started())
}

/// The app container is on its way, and the next one starts only after it.
fn holds_next(container: &ContainerState) -> bool {
    match &container.life {
        Life::Waiting => !matches!(container.image, Image::Failed { .. }),
        Life::Starting => true,
        Life::Running(run) => matches!(run.post_start, Hook::Due | Hook::Running),
        Life::Blocked { .. } | Life::Exited { .. } => false,
    }
}

/// Brings a container that does not run towards running.
#[expect(clippy::too_many_arguments, reason = "one step of the loop above, which owns all of them")]
fn advance(
    pod: &Pod,
    index: Index,
    role: Role,
    spec: &Container,
    container: &ContainerState,
    may_start: bool,
    now: Timestamp,
    plan: &mut Plan,
) {
    let free_at = match &container.life {
        Life::Waiting => now,
        Life::Blocked { retry_at, .. } => *retry_at,
        Life::Exited { exit, retry_at } => {
            let initialized_init = role == Role::Init && exit.exit_code == 0;
            if initialized_init || !restarts(plan::spec(pod), role, spec, exit.exit_code) {
                return;
            }
            *retry_at
        }
        Life::Starting | Life::Running(_) => return,
    };
    if free_at > now {
        return plan.wake_at(free_at);
    }
    match &container.image {
        Image::Unknown => plan.actions.push(Action::EnsureImage(index)),
        Image::Failed { retry_at, failed_at, .. } => {
            when(*retry_at, now, plan, Action::EnsureImage(index));
            let shown = after(*failed_at, PULL_ERROR_SHOWN_SECONDS);
            if now < shown {
                plan.wake_at(shown);
            }
        }
        Image::Ready { .. } if may_start => plan.actions.push(Action::Start(index)),
        Image::Ready { .. } | Image::Pulling => {}
    }
}

/// Looks after a container that runs: its hook, its probes, and their verdicts.
fn care(
    pod: &Pod,
    index: Index,
    spec: &Container,
    container: &ContainerState,
    now: Timestamp,
    plan: &mut Plan,
) {
    let Some(run) = container.run() else { return };
    if run.stop_by.is_some() {
        return;
    }
    if let Some(reason) = must_stop(spec, container) {
        let deadline = after(now, restart_grace(pod, spec, reason));
        return plan.actions.push(Action::Stop { index, reason, deadline });
    }
    if run.post_start == Hook::Due {
        plan.actions.push(Action::PostStart(index));
    }
    probe(index, container, now, plan);
}

fn must_stop(spec: &Container, container: &ContainerState) -> Option<StopReason> {
    let failed = |kind| container.verdict_of(kind) == Verdict::Failure;
    let wanted = spec.image.as_deref().unwrap_or_default();
    if container.run().is_some_and(|run| run.image != wanted) {
        return Some(StopReason::Changed);
    }
    if container.run().is_some_and(|run| run.post_start == Hook::Failed) {
        return Some(StopReason::PostStart);
    }
    if failed(ProbeKind::Startup) {
        return Some(StopReason::Startup);
    }
    failed(ProbeKind::Liveness).then_some(StopReason::Liveness)
}

fn probe(index: Index, container: &ContainerState, now: Timestamp, plan: &mut Plan) {
    let startup = container.verdict_of(ProbeKind::Startup);
    for state in &container.probes {
        let held = match state.kind {
            ProbeKind::Startup => startup == Verdict::Success,
            ProbeKind::Liveness | ProbeKind::Readiness => startup != Verdict::Success,
        };
        if !held && !state.in_flight {
            when(state.due, now, plan, Action::Probe(index, state.kind));
        }
    }
}

/// Seconds that a container gets to stop before it is started again.
fn restart_grace(pod: &Pod, spec: &Container, reason: StopReason) -> u64 {
    let probe = match reason {
        StopReason::Liveness => spec.liveness_probe.as_ref(),
        StopReason::Startup => spec.startup_probe.as_ref(),
        StopReason::PodEnds | StopReason::PostStart | StopReason::Changed => None,
    };
    let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
    grace(own.or(plan::spec(pod).termination_grace_period_seconds).unwrap_or(30))
}

/// Gives a grace period in seconds; one below zero is a second, as the API server and the kubelet have it.
fn grace(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(1)
}

/// Stops app and init containers together, then side-cars last to first, then clears up.
fn end(pod: &Pod, state: &PodState, now: Timestamp, plan: &mut Plan) {
    let deadline = deadline(pod, state, now);
    let live = |wanted: fn(Role) -> bool| {
        rows(pod, state).filter(move |(_, role, _, container)| wanted(*role) && container.is_live())
    };
    let mut waiting = false;
    for (index, _, _, container) in live(|role| role != Role::Sidecar) {
        waiting = true;
        stop(index, container, deadline, plan);
    }
    if waiting {
        return;
    }
    if let Some((index, _, _, container)) = live(|role| role == Role::Sidecar).last() {
        return stop(index, container, deadline, plan);
    }
    clear_up(state, plan);
}

fn stop(index: Index, container: &ContainerState, deadline: Timestamp, plan: &mut Plan) {
    let Some(run) = container.run() else { return };
    if run.stop_by.is_none_or(|by| deadline < by) {
        plan.actions.push(Action::Stop { index, reason: StopReason::PodEnds, deadline });
    }
}

fn deadline(pod: &Pod, state: &PodState, now: Timestamp) -> Timestamp {
    let spec_grace = plan::spec(pod).termination_grace_period_seconds.unwrap_or(30);
    let asked = state.deletion_seen.map(|seen| {
        let given = pod.metadata.deletion_grace_period_seconds.unwrap_or(spec_grace);
        after(seen, grace(given))
    });
    let gone = state.object_gone.then(|| after(now, GONE_GRACE_SECONDS));
    let evicted = state.verdict.as_ref().is_some_and(|verdict| verdict.reason == "Evicted");
    let evicted = evicted.then(|| after(now, EVICTED_GRACE_SECONDS));
    let ended = state.verdict.as_ref().and_then(|verdict| verdict.until);
    let ended = ended.map(|until| until.min(after(now, grace(spec_grace))));
    asked
        .into_iter()
        .chain(gone)
        .chain(evicted)
        .chain(ended)
        .min()
        .unwrap_or_else(|| after(now, grace(spec_grace)))
}

fn clear_up(state: &PodState, plan: &mut Plan) {
    match &state.sandbox {
        Sandbox::Ready { .. } => plan.actions.push(Action::RemoveSandbox),
        Sandbox::Creating | Sandbox::Removing => return,
        Sandbox::Absent | Sandbox::Failed { .. } | Sandbox::Removed => {}
    }
    match &state.volumes {
        Volumes::Mounted | Volumes::Failed { .. } => plan.actions.push(Action::RemoveVolumes),
        Volumes::Mounting | Volumes::Removing => return,
        Volumes::Absent | Volumes::Removed => {}
    }
    let clear = !matches!(state.sandbox, Sandbox::Ready { .. })
        && !matches!(state.volumes, Volumes::Mounted | Volumes::Failed { .. });
    if clear && state.deletion_seen.is_some() && !state.object_gone && !state.finalized {
        plan.actions.push(Action::Finalize);
    }
}

fn when(due: Timestamp, now: Timestamp, plan: &mut Plan, action: Action) {
    if due <= now {
        plan.actions.push(action);
    } else {
        plan.wake_at(due);
    }
}

/// Gives the time left until `deadline`, zero when it has passed.
#[must_use]
pub fn time_left(deadline: Timestamp, now: Timestamp) -> std::time::Duration {
    let left = deadline.duration_since(now).max(SignedDuration::ZERO);
    left.unsigned_abs()
}
