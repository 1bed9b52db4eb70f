//! One change of one object, and what a watch shows of it.

use super::object::Object;
use super::selection::Selection;
use bytes::Bytes;
use coracle_api::proto;
use coracle_api::registry::Kind;
use coracle_store::Revision;
use std::sync::{Arc, OnceLock};

/// What a watch event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// The object came into being, or into the selection.
    Added,
    /// The object changed and is still selected.
    Modified,
    /// The object is gone, or no longer selected.
    Deleted,
}

impl EventType {
    /// What it says when the object was selected before or is after; `None` when neither.
    fn of(before: bool, after: bool) -> Option<EventType> {
        match (before, after) {
            (false, true) => Some(EventType::Added),
            (true, true) => Some(EventType::Modified),
            (true, false) => Some(EventType::Deleted),
            (false, false) => None,
        }
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Added => "ADDED",
            EventType::Modified => "MODIFIED",
            EventType::Deleted => "DELETED",
        }
    }

    /// The JSON before the object of an event.
    fn opening(self) -> &'static [u8] {
        match self {
            EventType::Added => b"{\"type\":\"ADDED\",\"object\":",
            EventType::Modified => b"{\"type\":\"MODIFIED\",\"object\":",
            EventType::Deleted => b"{\"type\":\"DELETED\",\"object\":",
        }
    }
}

/// One change of one object; shared by the history and all watches.
#[derive(Debug)]
pub struct Change {
    /// The revision of the commit.
    pub revision: Revision,
    /// The object after the change; `None` when it was removed.
    pub current: Option<Arc<Object>>,
    /// The object before the change; `None` when it was made.
    pub previous: Option<Arc<Object>>,
    /// The object before, with this change's revision: made for the first watch that shows it as deleted.
    gone: OnceLock<Arc<Object>>,
    /// The current object's protobuf form, and that of `gone`: made for the first watch that asks for it.
    protobuf: [OnceLock<Bytes>; 2],
}

impl Change {
    /// A change; one of the two is there.
    pub(super) fn new(
        revision: Revision,
        current: Option<Arc<Object>>,
        previous: Option<Arc<Object>>,
    ) -> Change {
        Change {
            revision,
            current,
            previous,
            gone: OnceLock::new(),
            protobuf: [OnceLock::new(), OnceLock::new()],
        }
    }

    /// What a watch with a selection shows of the change; `None` for nothing.
    ///
    /// *Source:* Kubernetes API concepts: an object that leaves the selection is shown as deleted, one that enters as
    /// added.
    pub fn seen_by(&self, selection: &Selection) -> Option<EventType> {
        let selected = |object: &Option<Arc<Object>>| {
            object.as_ref().is_some_and(|object| selection.matches(&object.header))
        };
        EventType::of(selected(&self.previous), selected(&self.current))
    }

    fn gone(&self) -> Option<&Arc<Object>> {
        let previous = self.previous.as_ref()?;
        Some(self.gone.get_or_init(|| Arc::new(previous.at(self.revision))))
    }
}

/// A change as one watch shows it.
#[derive(Debug, Clone)]
pub struct WatchEvent {
    /// What happened, as the watch's selection sees it.
    pub event_type: EventType,
    change: Arc<Change>,
}

impl WatchEvent {
    /// A change as a selection shows it; `None` when it shows nothing.
    pub(super) fn of(change: &Arc<Change>, selection: &Selection) -> Option<WatchEvent> {
        let event_type = change.seen_by(selection)?;
        Some(WatchEvent { event_type, change: Arc::clone(change) })
    }

    /// The revision of the change.
    pub fn revision(&self) -> Revision {
        self.change.revision
    }

    /// The object before and after the change, as far as the watch's selection had it and has it.
    pub(crate) fn sides(&self) -> (Option<&Arc<Object>>, Option<&Arc<Object>>) {
        let (previous, current) = (self.change.previous.as_ref(), self.change.current.as_ref());
        match self.event_type {
            EventType::Added => (None, current),
            EventType::Modified => (previous, current),
            EventType::Deleted => (previous, None),
        }
    }

    /// The event for who selects its object before or after the change; `None` when neither.
    pub(crate) fn narrowed(mut self, before: bool, after: bool) -> Option<WatchEvent> {
        self.event_type = EventType::of(before, after)?;
        Some(self)
    }

    /// The object that the event shows; for a deletion the last one that was selected, with the event's revision.
    pub fn object(&self) -> Option<&Arc<Object>> {
        match self.event_type {
            EventType::Added | EventType::Modified => self.change.current.as_ref(),
            EventType::Deleted => self.change.gone(),
        }
    }

    /// The object that the event shows, as protobuf of this kind; made once for all watches.
    pub fn protobuf(&self, kind: &Kind) -> Option<&Bytes> {
        let object = self.object()?;
        let [current, gone] = &self.change.protobuf;
        let made = match self.event_type {
            EventType::Added | EventType::Modified => current,
            EventType::Deleted => gone,
        };
        Some(made.get_or_init(|| proto::encode(&object.value(), kind.ty()).into()))
    }

    /// Appends the event as a line of a JSON watch stream; the object's bytes are copied, never encoded again.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        if let Some(object) = self.object() {
            write_event(self.event_type, &object.json, out);
        }
    }
}

/// Appends a line of a JSON watch stream.
pub fn write_event(event_type: EventType, json: &[u8], out: &mut Vec<u8>) {
    let opening = event_type.opening();
    out.reserve(opening.len() + json.len() + 2);
    out.extend_from_slice(opening);
    out.extend_from_slice(json);
    out.extend_from_slice(b"}\n");
}
