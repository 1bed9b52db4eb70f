//! The `ContainerStatus` of one container.
//!
//! *Source:* kubelet's `convertToAPIContainerStatuses`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, Pod, VolumeMountStatus,
};

use super::plan::{self, PodKey, Role};
use super::restart::{after, restarts};
use super::state::{ContainerState, Hook, Image, Life, PULL_ERROR_SHOWN_SECONDS, Run, Terminated};

/// Builds the status of one container at `now`.
#[must_use]
pub fn container_status(
    pod: &Pod,
    role: Role,
    spec: &Container,
    state: &ContainerState,
    now: Timestamp,
) -> ContainerStatus {
    let shown = shown(pod, role, spec, state, now);
    let last = match shown {
        Shown::Terminated(_) => None,
        Shown::Running(_) | Shown::Waiting(_) => state.last.as_ref(),
    };
    let id = match (&shown, last) {
        (Shown::Running(run), _) => Some(run.id.as_str()),
        (Shown::Terminated(exit), _) => Some(exit.id.as_str()),
        (Shown::Waiting(_), Some(exit)) => Some(exit.id.as_str()),
        (Shown::Waiting(_), None) => None,
    };
    ContainerStatus {
        name: spec.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        image_id: image_id(state),
        container_id: id.filter(|id| !id.is_empty()).map(container_id),
        ready: state.ready(role),
        started: Some(state.started()),
        restart_count: i32::try_from(state.restart_count).unwrap_or(i32::MAX),
        last_state: last
            .map(|exit| ApiState { terminated: Some(terminated(exit)), ..ApiState::default() }),
        resources: spec.resources.clone(),
        allocated_resources: spec.resources.as_ref().and_then(|needs| needs.requests.clone()),
        volume_mounts: volume_mounts(spec),
        state: Some(shown.into_api()),
        ..ContainerStatus::default()
    }
}

/// Tells whether an ended container is to start again.
#[must_use]
pub fn is_restarting(pod: &Pod, role: Role, spec: &Container, state: &ContainerState) -> bool {
    let ending = pod.metadata.deletion_timestamp.is_some();
    match &state.life {
        Life::Exited { exit, .. } => {
            !ending && restarts(plan::spec(pod), role, spec, exit.exit_code)
        }
        Life::Waiting | Life::Blocked { .. } | Life::Starting | Life::Running(_) => false,
    }
}

/// Writes the identifier of a life as statuses and clients do.
#[must_use]
pub fn container_id(id: &str) -> String {
    format!("wasmtime://{id}")
}

enum Shown<'a> {
    Waiting(ContainerStateWaiting),
    Running(&'a Run),
    Terminated(&'a Terminated),
}

impl Shown<'_> {
    fn into_api(self) -> ApiState {
        match self {
            Self::Waiting(waiting) => ApiState { waiting: Some(waiting), ..ApiState::default() },
            Self::Running(run) => {
                let running = ContainerStateRunning { started_at: Some(run.started_at.into()) };
                ApiState { running: Some(running), ..ApiState::default() }
            }
            Self::Terminated(exit) => {
                ApiState { terminated: Some(terminated(exit)), ..ApiState::default() }
            }
        }
    }
}

fn shown<'a>(
    pod: &Pod,
    role: Role,
    spec: &Container,
    state: &'a ContainerState,
    now: Timestamp,
) -> Shown<'a> {
    match &state.life {
        Life::Running(run) if run.post_start != Hook::Done && run.stop_by.is_none() => {
            Shown::Waiting(default_waiting(pod))
        }
        Life::Running(run) => Shown::Running(run),
        Life::Blocked { fault, .. } => Shown::Waiting(waiting(&fault.reason, &fault.message)),
        Life::Exited { exit, retry_at } => {
            if !is_restarting(pod, role, spec, state) {
                return Shown::Terminated(exit);
            }
            if *retry_at > now {
                return Shown::Waiting(crash_loop(pod, spec, state));
            }
            image_fault(spec, state, now).map_or(Shown::Terminated(exit), Shown::Waiting)
        }
        Life::Waiting | Life::Starting => {
            Shown::Waiting(image_fault(spec, state, now).unwrap_or_else(|| default_waiting(pod)))
        }
    }
}

fn default_waiting(pod: &Pod) -> ContainerStateWaiting {
    let reason = if plan::init_count(pod) > 0 { "PodInitializing" } else { "ContainerCreating" };
    ContainerStateWaiting { reason: Some(reason.into()), message: None }
}

fn waiting(reason: &str, message: &str) -> ContainerStateWaiting {
    ContainerStateWaiting { reason: Some(reason.into()), message: Some(message.into()) }
}

fn crash_loop(pod: &Pod, spec: &Container, state: &ContainerState) -> ContainerStateWaiting {
    let seconds = state.backoff.last_delay_seconds();
    let message = format!(
        "back-off {} restarting failed container={} pod={}",
        go_duration(seconds),
        spec.name,
        PodKey::of(pod)
    );
    waiting("CrashLoopBackOff", &message)
}

/// Prints whole seconds as Go prints a duration: `10s`, `1m20s`, `5m0s`.
pub(crate) fn go_duration(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

fn image_fault(
    spec: &Container,
    state: &ContainerState,
    now: Timestamp,
) -> Option<ContainerStateWaiting> {
    let Image::Failed { fault, failed_at, .. } = &state.image else { return None };
    let fresh = now < after(*failed_at, PULL_ERROR_SHOWN_SECONDS);
    if fault.reason != "ErrImagePull" || fresh {
        return Some(waiting(&fault.reason, &fault.message));
    }
    let image = spec.image.as_deref().unwrap_or_default();
    let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {}", fault.message);
    Some(waiting("ImagePullBackOff", &message))
}

fn image_id(state: &ContainerState) -> String {
    match (&state.life, &state.image) {
        (Life::Running(run), _) => run.image_id.clone(),
        (Life::Starting, Image::Ready { image_id }) => image_id.clone(),
        (
            Life::Waiting | Life::Blocked { .. } | Life::Starting | Life::Exited { .. },
            Image::Unknown | Image::Pulling | Image::Failed { .. } | Image::Ready { .. },
        ) => state.last_image_id.clone(),
    }
}

fn terminated(exit: &Terminated) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: exit.exit_code,
        reason: Some(exit.reason.clone()),
        message: (!exit.message.is_empty()).then(|| exit.message.clone()),
        started_at: Some(exit.started_at.into()),
        finished_at: Some(exit.finished_at.into()),
        container_id: (!exit.id.is_empty()).then(|| container_id(&exit.id)),
        ..ContainerStateTerminated::default()
    }
}

fn volume_mounts(spec: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts: Vec<_> = spec
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: mount.read_only,
            recursive_read_only: mount
                .read_only
                .unwrap_or(false)
                .then(|| mount.recursive_read_only.clone().unwrap_or("Disabled".into())),
        })
        .collect();
    (!mounts.is_empty()).then_some(mounts)
}
