//! The edge of a cache: lists, watches, reconnects.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use http::Request as HttpRequest;
use kube::api::{ObjectList, WatchEvent};
use kube::core::Request;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::scope::Scope;
use super::{Object, Shared};
use crate::client::Failure;

/// First pause after a failure: a server that restarts is back in less than a second.
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);

/// Longest pause between attempts; bounds how late a host sees a server that came back.
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// A watch that has said nothing for so long is dead: the server ends it after 290 s by itself.
const SILENCE_MAX: Duration = Duration::from_secs(310);

/// A list that takes longer hangs: 10,000 objects take 15 ms.
const LIST_MAX: Duration = Duration::from_secs(60);

/// How old a list may become before a watch that ends is followed by a new one: whatever event was lost on the way, by
/// whatever fault, is noticed then. Watches end after five minutes at the latest.
const RELIST_AFTER: Duration = Duration::from_secs(600);

/// The same at most, for lists that take long.
const RELIST_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// How many times as long as a list took pass before the next: lists are then a thousandth of the work at most.
const RELIST_SHARE: u32 = 1_000;

/// What to do after a watch ended.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Go on from the last revision at once.
    Resume,
    /// Go on from the last revision after a pause.
    Retry,
    /// Begin with a list after a pause.
    Relist,
}

pub(super) fn spawn<K: Object>(
    client: kube::Client,
    scope: Scope,
    shared: Arc<Shared<K>>,
) -> JoinHandle<()> {
    let request = Request::new(K::url_path(&(), scope.namespace.as_deref()));
    tokio::spawn(Follower { client, scope, request, shared }.run())
}

struct Follower<K> {
    client: kube::Client,
    scope: Scope,
    request: Request,
    shared: Arc<Shared<K>>,
}

impl<K: Object> Follower<K> {
    async fn run(self) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            match tokio::time::timeout(LIST_MAX, self.list()).await {
                Ok(Ok(())) => {
                    failures = 0;
                    self.shared.synced.send_replace(true);
                    self.follow(Instant::now() + relist_after(began.elapsed())).await;
                }
                Ok(Err(error)) => {
                    tracing::debug!(kind = %K::kind(&()), %error, "list failed");
                    failures += 1;
                }
                Err(_) => failures += 1,
            }
            tokio::time::sleep(back_off(failures)).await;
        }
    }

    /// Watches until a list is needed again, or is due.
    async fn follow(&self, due: Instant) {
        let mut failures = 0;
        loop {
            let before = self.shared.state.read().revision();
            let next = self.watch(before).await;
            if self.shared.state.read().revision() > before {
                failures = 0;
            }
            match next {
                Next::Resume | Next::Retry if Instant::now() >= due => return,
                Next::Resume => {}
                Next::Retry => {
                    failures += 1;
                    tokio::time::sleep(back_off(failures)).await;
                }
                Next::Relist => return,
            }
        }
    }

    async fn list(&self) -> Result<(), kube::Error> {
        let mut all = Vec::new();
        let mut token = None;
        loop {
            let params = self.scope.list_params(token);
            let request = if K::metadata_api() {
                self.request.list_metadata(&params)
            } else {
                self.request.list(&params)
            };
            let page = self.page(request.map_err(kube::Error::BuildRequest)?).await?;
            {
                // Page by page: a whole list in full would take several times what is kept of it.
                let kept = page.items.into_iter().map(|object| self.shared.kept(object));
                let state = self.shared.state.read();
                all.extend(kept.map(|object| state.compare(object)));
            }
            token = page.metadata.continue_.filter(|token| !token.is_empty());
            if token.is_none() {
                let revision = page.metadata.resource_version;
                let revision = revision.and_then(|text| text.parse().ok()).unwrap_or(0);
                self.shared.publish(|state| state.replace(all, revision));
                return Ok(());
            }
        }
    }

    /// Reads a page; an object that does not fit its type is left out, not the whole page.
    async fn page(&self, request: HttpRequest<Vec<u8>>) -> Result<ObjectList<K>, kube::Error> {
        let text = self.client.request_text(request).await?;
        if let Ok(page) = serde_json::from_str(&text) {
            return Ok(page);
        }
        let page: ObjectList<serde_json::Value> =
            serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
        let readable = |item| match serde_json::from_value(item) {
            Ok(object) => Some(object),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "object left out of the cache");
                None
            }
        };
        Ok(ObjectList {
            types: page.types,
            metadata: page.metadata,
            items: page.items.into_iter().filter_map(readable).collect(),
        })
    }

    async fn watch(&self, after: u64) -> Next {
        let params = self.scope.watch_params();
        let after = after.to_string();
        let request = if K::metadata_api() {
            self.request.watch_metadata(&params, &after)
        } else {
            self.request.watch(&params, &after)
        };
        let Ok(request) = request else { return Next::Relist };
        let events = match self.client.request_events::<K>(request).await {
            Ok(events) => events.boxed(),
            Err(error) => return after_error(&error),
        };
        self.drain(events).await
    }

    async fn drain(
        &self,
        mut events: futures::stream::BoxStream<'_, Result<WatchEvent<K>, kube::Error>>,
    ) -> Next {
        let mut n_events: u64 = 0;
        loop {
            match tokio::time::timeout(SILENCE_MAX, events.next()).await {
                Ok(Some(Ok(WatchEvent::Error(status)))) => {
                    return after_error(&kube::Error::Api(status));
                }
                Ok(Some(Ok(event))) => {
                    n_events += 1;
                    self.take(event);
                }
                Ok(Some(Err(error))) if is_unreadable(&error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "event left out of the cache");
                }
                Ok(Some(Err(error))) => return after_error(&error),
                // An end right at the beginning must not become a busy loop.
                Ok(None) => return if n_events > 0 { Next::Resume } else { Next::Retry },
                Err(_) => return Next::Retry,
            }
        }
    }

    fn take(&self, event: WatchEvent<K>) {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let object = self.shared.kept(object);
                self.shared.publish(|state| state.apply(object).into_iter().collect());
            }
            WatchEvent::Deleted(object) => {
                self.shared.publish(|state| state.remove(&object).into_iter().collect());
            }
            WatchEvent::Bookmark(bookmark) => {
                let revision = bookmark.metadata.resource_version.parse().unwrap_or(0);
                self.shared.state.write().advance(revision);
            }
            WatchEvent::Error(_) => {}
        }
    }
}

/// An event whose object does not fit its type; `kube` reads such a line as an empty status.
fn is_unreadable(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return matches!(error, kube::Error::SerdeError(_));
    };
    status.code == 0 && status.reason.is_empty()
}

/// Server errors and broken connections keep the revision; any refusal asks for a new list.
fn after_error(error: &kube::Error) -> Next {
    let kube::Error::Api(status) = error else { return Next::Retry };
    let again = matches!(status.code, 429 | 500 | 502 | 503);
    if error.is_gone() || !again { Next::Relist } else { Next::Retry }
}

/// Says how long a list that took so long is good for; drawn, so that not all caches list at once.
fn relist_after(took: Duration) -> Duration {
    let after = took.saturating_mul(RELIST_SHARE).clamp(RELIST_AFTER, RELIST_AFTER_MAX);
    after.mul_f64(rand::random_range(0.75..=1.25))
}

/// Doubles from the first to the longest pause, and draws from its upper half.
pub(crate) fn back_off(failures: u32) -> Duration {
    let doubled = BACK_OFF_FIRST.saturating_mul(1 << failures.min(10));
    doubled.min(BACK_OFF_MAX).mul_f64(rand::random_range(0.5..=1.0))
}
