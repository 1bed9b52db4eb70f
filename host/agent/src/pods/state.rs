//! What this host knows about one pod, and how each piece of news changes it.
//!
//! Comes in: [`PodEvent`]s from the edge, with the moment they are handled. Goes out: the changed
//! state and the [`Note`]s to tell the pod's owner. Never here: IO, clock, decisions on what to do
//! next (those are in `reconcile`).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::notes;
use super::plan::{self, Index, Role};
use super::probe::{Outcome, ProbeKind, ProbeState, Verdict};
use super::restart::{Backoff, after};

/// Seconds between two tries of something that failed outside of a container: a mount, a sandbox,
/// a container whose configuration is missing.
pub const RETRY_SECONDS: u64 = 10;

/// All that is known about one pod of this host.
#[derive(Clone, Debug, Default)]
pub struct PodState {
    /// The pod's network namespace.
    pub sandbox: Sandbox,
    /// The pod's volumes, all together.
    pub volumes: Volumes,
    /// One entry per container, in the order of `plan::containers`.
    pub containers: Vec<ContainerState>,
    /// Set once the pod must not run (any more): refused, over its deadline, evicted.
    pub verdict: Option<PodVerdict>,
    /// When this host first saw the pod (`status.startTime`).
    pub started_at: Option<Timestamp>,
    /// When this host first saw that the pod is to be deleted.
    pub deletion_seen: Option<Timestamp>,
    /// The object is gone from the API server, whatever still runs here.
    pub object_gone: bool,
    /// The final deletion has been asked for, or has been done.
    pub finalized: bool,
}

/// Why a pod must not run (`status.reason` and `status.message` of a Failed pod).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PodVerdict {
    /// CamelCase word: `OutOfcpu`, `DeadlineExceeded`, `Evicted`, `Terminated`.
    pub reason: String,
    /// The sentence for people.
    pub message: String,
    /// The moment by which its containers must be over, where that is before the end of the pod's own
    /// grace period.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

/// Life of the pod's sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// None yet.
    #[default]
    Absent,
    /// Being made.
    Creating,
    /// There, with the pod's addresses.
    Ready {
        /// The pod's IP addresses, the first being `podIP`; there is one at least.
        ips: Vec<String>,
    },
    /// Could not be made; tried again at `retry_at`.
    Failed {
        /// What went wrong.
        message: String,
        /// The moment of the next try.
        retry_at: Timestamp,
    },
    /// Being removed.
    Removing,
    /// Gone for good.
    Removed,
}

/// Life of the pod's volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Volumes {
    /// None yet.
    #[default]
    Absent,
    /// Being filled.
    Mounting,
    /// Ready for containers.
    Mounted,
    /// One could not be filled; tried again at `retry_at`.
    Failed {
        /// What went wrong.
        message: String,
        /// The moment of the next try.
        retry_at: Timestamp,
    },
    /// Being removed.
    Removing,
    /// Gone for good.
    Removed,
}

/// A reason word and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// CamelCase word, shown as the waiting reason.
    pub reason: String,
    /// The sentence for people.
    pub message: String,
}

/// What is known about the image of one container's next or current life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Image {
    /// Not looked at yet for this life.
    #[default]
    Unknown,
    /// Being looked up or pulled.
    Pulling,
    /// On this host and prepared.
    Ready {
        /// Repository and digest.
        image_id: String,
    },
    /// Could not be had; tried again at `retry_at`.
    Failed {
        /// What went wrong.
        fault: Fault,
        /// When it went wrong.
        failed_at: Timestamp,
        /// The moment of the next try.
        retry_at: Timestamp,
    },
}

/// Seconds for which a failed pull is shown as such, before it is shown as a back-off.
pub const PULL_ERROR_SHOWN_SECONDS: u64 = 2;

/// Life of one container.
#[derive(Clone, Debug, Default)]
pub enum Life {
    /// Not started yet.
    #[default]
    Waiting,
    /// Could not be started; tried again at `retry_at`.
    Blocked {
        /// What went wrong.
        fault: Fault,
        /// The moment of the next try.
        retry_at: Timestamp,
    },
    /// Being started.
    Starting,
    /// Running.
    Running(Run),
    /// Ended; may start again from `retry_at` if its policy says so.
    Exited {
        /// How it ended.
        exit: Terminated,
        /// The end of the back-off.
        retry_at: Timestamp,
    },
}

/// A running container.
#[derive(Clone, Debug)]
pub struct Run {
    /// Identifier of this life, without the `wasmtime://`.
    pub id: String,
    /// The image as the pod named it when it started.
    pub image: String,
    /// Repository and digest of its image.
    pub image_id: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Its `postStart` hook.
    pub post_start: Hook,
    /// Set once it has been told to stop: the moment by which it must be over.
    pub stop_by: Option<Timestamp>,
}

