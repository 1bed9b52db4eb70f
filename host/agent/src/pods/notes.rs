//! The sentences that a pod's owner reads as Events.
//!
//! *Source:* the messages of the kubelet 1.35; the facts are upstream's, a hint on how to mend is
//! ours.

use super::container::Known;
use super::probe::{Outcome, ProbeKind};
use super::shutdown::{NODE_SHUTDOWN, TERMINATED};
use super::state::{Fault, Note, PodVerdict};

fn pod_note(warning: bool, reason: &'static str, message: String) -> Note {
    Note { warning, reason, message, container: None }
}

fn note(known: &Known<'_>, warning: bool, reason: &'static str, message: String) -> Note {
    Note { warning, reason, message, container: Some(known.index) }
}

fn image<'a>(known: &Known<'a>) -> &'a str {
    known.spec.image.as_deref().unwrap_or_default()
}

pub(crate) fn sandbox_failed(message: &str) -> Note {
    pod_note(true, "FailedCreatePodSandBox", format!("Failed to create pod sandbox: {message}"))
}

pub(crate) fn mount_failed(volume: &str, message: &str) -> Note {
    let message = format!("MountVolume.SetUp failed for volume \"{volume}\" : {message}");
    pod_note(true, "FailedMount", message)
}

pub(crate) fn condemned(verdict: &PodVerdict) -> Note {
    let message = verdict.message.strip_prefix("Pod was rejected: ").unwrap_or(&verdict.message);
    let warning = verdict.reason != "DeadlineExceeded";
    pod_note(warning, verdict_reason(&verdict.reason), message.to_owned())
}

/// Event reasons come from a fixed list; an unknown verdict is reported under a general word.
fn verdict_reason(reason: &str) -> &'static str {
    const KNOWN: [&str; 12] = [
        "OutOfcpu",
        "OutOfmemory",
        "OutOfpods",
        "OutOfephemeral-storage",
        "NodeAffinity",
        "NodePorts",
        "PodOSNotSupported",
        "DeadlineExceeded",
        "Evicted",
        "UnexpectedAdmissionError",
        NODE_SHUTDOWN,
        TERMINATED,
    ];
    KNOWN.into_iter().find(|known| *known == reason).unwrap_or("FailedSync")
}

pub(crate) fn pulling(known: &Known<'_>) -> Note {
    note(known, false, "Pulling", format!("Pulling image \"{}\"", image(known)))
}

pub(crate) fn pulled(known: &Known<'_>, message: String) -> Note {
    note(known, false, "Pulled", message)
}

pub(crate) fn image_failed(known: &Known<'_>, fault: &Fault) -> Vec<Note> {
    let image = image(known);
    match fault.reason.as_str() {
        "ErrImageNeverPull" => vec![note(known, true, "ErrImageNeverPull", fault.message.clone())],
        "InvalidImageName" => vec![note(known, true, "InspectFailed", fault.message.clone())],
        reason => {
            let failed = format!("Failed to pull image \"{image}\": {}", fault.message);
            let mut notes = vec![
                note(known, true, "Failed", failed),
                note(known, true, "Failed", format!("Error: {reason}")),
            ];
            if reason == "ErrImagePull" {
                let wait = format!("Back-off pulling image \"{image}\"");
                notes.push(note(known, false, "BackOff", wait));
                notes.push(note(known, true, "Failed", "Error: ImagePullBackOff".into()));
            }
            notes
        }
    }
}

pub(crate) fn created(known: &Known<'_>) -> Note {
    note(known, false, "Created", "Container created".into())
}

pub(crate) fn started(known: &Known<'_>) -> Note {
    note(known, false, "Started", "Container started".into())
}

pub(crate) fn start_failed(known: &Known<'_>, fault: &Fault) -> Note {
    note(known, true, "Failed", format!("Error: {}", fault.message))
}

pub(crate) fn post_start_failed(known: &Known<'_>, message: &str) -> Note {
    note(known, true, "FailedPostStartHook", format!("PostStartHook failed: {message}"))
}

pub(crate) fn pre_stop_failed(known: &Known<'_>, message: &str) -> Note {
    note(known, true, "FailedPreStopHook", format!("PreStopHook failed: {message}"))
}

pub(crate) fn backing_off(known: &Known<'_>) -> Note {
    let pod = super::plan::PodKey::of(known.pod);
    let message = format!("Back-off restarting failed container {} in pod {pod}", known.spec.name);
    note(known, true, "BackOff", message)
}

pub(crate) fn probed(known: &Known<'_>, kind: ProbeKind, outcome: &Outcome) -> Option<Note> {
    let word = kind.word();
    match outcome {
        Outcome::Success => None,
        Outcome::Failure(text) => {
            Some(note(known, true, "Unhealthy", format!("{word} probe failed: {text}")))
        }
        Outcome::Unknown(text) => {
            let message = format!("{word} probe errored and resulted in unknown state: {text}");
            Some(note(known, true, "Unhealthy", message))
        }
    }
}

/// The sentence of the `Killing` event for a container told to stop because of `reason`.
#[must_use]
pub fn killing(container: &str, reason: StopReason) -> String {
    match reason {
        StopReason::PodEnds => format!("Stopping container {container}"),
        StopReason::Liveness => {
            format!("Container {container} failed liveness probe, will be restarted")
        }
        StopReason::Startup => {
            format!("Container {container} failed startup probe, will be restarted")
        }
        StopReason::PostStart => "FailedPostStartHook".to_owned(),
        StopReason::Changed => {
            format!("Container {container} definition changed, will be restarted")
        }
    }
}

/// Why a container is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The pod is deleted, condemned, or has nothing left to do.
    PodEnds,
    /// Its liveness probe failed.
    Liveness,
    /// Its startup probe failed.
    Startup,
    /// Its `postStart` hook failed.
    PostStart,
    /// The pod names another image for it now.
    Changed,
}
