//! A pod's state as a record, and back: pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};

use crate::pods::plan;
use crate::pods::restart::Backoff;
use crate::pods::state::{
    ContainerState, Life, PodState, PodVerdict, Sandbox, Terminated, Volumes,
};

/// One pod as it is kept over a restart of the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedPod {
    /// Its object.
    pub pod: Pod,
    /// Its address, if it had one.
    pub ip: Option<String>,
    /// `status.startTime`.
    pub started_at: Option<Timestamp>,
    /// When its deletion was first seen.
    pub deletion_seen: Option<Timestamp>,
    /// Why it must not run.
    pub verdict: Option<PodVerdict>,
    /// Its containers, in the order of `plan::containers`.
    pub containers: Vec<SavedContainer>,
}

/// One container as it is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SavedContainer {
    /// Its name; a record with other names than the pod's is not used.
    pub name: String,
    /// How often it was started again.
    pub restart_count: u32,
    /// How its last life ended.
    pub last: Option<Terminated>,
    /// Its back-off.
    pub backoff: Backoff,
    /// The life that it had when this was written.
    pub running: Option<SavedRun>,
    /// Its last life has ended, and no other had begun.
    pub ended: bool,
    /// Its image, for the status.
    pub image_id: String,
}

/// A life as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedRun {
    /// Its identifier.
    pub id: String,
    /// When it started.
    pub started_at: Timestamp,
}

impl SavedPod {
    /// Makes the record of a pod.
    #[must_use]
    pub fn of(pod: &Pod, state: &PodState) -> Self {
        let rows = plan::containers(pod).zip(&state.containers);
        Self {
            pod: pod.clone(),
            ip: state.ip().map(str::to_owned),
            started_at: state.started_at,
            deletion_seen: state.deletion_seen,
            verdict: state.verdict.clone(),
            containers: rows.map(|((_, spec), state)| save(&spec.name, state)).collect(),
        }
    }

    /// Makes the state of a pod whose host was killed and is back at `now`.
    ///
    /// Containers that ran count as ended just now and may start again at once; those that had ended
    /// stay ended. Gives nothing when the record does not fit the pod.
    #[must_use]
    pub fn recover(&self, now: Timestamp) -> Option<PodState> {
        let names = plan::containers(&self.pod).map(|(_, spec)| spec.name.as_str());
        if !names.eq(self.containers.iter().map(|saved| saved.name.as_str())) {
            return None;
        }
        Some(PodState {
            sandbox: Sandbox::Absent,
            volumes: Volumes::Absent,
            containers: self.containers.iter().map(|saved| saved.recover(now)).collect(),
            verdict: self.verdict.clone(),
            started_at: self.started_at,
            deletion_seen: self.deletion_seen,
            object_gone: false,
            finalized: false,
        })
    }
}

impl SavedContainer {
    fn recover(&self, now: Timestamp) -> ContainerState {
        let exited = |exit: &Terminated| Life::Exited { exit: exit.clone(), retry_at: now };
        let cut = self.running.as_ref().map(|run| Terminated {
            exit_code: 137,
            reason: "Error".into(),
            message: "the host was restarted while the container ran".into(),
            started_at: run.started_at,
            finished_at: now,
            id: run.id.clone(),
        });
        let last = cut.or_else(|| self.last.clone());
        let life = match &last {
            Some(exit) if self.running.is_some() || self.ended => exited(exit),
            Some(_) | None => Life::Waiting,
        };
        ContainerState {
            life,
            restart_count: self.restart_count,
            last,
            backoff: self.backoff,
            last_image_id: self.image_id.clone(),
            ..ContainerState::default()
        }
    }
}

fn save(name: &str, state: &ContainerState) -> SavedContainer {
    let run = state.run();
    let image_id = run.map_or(&state.last_image_id, |run| &run.image_id);
    SavedContainer {
        name: name.to_owned(),
        restart_count: state.restart_count,
        last: state.last.clone(),
        backoff: state.backoff,
        running: run.map(|run| SavedRun { id: run.id.clone(), started_at: run.started_at }),
        ended: matches!(state.life, Life::Exited { .. }),
        image_id: image_id.clone(),
    }
}