/// Life of a `postStart` hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// To be run.
    Due,
    /// Under way.
    Running,
    /// Over, or never asked for.
    Done,
    /// Failed; the container is to be stopped.
    Failed,
}

/// How one life of a container ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Terminated {
    /// Exit code; 0 is success.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `ContainerStatusUnknown`, `StartError`.
    pub reason: String,
    /// The termination message; empty for none.
    pub message: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Identifier of that life, without the `wasmtime://`.
    pub id: String,
}

/// All that is known about one container.
#[derive(Clone, Debug, Default)]
pub struct ContainerState {
    /// Its image.
    pub image: Image,
    /// Its life.
    pub life: Life,
    /// How often it was started again; also the number of its current log file.
    pub restart_count: u32,
    /// How the life before the current one ended.
    pub last: Option<Terminated>,
    /// Its back-off.
    pub backoff: Backoff,
    /// The probes of the current life.
    pub probes: Vec<ProbeState>,
    /// Image of the life before; empty when there was none.
    pub last_image_id: String,
    /// Failures in a row to get the image, over tries.
    pub image_failures: u32,
}

/// A piece of news about a pod.
#[derive(Clone, Debug)]
pub enum PodEvent {
    /// The sandbox is there.
    SandboxReady {
        /// The pod's IP addresses, the first being `podIP`; there is one at least.
        ips: Vec<String>,
    },
    /// The sandbox could not be made.
    SandboxFailed {
        /// What went wrong.
        message: String,
    },
    /// The sandbox is gone.
    SandboxRemoved,
    /// All volumes are filled.
    VolumesMounted,
    /// A volume could not be filled.
    VolumesFailed {
        /// The volume.
        volume: String,
        /// What went wrong.
        message: String,
    },
    /// The volumes are gone.
    VolumesRemoved,
    /// The image is on this host and prepared.
    ImageReady {
        /// The container.
        index: Index,
        /// Repository and digest.
        image_id: String,
        /// The sentence for the `Pulled` event.
        note: String,
    },
    /// The image is being fetched from a registry.
    ImagePulling {
        /// The container.
        index: Index,
    },
    /// The image could not be had.
    ImageFailed {
        /// The container.
        index: Index,
        /// What went wrong.
        fault: Fault,
    },
    /// The container runs.
    Started {
        /// The container.
        index: Index,
        /// Identifier of this life.
        id: String,
        /// When it started.
        at: Timestamp,
    },
    /// The container could not be started.
    StartFailed {
        /// The container.
        index: Index,
        /// What went wrong.
        fault: Fault,
    },
    /// The `postStart` hook is over.
    PostStartDone {
        /// The container.
        index: Index,
        /// The life it belonged to.
        id: String,
        /// The error, if it failed.
        failure: Option<String>,
    },
    /// The `preStop` hook failed; the container is stopped all the same.
    PreStopFailed {
        /// The container.
        index: Index,
        /// Why, with what its command wrote.
        message: String,
    },
    /// The container ended.
    Exited {
        /// The container.
        index: Index,
        /// How.
        exit: Terminated,
    },
    /// A probe gave a result.
    Probed {
        /// The container.
        index: Index,
        /// The life it belonged to.
        id: String,
        /// Which probe.
        kind: ProbeKind,
        /// What it found.
        outcome: Outcome,
    },
    /// An object that the pod refers to has changed: whatever waits for it is tried at once.
    ConfigChanged,
    /// The pod must not run (any more).
    Condemned(PodVerdict),
    /// The API server refused or could not be asked to delete the object; asked again.
    FinalizeFailed,
}

/// Something to tell the pod's owner: becomes a Kubernetes Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// `Warning` when true, `Normal` when false.
    pub warning: bool,
    /// CamelCase word from a fixed list.
    pub reason: &'static str,
    /// The sentence.
    pub message: String,
    /// The container it is about, if any.
    pub container: Option<Index>,
}

impl PodState {
    /// The state of a pod that this host sees for the first time.
    #[must_use]
    pub fn new(pod: &Pod, now: Timestamp) -> Self {
        let containers = plan::containers(pod).map(|_| ContainerState::default()).collect();
        Self { containers, started_at: Some(now), ..Self::default() }
    }

    /// Takes note of what the pod's object says now.
    pub fn observe(&mut self, pod: &Pod, now: Timestamp) {
        if pod.metadata.deletion_timestamp.is_some() && self.deletion_seen.is_none() {
            self.deletion_seen = Some(now);
        }
        // Ephemeral containers come while the pod runs, and never go.
        let count = plan::containers(pod).count();
        if self.containers.len() < count {
            self.containers.resize_with(count, ContainerState::default);
        }
    }

