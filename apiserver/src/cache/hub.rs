//! Who is watching: an index by what a watch waits for, so that an event costs what it concerns and not what exists.

use super::change::{Change, WatchEvent};
use super::object::Object;
use super::selection::Selection;
use coracle_store::Revision;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many events wait for a watch's client; one more and the watch is closed, and its client lists again or resumes.
///
/// Room for a burst such as a Deployment of some thousand pods.
pub const WATCH_EVENTS_QUEUED_MAX: usize = 8192;

/// The most selective thing that a watch's selection fixes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Trigger {
    /// Nothing.
    Any,
    /// The namespace.
    Namespace(Box<str>),
    /// The name, in any namespace.
    Name(Box<str>),
    /// The value of a selectable label, by its place.
    Field(usize, Box<str>),
}

impl Trigger {
    fn of(selection: &Selection) -> Trigger {
        if let Some(name) = selection.name() {
            return Trigger::Name(name.into());
        }
        if let Some((index, value)) = selection.field_equal() {
            return Trigger::Field(index, value.into());
        }
        selection.namespace().map_or(Trigger::Any, |namespace| Trigger::Namespace(namespace.into()))
    }
}

struct Subscriber {
    id: u64,
    selection: Selection,
    after: Revision,
    queue: mpsc::Sender<WatchEvent>,
}

impl Subscriber {
    /// Whether the watch goes on.
    fn tell(&self, change: &Arc<Change>) -> bool {
        if change.revision <= self.after {
            return true;
        }
        match WatchEvent::of(change, &self.selection) {
            Some(event) => self.queue.try_send(event).is_ok(),
            None => true,
        }
    }
}

/// A place in the hub.
#[derive(Debug)]
pub(super) struct Ticket {
    id: u64,
    trigger: Trigger,
}

/// The watches of one resource.
#[derive(Default)]
pub(super) struct Hub {
    next_id: u64,
    waiting: HashMap<Trigger, Vec<Subscriber>>,
}

impl Hub {
    /// Adds a watch for changes after a revision; what it gets is bounded by [`WATCH_EVENTS_QUEUED_MAX`].
    pub(super) fn subscribe(
        &mut self,
        selection: Selection,
        after: Revision,
    ) -> (Ticket, mpsc::Receiver<WatchEvent>) {
        let (queue, receiver) = mpsc::channel(WATCH_EVENTS_QUEUED_MAX);
        self.next_id += 1;
        let ticket = Ticket { id: self.next_id, trigger: Trigger::of(&selection) };
        let subscriber = Subscriber { id: ticket.id, selection, after, queue };
        self.waiting.entry(ticket.trigger.clone()).or_default().push(subscriber);
        (ticket, receiver)
    }

    /// Takes a watch out.
    pub(super) fn unsubscribe(&mut self, ticket: &Ticket) {
        if let Some(subscribers) = self.waiting.get_mut(&ticket.trigger) {
            subscribers.retain(|subscriber| subscriber.id != ticket.id);
            if subscribers.is_empty() {
                self.waiting.remove(&ticket.trigger);
            }
        }
    }

    /// How many watches there are.
    pub(super) fn len(&self) -> usize {
        self.waiting.values().map(Vec::len).sum()
    }

    /// Gives a change to the watches that it concerns, and closes those that are too slow.
    pub(super) fn fan_out(&mut self, change: &Arc<Change>) {
        if self.waiting.is_empty() {
            return;
        }
        for trigger in triggers(change) {
            if let Some(subscribers) = self.waiting.get_mut(&trigger) {
                subscribers.retain(|subscriber| subscriber.tell(change));
            }
        }
    }
}

/// Each thing that a concerned watch may be waiting for, once.
fn triggers(change: &Change) -> Vec<Trigger> {
    let mut found = vec![Trigger::Any];
    for object in [&change.previous, &change.current].into_iter().flatten() {
        for trigger in object_triggers(object) {
            if !found.contains(&trigger) {
                found.push(trigger);
            }
        }
    }
    found
}

fn object_triggers(object: &Object) -> impl Iterator<Item = Trigger> {
    let header = &object.header;
    let fields = header.fields().enumerate().filter(|(_, value)| !value.is_empty());
    [Trigger::Namespace(header.namespace().into()), Trigger::Name(header.name().into())]
        .into_iter()
        .chain(fields.map(|(index, value)| Trigger::Field(index, value.into())))
}
