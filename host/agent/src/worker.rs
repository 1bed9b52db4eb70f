//! One pod in the agent's loop: its object, its state, and how far its status has been told.
//!
//! Pure: the loop feeds it and carries out what it gives back.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_api::fit::PodRequest;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::manifests::{FullName, is_static};
use crate::pods::conditions::OWNED;
use crate::pods::patch;
use crate::pods::plan::{self, Index, PodKey, Role};
use crate::pods::probe::{ProbeKind, Verdict};
use crate::pods::state::{ContainerState, Hook, Life, PodEvent, PodState};
use crate::pods::status::{HostFacts, Phase, phase, pod_status};
use crate::volumes::mounts::Mounted;

/// How long a status that only says "on its way" is held back: most pods are Ready before, and then
/// one write tells all.
const PENDING_HELD_BACK: SignedDuration = SignedDuration::from_millis(25);

/// The volumes of a pod that are there, by name.
pub(crate) type MountedVolumes = Arc<Mutex<BTreeMap<String, Mounted>>>;

/// One pod.
pub(crate) struct Worker {
    pub(crate) key: PodKey,
    pub(crate) pod: Arc<Pod>,
    pub(crate) state: PodState,
    pub(crate) volumes: MountedVolumes,
    /// Held while volumes are filled, so that an older content never overwrites a newer one.
    pub(crate) filling: Arc<tokio::sync::Mutex<()>>,
    /// What it asks of the node.
    pub(crate) request: PodRequest,
    /// When the loop looks at it again by itself.
    pub(crate) wake: Option<Timestamp>,
    /// The address it had before the host was restarted.
    pub(crate) kept_ip: Option<String>,
    /// Its status or its record may not be what was told and kept.
    pub(crate) stale: bool,
    /// Hash of the record that was written last.
    pub(crate) saved: u64,
    first_seen: Timestamp,
    /// The object of the API that shows it: its own, or the mirror of a static pod; nothing while a
    /// static pod has none.
    object_uid: Option<String>,
    told: Told,
}

/// How far the API server knows the pod's status.
struct Told {
    /// The status that was computed last.
    last: Option<PodStatus>,
    /// What the server has, as far as we know: JSON as bytes, which take a fraction of the memory
    /// of a tree.
    sent: Box<[u8]>,
    /// A write is under way.
    in_flight: bool,
    /// Deletion waits for the last write.
    finalize: bool,
}

/// What to tell the API server.
pub(crate) enum Tell {
    /// Nothing new.
    Nothing,
    /// Look again then.
    Later(Timestamp),
    /// This patch; afterwards the server has `sent`.
    Send { patch: Value, sent: Map<String, Value> },
}

impl Worker {
    pub(crate) fn new(pod: Arc<Pod>, state: PodState, now: Timestamp) -> Self {
        let sent = pack(&pod.status.as_ref().map(patch::owned).unwrap_or_default());
        Self {
            key: PodKey::of(&pod),
            state,
            volumes: Arc::default(),
            filling: Arc::default(),
            request: PodRequest::from_spec(plan::spec(&pod)),
            wake: None,
            kept_ip: None,
            saved: 0,
            stale: true,
            first_seen: now,
            object_uid: pod.metadata.uid.clone().filter(|_| !is_static(&pod)),
            told: Told { last: None, sent, in_flight: false, finalize: false },
            pod,
        }
    }

    /// Tells which probe an event is about, if it is about one.
    pub(crate) fn probe_of(&self, event: &PodEvent) -> Option<(Index, ProbeKind)> {
        match event {
            PodEvent::Probed { index, kind, .. } => Some((*index, *kind)),
            PodEvent::SandboxReady { .. }
            | PodEvent::SandboxFailed { .. }
            | PodEvent::SandboxRemoved
            | PodEvent::VolumesMounted
            | PodEvent::VolumesFailed { .. }
            | PodEvent::VolumesRemoved
            | PodEvent::ImageReady { .. }
            | PodEvent::ImagePulling { .. }
            | PodEvent::ImageFailed { .. }
            | PodEvent::Started { .. }
            | PodEvent::StartFailed { .. }
            | PodEvent::PostStartDone { .. }
            | PodEvent::PreStopFailed { .. }
            | PodEvent::Exited { .. }
            | PodEvent::ConfigChanged
            | PodEvent::Condemned(_)
            | PodEvent::FinalizeFailed => None,
        }
    }

    /// Gives the standing verdict of a probe.
    pub(crate) fn verdict(&self, (index, kind): (Index, ProbeKind)) -> Option<Verdict> {
        self.state.containers.get(index).map(|container| container.verdict_of(kind))
    }

    /// Tells whether time alone changes nothing about it but that probes become due.
    pub(crate) fn is_steady(&self) -> bool {
        let rests = |(role, container): (Role, &ContainerState)| match &container.life {
            Life::Running(run) => run.post_start == Hook::Done && run.stop_by.is_none(),
            Life::Exited { exit, .. } => role == Role::Init && exit.exit_code == 0,
            Life::Waiting | Life::Blocked { .. } | Life::Starting => false,
        };
        let roles = plan::containers(&self.pod).map(|(role, _)| role);
        self.state.verdict.is_none()
            && self.state.deletion_seen.is_none()
            && roles.zip(&self.state.containers).all(rests)
    }

