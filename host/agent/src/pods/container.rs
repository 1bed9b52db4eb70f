//! How a piece of news changes one container.
//!
//! Never here: IO, clock, the pod as a whole (that is `state`).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::notes;
use super::plan::{self, Index, Role};
use super::probe::{ProbeKind, ProbeState};
use super::restart::{after, delay_seconds, restarts};
use super::state::{
    ContainerState, Fault, Hook, Image, Life, Note, PodEvent, RETRY_SECONDS, Run, Terminated,
};

/// What stands fixed while one container's news is handled.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) role: Role,
    pub(crate) spec: &'a Container,
    pub(crate) index: Index,
}

impl ContainerState {
    /// Takes one piece of news about this container.
    pub(crate) fn apply(
        &mut self,
        known: &Known<'_>,
        event: PodEvent,
        now: Timestamp,
    ) -> Vec<Note> {
        match event {
            PodEvent::ImagePulling { .. } => vec![notes::pulling(known)],
            PodEvent::ImageReady { image_id, note, .. } => {
                self.image = Image::Ready { image_id };
                vec![notes::pulled(known, note)]
            }
            PodEvent::ImageFailed { fault, .. } => self.image_failed(known, fault, now),
            PodEvent::Started { id, at, .. } => self.begin_life(known, id, at),
            PodEvent::StartFailed { fault, .. } => self.start_failed(known, fault, now),
            PodEvent::PostStartDone { id, failure, .. } => self.hook_done(known, &id, failure),
            PodEvent::PreStopFailed { message, .. } => {
                vec![notes::pre_stop_failed(known, &message)]
            }
            PodEvent::Exited { exit, .. } => self.exited(known, exit),
            PodEvent::Probed { id, kind, outcome, .. } => {
                if self.run().is_none_or(|run| run.id != id) {
                    return Vec::new();
                }
                self.probed(known, kind, &outcome, now)
            }
            PodEvent::SandboxReady { .. }
            | PodEvent::SandboxFailed { .. }
            | PodEvent::SandboxRemoved
            | PodEvent::VolumesMounted
            | PodEvent::VolumesFailed { .. }
            | PodEvent::VolumesRemoved
            | PodEvent::ConfigChanged
            | PodEvent::Condemned(_)
            | PodEvent::FinalizeFailed => Vec::new(),
        }
    }

    fn image_failed(&mut self, known: &Known<'_>, fault: Fault, now: Timestamp) -> Vec<Note> {
        self.image_failures = self.image_failures.saturating_add(1);
        let retry_at = after(now, delay_seconds(self.image_failures));
        let notes = notes::image_failed(known, &fault);
        self.image = Image::Failed { fault, failed_at: now, retry_at };
        notes
    }

    fn begin_life(&mut self, known: &Known<'_>, id: String, at: Timestamp) -> Vec<Note> {
        let image_id = match &self.image {
            Image::Ready { image_id } => image_id.clone(),
            Image::Unknown | Image::Pulling | Image::Failed { .. } => String::new(),
        };
        if self.last.is_some() {
            self.restart_count = self.restart_count.saturating_add(1);
        }
        let hook = known.spec.lifecycle.as_ref().and_then(|hooks| hooks.post_start.as_ref());
        let post_start = if hook.is_some() { Hook::Due } else { Hook::Done };
        let image = known.spec.image.clone().unwrap_or_default();
        self.life =
            Life::Running(Run { id, image, image_id, started_at: at, post_start, stop_by: None });
        self.image_failures = 0;
        self.probes = match known.role {
            Role::Init | Role::Ephemeral => Vec::new(),
            Role::Sidecar | Role::App => probes(known.spec, at),
        };
        vec![notes::created(known), notes::started(known)]
    }

    fn start_failed(&mut self, known: &Known<'_>, fault: Fault, now: Timestamp) -> Vec<Note> {
        let note = notes::start_failed(known, &fault);
        self.image = Image::Unknown;
        self.life = Life::Blocked { fault, retry_at: after(now, RETRY_SECONDS) };
        vec![note]
    }

    fn hook_done(&mut self, known: &Known<'_>, id: &str, failure: Option<String>) -> Vec<Note> {
        let Life::Running(run) = &mut self.life else { return Vec::new() };
        if run.id != id {
            return Vec::new();
        }
        match failure {
            None => {
                run.post_start = Hook::Done;
                Vec::new()
            }
            Some(message) => {
                run.post_start = Hook::Failed;
                vec![notes::post_start_failed(known, &message)]
            }
        }
    }

    fn exited(&mut self, known: &Known<'_>, exit: Terminated) -> Vec<Note> {
        let retry_at = self.backoff.ended(exit.started_at, exit.finished_at);
        let delayed = retry_at > exit.finished_at;
        let spec = plan::spec(known.pod);
        let again = restarts(spec, known.role, known.spec, exit.exit_code);
        if let Some(run) = self.run() {
            self.last_image_id = run.image_id.clone();
        }
        self.last = Some(exit.clone());
        self.life = Life::Exited { exit, retry_at };
        self.image = Image::Unknown;
        self.probes.clear();
        let going = known.pod.metadata.deletion_timestamp.is_some();
        if again && delayed && !going { vec![notes::backing_off(known)] } else { Vec::new() }
    }

    fn probed(
        &mut self,
        known: &Known<'_>,
        kind: ProbeKind,
        outcome: &super::probe::Outcome,
        now: Timestamp,
    ) -> Vec<Note> {
        let Some(probe) = kind.of(known.spec) else { return Vec::new() };
        let Some(state) = self.probes.iter_mut().find(|state| state.kind == kind) else {
            return Vec::new();
        };
        let changed = state.take(probe, outcome, now);
        if changed && kind == ProbeKind::Startup {
            self.release_probes(now);
        }
        notes::probed(known, kind, outcome).into_iter().collect()
    }

    /// The startup probe is over: whatever waited for it may begin at once.
    fn release_probes(&mut self, now: Timestamp) {
        for probe in &mut self.probes {
            if probe.kind == ProbeKind::Readiness && probe.due > now {
                probe.due = now;
            }
        }
    }
}

fn probes(spec: &Container, at: Timestamp) -> Vec<ProbeState> {
    ProbeKind::ALL
        .into_iter()
        .filter_map(|kind| kind.of(spec).map(|probe| ProbeState::new(kind, probe, at)))
        .collect()
}
