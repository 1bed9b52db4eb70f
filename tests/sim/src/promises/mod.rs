//! What must hold at every event of the store, whatever fails.

mod capacity;
mod counts;
mod deletions;

use std::time::Duration;

use coracle_simulate::objects::{Objects, Step};
use coracle_simulate::oracle::{Judge, Known};
use serde_json::Value;

/// How long a controller may still act on what it knew: the longest way of an event to it, with its answer.
const KNOWLEDGE_OLD_MAX: Duration = Duration::from_secs(30);

/// The promises with what they remember.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    counts: counts::Counts,
    deletions: deletions::Deletions,
}

impl Judge for Promises {
    fn see(
        &mut self,
        now: Duration,
        step: Step<'_>,
        objects: &Objects,
        known: &Known,
    ) -> Vec<String> {
        let mut broken = Vec::new();
        broken.extend(capacity::check(step, objects));
        broken.extend(self.counts.see(now, step, objects));
        broken.extend(self.deletions.see(now, step, objects, &known.deleted_by_user));
        broken
    }
}

/// Values that held at some time, of which the recent ones count.
#[derive(Debug, Default)]
struct Recent(Vec<(Duration, i64)>);

impl Recent {
    fn set(&mut self, now: Duration, value: i64) {
        if self.0.last().is_none_or(|(_, last)| *last != value) {
            self.0.push((now, value));
        }
    }

    /// The values that held at some time since `KNOWLEDGE_OLD_MAX` ago.
    fn values(&self, now: Duration) -> impl Iterator<Item = i64> {
        let from = now.saturating_sub(KNOWLEDGE_OLD_MAX);
        let old = self.0.iter().rposition(|(at, _)| *at <= from).unwrap_or(0);
        self.0[old..].iter().map(|(_, value)| *value)
    }
}

/// The number that the name of a StatefulSet's pod ends with.
fn ordinal(key: &str) -> Option<i64> {
    key.rsplit('-').next()?.parse().ok()
}

/// The uid of the controlling owner of a kind.
fn controller<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|o| o["controller"] == true && o["kind"] == kind)?;
    owner["uid"].as_str()
}
