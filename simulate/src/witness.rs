//! Tells the oracle of every commit of one life of the server.

use std::sync::Arc;

use coracle_store::{Committed, Event, Mvcc, Observer, Revision};
use tokio_util::sync::CancellationToken;

use crate::trace::Fnv;
use crate::world::World;

/// The store's observer.
pub struct Witness {
    world: Arc<World>,
    died: CancellationToken,
}

impl Witness {
    /// The witness of a life that ends when `died` is cancelled.
    pub fn new(world: &Arc<World>, died: CancellationToken) -> Witness {
        Witness { world: Arc::clone(world), died }
    }

    fn note(&self, event: &Event) {
        let key = String::from_utf8_lossy(&event.key);
        let value = event.value().map_or(0, |value| Fnv::of(value));
        note!(self.world, "commit {} {key} {value:016x}", event.revision);
    }
}

impl Observer for Witness {
    fn start(&self, mvcc: &Mvcc) {
        let now = self.world.now();
        let late = self.world.oracle.lock().reopened(now, mvcc);
        late.iter().for_each(|event| self.note(event));
    }

    fn publish(&self, commits: &[Committed], _compacted: Revision) {
        if self.died.is_cancelled() {
            self.world.broken("a dead server has committed".to_owned());
        }
        let now = self.world.now();
        for commit in commits {
            for event in &commit.events {
                self.note(event);
                self.world.oracle.lock().event(now, event);
            }
        }
    }
}