    /// Takes one piece of news, at `now`; gives what the owner is to be told.
    pub fn apply(&mut self, pod: &Pod, event: PodEvent, now: Timestamp) -> Vec<Note> {
        let retry_at = after(now, RETRY_SECONDS);
        match event {
            PodEvent::SandboxReady { ips } => self.sandbox = Sandbox::Ready { ips },
            PodEvent::SandboxFailed { message } => {
                let note = notes::sandbox_failed(&message);
                self.sandbox = Sandbox::Failed { message, retry_at };
                return vec![note];
            }
            PodEvent::SandboxRemoved => self.sandbox = Sandbox::Removed,
            PodEvent::VolumesMounted => self.volumes = Volumes::Mounted,
            PodEvent::VolumesFailed { volume, message } => {
                let note = notes::mount_failed(&volume, &message);
                self.volumes = Volumes::Failed { message: note.message.clone(), retry_at };
                return vec![note];
            }
            PodEvent::VolumesRemoved => self.volumes = Volumes::Removed,
            PodEvent::ConfigChanged => self.retry_now(now),
            PodEvent::Condemned(verdict) => {
                let note = notes::condemned(&verdict);
                let first = self.verdict.is_none();
                self.verdict.get_or_insert(verdict);
                return first.then_some(note).into_iter().collect();
            }
            PodEvent::FinalizeFailed => self.finalized = false,
            PodEvent::ImagePulling { index }
            | PodEvent::ImageReady { index, .. }
            | PodEvent::ImageFailed { index, .. }
            | PodEvent::Started { index, .. }
            | PodEvent::StartFailed { index, .. }
            | PodEvent::PostStartDone { index, .. }
            | PodEvent::PreStopFailed { index, .. }
            | PodEvent::Exited { index, .. }
            | PodEvent::Probed { index, .. } => {
                return self.apply_container(pod, index, event, now);
            }
        }
        Vec::new()
    }

    /// Gives the pod's first address once it has one.
    #[must_use]
    pub fn ip(&self) -> Option<&str> {
        self.ips().first().map(String::as_str)
    }

    /// Gives the pod's addresses; none before it has any.
    #[must_use]
    pub fn ips(&self) -> &[String] {
        match &self.sandbox {
            Sandbox::Ready { ips } => ips,
            Sandbox::Absent
            | Sandbox::Creating
            | Sandbox::Failed { .. }
            | Sandbox::Removing
            | Sandbox::Removed => &[],
        }
    }

    fn retry_now(&mut self, now: Timestamp) {
        if let Volumes::Failed { retry_at, .. } = &mut self.volumes {
            *retry_at = now;
        }
        for container in &mut self.containers {
            if let Life::Blocked { retry_at, .. } = &mut container.life {
                *retry_at = now;
            }
        }
    }

    fn apply_container(
        &mut self,
        pod: &Pod,
        index: Index,
        event: PodEvent,
        now: Timestamp,
    ) -> Vec<Note> {
        let Some((role, spec)) = plan::containers(pod).nth(index) else { return Vec::new() };
        let Some(state) = self.containers.get_mut(index) else { return Vec::new() };
        let known = super::container::Known { pod, role, spec, index };
        state.apply(&known, event, now)
    }
}

impl ContainerState {
    /// Gives the running life, if there is one.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        match &self.life {
            Life::Running(run) => Some(run),
            Life::Waiting | Life::Blocked { .. } | Life::Starting | Life::Exited { .. } => None,
        }
    }

    /// Tells whether the container has a life that ends only by an event.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.life, Life::Running(_) | Life::Starting)
    }

    /// Tells whether it was ever started.
    #[must_use]
    pub fn was_started(&self) -> bool {
        match &self.life {
            Life::Running(_) | Life::Exited { .. } => true,
            Life::Waiting | Life::Blocked { .. } | Life::Starting => self.last.is_some(),
        }
    }

    /// Tells whether it runs, its `postStart` is over and its startup probe has succeeded.
    #[must_use]
    pub fn started(&self) -> bool {
        let ran = self.run().is_some_and(|run| run.post_start == Hook::Done);
        ran && self.verdict_of(ProbeKind::Startup) == Verdict::Success
    }

    /// Tells whether it is ready: started, and its readiness probe (if any) succeeds. A regular
    /// init container is ready once it has succeeded.
    #[must_use]
    pub fn ready(&self, role: Role) -> bool {
        match (role, &self.life) {
            (Role::Init, Life::Exited { exit, .. }) => exit.exit_code == 0,
            (Role::Init, Life::Waiting | Life::Blocked { .. } | Life::Starting)
            | (Role::Init, Life::Running(_)) => false,
            (Role::Ephemeral, _) => false,
            (Role::Sidecar | Role::App, _) => {
                self.started() && self.verdict_of(ProbeKind::Readiness) == Verdict::Success
            }
        }
    }

    /// Gives the standing verdict of a probe; a probe that was not declared has succeeded.
    #[must_use]
    pub fn verdict_of(&self, kind: ProbeKind) -> Verdict {
        self.probes
            .iter()
            .find(|probe| probe.kind == kind)
            .map_or(Verdict::Success, |probe| probe.verdict)
    }
}
