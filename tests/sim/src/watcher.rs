//! Clients that watch a resource and compare each event with the oracle's log: every one, once, in order.

use std::sync::Arc;

use coracle_client::Client;
use coracle_simulate::note;
use coracle_simulate::objects::text;
use coracle_simulate::oracle::Did;
use coracle_simulate::world::World;
use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;
use tokio::time::sleep;

/// What a watcher follows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Followed {
    /// The API's path, such as `/api/v1/pods`.
    pub(crate) path: &'static str,
    /// Where it is in the store, such as `/registry/core/pods/`.
    pub(crate) prefix: &'static str,
}

/// Resources that are followed.
pub(crate) const ALL: [Followed; 6] = [
    Followed { path: "/api/v1/pods", prefix: "/registry/core/pods/" },
    Followed { path: "/apis/apps/v1/deployments", prefix: "/registry/apps/deployments/" },
    Followed { path: "/apis/apps/v1/replicasets", prefix: "/registry/apps/replicasets/" },
    Followed { path: "/api/v1/nodes", prefix: "/registry/core/nodes/" },
    Followed { path: "/api/v1/configmaps", prefix: "/registry/core/configmaps/" },
    Followed { path: "/apis/apps/v1/statefulsets", prefix: "/registry/apps/statefulsets/" },
];

/// One client.
pub(crate) struct Watcher {
    world: Arc<World>,
    client: Client,
    followed: Followed,
    /// Everything up to this revision was seen; `None` when a list is needed.
    seen: Option<u64>,
}

/// Why a stream is over.
enum End {
    /// Go on where it ended.
    Resume,
    /// The history is gone.
    Gone,
}

impl Watcher {
    /// A client that has seen nothing.
    pub(crate) fn new(world: &Arc<World>, client: Client, followed: Followed) -> Watcher {
        Watcher { world: Arc::clone(world), client, followed, seen: None }
    }

    /// Lists and watches for ever.
    pub(crate) async fn run(mut self) {
        loop {
            self.tell();
            let end = match self.seen {
                None => self.list().await,
                Some(after) => self.watch(after).await,
            };
            if matches!(end, Some(End::Gone)) {
                note!(self.world, "watch of {} at {:?}: gone", self.followed.path, self.seen);
                self.seen = None;
            }
            sleep(self.world.millis(1.0..1_000.0)).await;
        }
    }

    fn tell(&self) {
        let mut watchers = self.world.watchers.lock();
        watchers.insert(self.followed.prefix, self.seen.unwrap_or(0));
    }

    fn request(path: String) -> Option<Request<Body>> {
        Request::get(path).body(Body::empty()).ok()
    }

    /// Lists; the list must be what the store held at its revision, as far as that can still be told.
    async fn list(&mut self) -> Option<End> {
        let answer =
            self.client.kube().send(Self::request(self.followed.path.to_owned())?).await.ok()?;
        let bytes = answer.into_body().collect().await.ok()?.to_bytes();
        let list: Value = serde_json::from_slice(&bytes).ok()?;
        let revision = text(&list, "/metadata/resourceVersion").parse().ok()?;
        let items = list["items"].as_array()?.len();
        let expected = self.held_at(revision);
        if items != expected {
            self.world.broken(format!(
                "a list of {} at {revision} has {items} items in place of {expected}",
                self.followed.path
            ));
        }
        self.seen = Some(revision);
        None
    }

    /// How many objects there were at a revision.
    fn held_at(&self, revision: u64) -> usize {
        let oracle = self.world.oracle.lock();
        let own = oracle.log.iter().filter(|logged| logged.key.starts_with(self.followed.prefix));
        let mut count = 0;
        for logged in own.take_while(|logged| logged.revision <= revision) {
            match logged.did {
                Did::Added => count += 1,
                Did::Deleted => count -= 1,
                Did::Modified => {}
            }
        }
        count
    }

    async fn watch(&mut self, after: u64) -> Option<End> {
        let path = self.followed.path;
        let path = format!("{path}?watch=true&allowWatchBookmarks=true&resourceVersion={after}");
        let answer = self.client.kube().send(Self::request(path)?).await.ok()?;
        if answer.status() == http::StatusCode::GONE {
            return Some(End::Gone);
        }
        let mut frames = answer.into_body().into_data_stream();
        let mut rest = Vec::new();
        while let Some(Ok(frame)) = frames.next().await {
            rest.extend_from_slice(&frame);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(event) => {
                        if let Some(end) = self.event(&event) {
                            return Some(end);
                        }
                    }
                    Err(error) => self.world.broken(format!("a watch sent no JSON: {error}")),
                }
            }
        }
        Some(End::Resume)
    }

    fn event(&mut self, event: &Value) -> Option<End> {
        let object = &event["object"];
        let revision: u64 = text(object, "/metadata/resourceVersion").parse().unwrap_or(0);
        let did = match event["type"].as_str() {
            Some("ADDED") => Did::Added,
            Some("MODIFIED") => Did::Modified,
            Some("DELETED") => Did::Deleted,
            Some("BOOKMARK") => {
                self.passed_over(revision, "a bookmark");
                self.seen = self.seen.max(Some(revision));
                return None;
            }
            Some("ERROR") if object["code"] == 410 => return Some(End::Gone),
            _ => return Some(End::Resume),
        };
        let (namespace, name) =
            (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        let place =
            if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
        let key = format!("{}{place}", self.followed.prefix);
        self.passed_over(revision.saturating_sub(1), &key);
        if self.seen >= Some(revision) {
            self.world.broken(format!("{key} at {revision} was sent twice or out of order"));
        }
        let known = {
            let oracle = self.world.oracle.lock();
            let at = oracle.log.partition_point(|logged| logged.revision < revision);
            let same = oracle.log[at..].iter().take_while(|logged| logged.revision == revision);
            same.into_iter().any(|logged| logged.key == key && logged.did == did)
        };
        if !known {
            self.world.broken(format!("{key} at {revision} was sent as {did:?} and never was"));
        }
        self.seen = Some(revision);
        self.tell();
        None
    }

    /// Checks that no event up to and with a revision was left out.
    fn passed_over(&self, up_to: u64, by: &str) {
        let Some(seen) = self.seen else { return };
        let lost = {
            let oracle = self.world.oracle.lock();
            let from = oracle.log.partition_point(|logged| logged.revision <= seen);
            let mut between = oracle.log[from..].iter().take_while(|l| l.revision <= up_to);
            between.find(|logged| logged.key.starts_with(self.followed.prefix)).cloned()
        };
        if let Some(lost) = lost {
            self.world.broken(format!(
                "a watch of {} was not sent {} at {}, before {by}",
                self.followed.path, lost.key, lost.revision
            ));
        }
    }
}
