//! Turns what a pod's owner is to be told into Kubernetes Events.

use coracle_client::{EventKind, Recorder, events};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};

use crate::pods::plan::{self, Index};
use crate::pods::state::Note;

/// What an Event about a pod, or one of its containers, refers to.
pub(crate) fn about(pod: &Pod, container: Option<Index>) -> ObjectReference {
    let mut about = events::reference(pod);
    about.field_path = container.and_then(|index| plan::field_path(pod, index));
    about
}

/// Sends `note` about `pod`, or about one of its containers.
pub(crate) fn record(recorder: &Recorder, pod: &Pod, note: Note) {
    let about = about(pod, note.container);
    let kind = if note.warning { EventKind::Warning } else { EventKind::Normal };
    recorder.event_about(about, kind, note.reason, note.message);
}