    /// Takes the object that shows a static pod; gives true when it is another one than before.
    pub(crate) fn shown_by(&mut self, mirror: Option<&Pod>) -> bool {
        let uid = mirror.and_then(|mirror| mirror.metadata.uid.clone());
        if self.object_uid == uid {
            return false;
        }
        self.object_uid = uid;
        let status = mirror.and_then(|mirror| mirror.status.as_ref());
        self.told.sent = pack(&status.map(patch::owned).unwrap_or_default());
        true
    }

    /// Gives namespace and name.
    pub(crate) fn full_name(&self) -> FullName {
        (self.key.namespace.clone(), self.key.name.clone())
    }

    /// Decides what to tell the server now. When it gives `Send`, the write counts as under way.
    pub(crate) fn tell(&mut self, host: &HostFacts, now: Timestamp) -> Tell {
        if self.told.in_flight || self.state.object_gone {
            return Tell::Nothing;
        }
        let before = self.previous();
        let status = pod_status(&self.pod, &self.state, before.as_ref(), host, now);
        let wanted = patch::owned(&status);
        self.told.last = Some(status);
        let sent = unpack(&self.told.sent);
        if self.state.deletion_seen.is_some() && patch::only_generation(&sent, &wanted) {
            return Tell::Nothing;
        }
        let Some(object) = self.object_uid.as_deref() else { return Tell::Nothing };
        let Some(patch) = patch::patch(object, &sent, &wanted) else {
            return Tell::Nothing;
        };
        let held = self.first_seen.checked_add(PENDING_HELD_BACK).unwrap_or(now);
        if now < held && phase(&self.pod, &self.state) == Phase::Pending && !self.has_fault() {
            return Tell::Later(held);
        }
        self.told.in_flight = true;
        Tell::Send { patch, sent: wanted }
    }

    /// Takes note that a write is over; `sent` is what the server has now, if it took it.
    pub(crate) fn told(&mut self, sent: Option<Map<String, Value>>) {
        self.told.in_flight = false;
        if let Some(sent) = sent {
            self.told.sent = pack(&sent);
        }
    }

    /// Asks for the deletion of the object after the last status; gives true once it may go ahead.
    pub(crate) fn may_finalize(&mut self, host: &HostFacts, now: Timestamp) -> bool {
        self.told.finalize = true;
        self.finalize_due(host, now)
    }

    /// Gives true when a deletion was asked for and everything has been told.
    pub(crate) fn finalize_due(&mut self, host: &HostFacts, now: Timestamp) -> bool {
        if !self.told.finalize || self.told.in_flight {
            return false;
        }
        let before = self.previous();
        let status = pod_status(&self.pod, &self.state, before.as_ref(), host, now);
        let (sent, wanted) = (unpack(&self.told.sent), patch::owned(&status));
        let due = sent == wanted || patch::only_generation(&sent, &wanted);
        self.told.finalize = !due;
        due
    }

    /// Tells whether the server has the status as it is now.
    pub(crate) fn is_told(&self) -> bool {
        let last = self.told.last.as_ref().map(patch::owned);
        let sent = unpack(&self.told.sent);
        !self.told.in_flight
            && last.is_some_and(|last| last == sent || patch::only_generation(&last, &sent))
    }

    /// Gives the status as it was computed last, for whoever asks the agent itself.
    pub(crate) fn status(&self) -> Option<&PodStatus> {
        self.told.last.as_ref().or(self.pod.status.as_ref())
    }

    /// Our own last status with the conditions that others wrote since.
    fn previous(&self) -> Option<PodStatus> {
        let Some(mut own) = self.told.last.clone() else { return self.pod.status.clone() };
        let ours = |kind: &str| OWNED.contains(&kind);
        let foreign = self.pod.status.as_ref().and_then(|status| status.conditions.clone());
        let foreign = foreign.into_iter().flatten().filter(|condition| !ours(&condition.type_));
        let mut conditions = own.conditions.take().unwrap_or_default();
        conditions.retain(|condition| ours(&condition.type_));
        conditions.extend(foreign);
        own.conditions = Some(conditions);
        Some(own)
    }

    fn has_fault(&self) -> bool {
        use crate::pods::state::{Image, Life, Sandbox, Volumes};
        matches!(self.state.sandbox, Sandbox::Failed { .. })
            || matches!(self.state.volumes, Volumes::Failed { .. })
            || self.state.containers.iter().any(|container| {
                matches!(container.life, Life::Blocked { .. } | Life::Exited { .. })
                    || matches!(container.image, Image::Failed { .. })
            })
    }
}

fn pack(map: &Map<String, Value>) -> Box<[u8]> {
    serde_json::to_vec(map).unwrap_or_default().into()
}

fn unpack(bytes: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(bytes).unwrap_or_default()
}
