//! A pod, a clock and a script that moves them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::super::plan::{self, Index};
use super::super::probe::{Outcome, ProbeKind};
use super::super::reconcile::{Action, begin, reconcile};
use super::super::state::{Fault, PodEvent, PodState, Terminated};
use super::super::status::{HostFacts, pod_status};

/// A pod, its state, and a clock that the script moves. Whatever the agent would do succeeds at
/// once, except what the script holds back.
pub(super) struct Life {
    pub(super) pod: Pod,
    pub(super) state: PodState,
    pub(super) now: Timestamp,
    lives: u32,
    held: Vec<String>,
    pub(super) log: String,
}

impl Life {
    pub(super) fn new(spec: Value) -> Self {
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 1}, "spec": spec});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let state = PodState::new(&pod, now);
        Self { pod, state, now, lives: 0, held: Vec::new(), log: String::new() }
    }

    fn line(&mut self, text: &str) {
        self.log.push_str(text);
        self.log.push('\n');
    }

    fn apply(&mut self, event: PodEvent) {
        for note in self.state.apply(&self.pod, event, self.now) {
            if !matches!(note.reason, "Created" | "Started" | "Pulled" | "Pulling") {
                self.line(&format!("  event {}: {}", note.reason, note.message));
            }
        }
    }

    /// Decides and acts until nothing is left to do now.
    fn settle(&mut self) {
        self.state.observe(&self.pod, self.now);
        for _ in 0..50 {
            let plan = reconcile(&self.pod, &self.state, self.now);
            if plan.actions.is_empty() {
                return;
            }
            for action in plan.actions {
                begin(&mut self.state, &action);
                self.act(action);
            }
        }
        panic!("never comes to rest:\n{}", self.log);
    }

    fn name(&self, index: Index) -> String {
        plan::container(&self.pod, index).unwrap().name.clone()
    }

    fn index(&self, name: &str) -> Index {
        plan::containers(&self.pod).position(|(_, spec)| spec.name == name).unwrap()
    }

    fn act(&mut self, action: Action) {
        let shown = match &action {
            Action::EnsureImage(index) => format!("image {}", self.name(*index)),
            Action::Start(index) => format!("start {}", self.name(*index)),
            Action::PostStart(index) => format!("hook {}", self.name(*index)),
            Action::Probe(index, kind) => format!("probe {} {}", self.name(*index), kind.word()),
            Action::Stop { index, reason, deadline } => {
                let left = deadline.duration_since(self.now).as_secs();
                format!("stop {} {reason:?} {left}s", self.name(*index))
            }
            Action::Condemn(verdict) => format!("condemn {}", verdict.reason),
            Action::CreateSandbox
            | Action::MountVolumes
            | Action::RemoveSandbox
            | Action::RemoveVolumes
            | Action::Finalize => format!("{action:?}"),
        };
        let held = self.held.iter().any(|held| shown.starts_with(held.as_str()));
        let quiet = shown.starts_with("image")
            || shown.starts_with("CreateSandbox")
            || shown.starts_with("MountVolumes");
        if !quiet || held {
            self.line(&format!("  {shown}{}", if held { " (held)" } else { "" }));
        }
        if held {
            return;
        }
        match action {
            Action::CreateSandbox => self.apply(PodEvent::SandboxReady {
                ips: vec!["10.128.0.2".into(), "fd63:6f72:a80::a80:2".into()],
            }),
            Action::MountVolumes => self.apply(PodEvent::VolumesMounted),
            Action::EnsureImage(index) => {
                self.apply(PodEvent::ImageReady {
                    index,
                    image_id: "i@d".into(),
                    note: String::new(),
                });
            }
            Action::Start(index) => {
                self.lives += 1;
                let (id, at) = (format!("life{}", self.lives), self.now);
                self.apply(PodEvent::Started { index, id, at });
            }
            Action::PostStart(index) => {
                let id = self.state.containers[index].run().unwrap().id.clone();
                self.apply(PodEvent::PostStartDone { index, id, failure: None });
            }
            Action::Probe(index, kind) => self.probed(index, kind, Outcome::Success),
            Action::Stop { index, .. } => self.exit(index, 143),
            Action::Condemn(verdict) => self.apply(PodEvent::Condemned(verdict)),
            Action::RemoveSandbox => self.apply(PodEvent::SandboxRemoved),
            Action::RemoveVolumes => self.apply(PodEvent::VolumesRemoved),
            Action::Finalize => {}
        }
    }

    fn probed(&mut self, index: Index, kind: ProbeKind, outcome: Outcome) {
        let id = self.state.containers[index].run().unwrap().id.clone();
        self.apply(PodEvent::Probed { index, id, kind, outcome });
    }

    fn exit(&mut self, index: Index, exit_code: i32) {
        let Some(run) = self.state.containers[index].run().cloned() else { return };
        let reason = if exit_code == 0 { "Completed" } else { "Error" }.into();
        let exit = Terminated {
            exit_code,
            reason,
            message: String::new(),
            started_at: run.started_at,
            finished_at: self.now,
            id: run.id,
        };
        self.apply(PodEvent::Exited { index, exit });
    }

    /// Carries out one line of a script.
    pub(super) fn tell(&mut self, line: &str) {
        self.line(line);
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["run"] => {}
            ["wait", seconds] => {
                self.now += SignedDuration::from_secs(seconds.parse().unwrap());
            }
            ["hold", ..] => return self.held.push(line["hold ".len()..].to_owned()),
            ["release"] => return self.held.clear(),
            ["exit", name, code] => self.exit(self.index(name), code.parse().unwrap()),
            ["fails", name, kind] => {
                let kind = ProbeKind::ALL.into_iter().find(|k| k.word() == *kind).unwrap();
                self.probed(self.index(name), kind, Outcome::Failure("no".into()));
            }
            ["hook-fails", name] => {
                let index = self.index(name);
                let id = self.state.containers[index].run().unwrap().id.clone();
                self.apply(PodEvent::PostStartDone { index, id, failure: Some("no".into()) });
            }
            ["no-image", name, reason] => {
                let fault = Fault { reason: (*reason).into(), message: "why".into() };
                self.apply(PodEvent::ImageFailed { index: self.index(name), fault });
            }
            ["no-start", name] => {
                let fault =
                    Fault { reason: "CreateContainerConfigError".into(), message: "why".into() };
                self.apply(PodEvent::StartFailed { index: self.index(name), fault });
            }
            ["debug", name] => {
                let container = json!({"name": name, "image": name, "targetContainerName": "a"});
                let container = serde_json::from_value(container).unwrap();
                let spec = self.pod.spec.as_mut().unwrap();
                spec.ephemeral_containers.get_or_insert_default().push(container);
                self.pod = Arc::unwrap_or_clone(plan::whole(Arc::new(self.pod.clone())));
                self.state.observe(&self.pod, self.now);
            }
            ["config"] => self.apply(PodEvent::ConfigChanged),
            ["delete", grace] => {
                self.pod.metadata.deletion_timestamp = Some(self.now.into());
                self.pod.metadata.deletion_grace_period_seconds = grace.parse().ok();
            }
            ["set-image", image] => {
                self.pod.spec.as_mut().unwrap().containers[0].image = Some((*image).into());
            }
            ["gone"] => self.state.object_gone = true,
            ["status"] => return self.status(),
            _ => panic!("unknown line: {line}"),
        }
        self.settle();
    }

    fn status(&mut self) {
        let status = pod_status(&self.pod, &self.state, None, &HostFacts::default(), self.now);
        let mut out = format!("  {}", status.phase.unwrap());
        for status in status
            .init_container_statuses
            .iter()
            .flatten()
            .chain(status.container_statuses.iter().flatten())
            .chain(status.ephemeral_container_statuses.iter().flatten())
        {
            let state = status.state.as_ref().unwrap();
            let waiting = state.waiting.as_ref().map(|w| {
                let message = w.message.as_ref().map(|m| format!(" ({m})")).unwrap_or_default();
                format!("{}{message}", w.reason.as_deref().unwrap_or_default())
            });
            let ended = state
                .terminated
                .as_ref()
                .map(|t| format!("{} {}", t.reason.as_deref().unwrap(), t.exit_code));
            let shown = waiting.or(ended).unwrap_or_else(|| "Running".into());
            let last = status.last_state.as_ref().and_then(|l| l.terminated.as_ref());
            let last = last.map(|t| format!(" last={}", t.exit_code)).unwrap_or_default();
            let ready = if status.ready { " ready" } else { "" };
            out.push_str(&format!(
                "; {}: {shown}{ready} restarts={}{last}",
                status.name, status.restart_count
            ));
        }
        self.line(&out);
        for condition in status.conditions.iter().flatten().filter(|c| c.status != "True") {
            let reason = condition.reason.as_deref().unwrap_or_default();
            let message = condition.message.as_deref().unwrap_or_default();
            self.line(&format!("  not {}: {reason} {message}", condition.type_));
        }
    }
}
