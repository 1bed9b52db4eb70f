//! Turns what a pod's owner is to be told into Kubernetes Events.

use coracle_client::{EventKind, Recorder, events};
use k8s_openapi::api::core::v1::Pod;

use crate::pods::plan;
use crate::pods::state::Note;

/// Sends `note` about `pod`, or about one of its containers.
pub(crate) fn record(recorder: &Recorder, pod: &Pod, note: Note) {
    let mut about = events::reference(pod);
    about.field_path = note.container.and_then(|index| plan::field_path(pod, index));
    let kind = if note.warning { EventKind::Warning } else { EventKind::Normal };
    recorder.event_about(about, kind, note.reason, note.message);
}
