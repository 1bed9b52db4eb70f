//! What the columns READY, STATUS and RESTARTS of a Pod say.
//!
//! The word is the Pod's phase or reason, unless a container says something more telling: the first
//! init container that is not done, else the first container that waits or has ended.
//! *Source:* `printPod` in `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use super::{items, number, text};
use crate::condition;

/// What the columns of a Pod are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodStatus {
    /// The word of the STATUS column.
    pub word: String,
    /// Containers that are ready, side-cars included.
    pub ready: usize,
    /// Containers that can be ready, side-cars included.
    pub total: usize,
    /// Restarts of the containers that are looked at.
    pub restarts: i64,
    /// When the last of those restarts was due, if known.
    pub last_restart: Option<Timestamp>,
}

/// Sums a Pod up.
pub fn pod_status(pod: &Value) -> PodStatus {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let phase = text(status, "phase");
    let mut sum = Sum { word: first_word(pod), ready: 0, all: Restarts::default() };
    let sidecars = items(spec, "initContainers").iter().filter(|it| is_sidecar(it)).count();
    let (initializing, sidecar_restarts) = sum.init_containers(spec, status);
    if !initializing || condition::is_true(pod, "Initialized") {
        sum.all = sidecar_restarts;
        sum.containers(pod);
    }
    let deleted = !pod["metadata"]["deletionTimestamp"].is_null();
    if deleted && text(status, "reason") == "NodeLost" {
        sum.word = "Unknown".to_owned();
    } else if deleted && !matches!(phase, "Succeeded" | "Failed") {
        sum.word = "Terminating".to_owned();
    }
    PodStatus {
        word: sum.word,
        ready: sum.ready,
        total: items(spec, "containers").len() + sidecars,
        restarts: sum.all.number,
        last_restart: sum.all.last,
    }
}

fn first_word(pod: &Value) -> String {
    let status = &pod["status"];
    if let Some(scheduled) = condition::find(pod, "PodScheduled")
        && text(scheduled, "reason") == "SchedulingGated"
    {
        return "SchedulingGated".to_owned();
    }
    super::or(text(status, "reason"), text(status, "phase")).to_owned()
}

#[derive(Default, Clone, Copy)]
struct Restarts {
    number: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.number += number(container, "restartCount");
        let ended = &container["lastState"]["terminated"];
        self.last = self.last.max(text(ended, "finishedAt").parse().ok());
    }
}

struct Sum {
    word: String,
    ready: usize,
    all: Restarts,
}

impl Sum {
    /// Looks at init containers up to the first that is not done. Says whether there is one, and
    /// gives the restarts of the side-cars.
    fn init_containers(&mut self, spec: &Value, status: &Value) -> (bool, Restarts) {
        let specs = items(spec, "initContainers");
        let mut sidecars = Restarts::default();
        for (index, container) in items(status, "initContainerStatuses").iter().enumerate() {
            let name = text(container, "name");
            let sidecar = specs.iter().any(|spec| text(spec, "name") == name && is_sidecar(spec));
            self.all.add(container);
            if sidecar {
                sidecars.add(container);
            }
            let ended = &container["state"]["terminated"];
            if !ended.is_null() && number(ended, "exitCode") == 0 {
                continue;
            }
            if sidecar && container["started"] == Value::Bool(true) {
                self.ready += usize::from(container["ready"] == Value::Bool(true));
                continue;
            }
            let waiting = text(&container["state"]["waiting"], "reason");
            self.word = if !ended.is_null() {
                format!("Init:{}", ended_word(ended))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", specs.len())
            };
            return (true, sidecars);
        }
        (false, sidecars)
    }

    /// Looks at the containers from the last to the first, so that the first has the last word.
    fn containers(&mut self, pod: &Value) {
        let (mut running, mut error) = (false, String::new());
        for container in items(&pod["status"], "containerStatuses").iter().rev() {
            self.all.add(container);
            let state = &container["state"];
            let waiting = text(&state["waiting"], "reason");
            let ended = &state["terminated"];
            if !waiting.is_empty() {
                self.word = waiting.to_owned();
            } else if !ended.is_null() {
                self.word = ended_word(ended);
                if number(ended, "exitCode") != 0 {
                    error.clone_from(&self.word);
                }
            } else if container["ready"] == Value::Bool(true) && !state["running"].is_null() {
                running = true;
                self.ready += 1;
            }
        }
        // One container may have ended well while others go on or have failed.
        if self.word == "Completed" {
            if running && condition::is_true(pod, "Ready") {
                self.word = "Running".to_owned();
            } else if !error.is_empty() {
                self.word = error;
            } else if running {
                self.word = "NotReady".to_owned();
            }
        }
    }
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "restartPolicy") == "Always"
}

fn ended_word(ended: &Value) -> String {
    match (text(ended, "reason"), number(ended, "signal")) {
        ("", 0) => format!("ExitCode:{}", number(ended, "exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
