//! Events go an hour after they were last seen.
//!
//! *Source:* kube-apiserver's `--event-ttl`, one hour; there etcd's leases do it, here the server looks now and then.

use coracle_api::registry;
use coracle_store::{COMMIT_WRITES_MAX, CommitError, Guard, Write};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::cache::Selection;
use crate::clock;
use crate::server::Core;

/// How long an Event is kept after it was last seen.
const EVENT_KEPT: SignedDuration = SignedDuration::from_hours(1);

impl Core {
    /// Removes the Events whose time is up.
    pub(crate) async fn remove_old_events(&self) {
        let Some(kind) = registry::by_kind("", "v1", "Event") else { return };
        let Some(cache) = self.caches.resource(kind).filter(|cache| !cache.is_empty()) else {
            return;
        };
        let now = clock::now();
        let events = cache.select(&Selection::all(kind));
        let old = events.iter().filter(|event| is_over(&event.value(), now));
        let writes: Vec<Write> =
            old.map(|event| Write::delete(event.key.clone(), Guard::At(event.revision))).collect();
        for batch in writes.chunks(COMMIT_WRITES_MAX) {
            match self.store.commit(batch.to_vec()).await {
                // An Event that was seen again meanwhile stays, and its batch waits for the next time.
                Ok(_) | Err(CommitError::Conflict { .. }) => {}
                Err(error) => return tracing::warn!(%error, "cannot remove old events"),
            }
        }
    }
}

/// Whether an Event was last seen so long ago that it goes.
fn is_over(event: &Value, now: Timestamp) -> bool {
    let times =
        ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    let seen =
        times.iter().filter_map(|path| event.pointer(path)?.as_str()?.parse::<Timestamp>().ok());
    seen.max().is_some_and(|seen| now.duration_since(seen) > EVENT_KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_lives_an_hour_after_it_was_last_seen() {
        let check = |event: Value, expected: bool| {
            assert_eq!(is_over(&event, "2026-01-01T02:00:00Z".parse().unwrap()), expected);
        };
        check(json!({"metadata": {"creationTimestamp": "2026-01-01T00:30:00Z"}}), true);
        check(json!({"metadata": {"creationTimestamp": "2026-01-01T01:30:00Z"}}), false);
        let seen_again = json!({"metadata": {"creationTimestamp": "2026-01-01T00:30:00Z"},
            "lastTimestamp": "2026-01-01T01:30:00Z"});
        check(seen_again, false);
        check(json!({}), false);
    }
}
