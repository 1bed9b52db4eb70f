//! The edge that looks after the servers behind APIServices: whether they answer, and what they serve.
//!
//! Level, not edge: each round looks at all of them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use coracle_api::meta;
use coracle_api::registry::{self, Kind};
use coracle_store::{Guard, Write};
use serde_json::Value;

use super::proxy::failed_check;
use super::remote::Remote;
use crate::body;
use crate::cache::{self, Object, Selection, WatchFrom};
use crate::clock;
use crate::discovery;
use crate::metadata;
use crate::reach::Unreachable;
use crate::server::Core;

/// Time between two looks when all servers answer. *Source:* the resync of the availability controller upstream.
const PERIOD: Duration = Duration::from_secs(30);
/// The same when one does not, so that it is served soon after it is there.
const PERIOD_WHILE_MISSING: Duration = Duration::from_secs(2);
/// How long a server has to answer. *Source:* the discovery timeout of `kube-aggregator`.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest discovery document or index that is read.
const DOCUMENT_BYTES_MAX: usize = 4 << 20;

/// What one server said.
struct Checked {
    resources: Value,
    /// Its OpenAPI document's path in the index, and hash.
    document: Option<(String, String)>,
}

/// Follows the APIServices until the server ends.
pub(crate) async fn follow(core: Weak<Core>) {
    let Some(kind) = registry::by_kind("apiregistration.k8s.io", "v1", "APIService") else {
        return;
    };
    let mut published: Vec<discovery::Remote> = Vec::new();
    loop {
        let Some((shutdown, cache)) = core.upgrade().and_then(|core| {
            Some((core.shutdown.clone(), Arc::clone(core.caches.resource(kind)?)))
        }) else {
            return;
        };
        let Ok(mut watch) = cache.watch(Selection::all(kind), WatchFrom::Now) else { return };
        drop(cache);
        loop {
            let Some(strong) = core.upgrade() else { return };
            let missing = strong.settle_remotes(kind, &mut published).await;
            drop(strong);
            let period = if missing { PERIOD_WHILE_MISSING } else { PERIOD };
            let next = async {
                match tokio::time::timeout(period, watch.next()).await {
                    Ok(events) => events.is_some(),
                    Err(_elapsed) => true,
                }
            };
            tokio::select! {
                goes_on = next => if !goes_on { break },
                () = shutdown.cancelled() => return,
            }
        }
    }
}

impl Core {
    /// Looks at all servers once; whether one does not answer.
    async fn settle_remotes(
        &self,
        kind: &'static Kind,
        published: &mut Vec<discovery::Remote>,
    ) -> bool {
        let Ok(cache) = self.objects(kind) else { return false };
        let objects = cache.select(&Selection::all(kind));
        let found: Vec<(Arc<Object>, Arc<Remote>)> = objects
            .iter()
            .filter_map(|object| {
                Some((Arc::clone(object), Arc::new(Remote::read(&object.value())?)))
            })
            .collect();
        self.remotes.set(found.iter().map(|(_, remote)| Arc::clone(remote)).collect());
        let checks = found.iter().map(|(_, remote)| self.check_remote(remote));
        let checked = futures::future::join_all(checks).await;
        let (mut remotes, mut documents, mut told) = (Vec::new(), Vec::new(), Vec::new());
        for ((object, remote), outcome) in found.iter().zip(checked) {
            let before = published
                .iter()
                .find(|known| known.group == remote.group && known.version == remote.version);
            let available = outcome.is_ok();
            let (resources, missing) = match outcome {
                Ok(checked) => {
                    documents.extend(checked.document);
                    (checked.resources, None)
                }
                Err(missing) => {
                    let before = before.map(|known| known.resources.clone());
                    (before.unwrap_or_default(), Some(missing))
                }
            };
            let (group, version) = (remote.group.clone(), remote.version.clone());
            remotes.push(discovery::Remote { group, version, resources, available });
            told.push((object, missing));
        }
        self.remotes.set_documents(documents);
        if *published != remotes {
            self.discovery.publish_remotes(&remotes);
            *published = remotes;
        }
        // Last: whoever reads that a server is available finds what it serves.
        let is_missing = told.iter().any(|(_, missing)| missing.is_some());
        for (object, missing) in told {
            self.tell(kind, object, missing.as_ref()).await;
        }
        is_missing
    }

    async fn check_remote(&self, remote: &Remote) -> Result<Checked, Unreachable> {
        let check = async {
            let path = format!("/apis/{}/{}", remote.group, remote.version);
            let resources = self.document(remote, path.clone()).await?;
            // A server without OpenAPI v3 is served all the same.
            let index = self.document(remote, "/openapi/v3".to_owned()).await.unwrap_or_default();
            let name = path.trim_start_matches('/').to_owned();
            let url = index["paths"][&name]["serverRelativeURL"].as_str();
            let hash = url.and_then(|url| url.split_once("hash=")).map(|(_, hash)| hash.to_owned());
            Ok(Checked { resources, document: hash.map(|hash| (name, hash)) })
        };
        let late = || failed_check(&"the answer took too long");
        tokio::time::timeout(CHECK_TIMEOUT, check).await.unwrap_or_else(|_| Err(late()))
    }

    async fn document(&self, remote: &Remote, path: String) -> Result<Value, Unreachable> {
        let answer = self.ask_remote(remote, path.clone()).await?;
        let code = answer.status();
        let bytes = body::read_up_to(answer.into_body(), DOCUMENT_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| failed_check(&error))?;
        if !code.is_success() {
            return Err(failed_check(&format!("{path} answers {code}")));
        }
        serde_json::from_slice(&bytes).map_err(|error| failed_check(&error))
    }

    /// The documents of OpenAPI v3 of all servers behind APIServices, and whether one of them did not answer.
    ///
    /// A document may only tell of its own group and version, and brings no title of its own.
    pub(crate) async fn remote_documents(&self) -> (Vec<Value>, bool) {
        let asked = self.remotes.documents().into_iter().map(async |(remote, path, _)| {
            let document = self.document(&remote, format!("/openapi/v3/{path}"));
            let document = tokio::time::timeout(CHECK_TIMEOUT, document).await.ok()?.ok()?;
            Some(only_below(&format!("/{path}"), document))
        });
        let answers = futures::future::join_all(asked).await;
        let is_whole = answers.iter().all(Option::is_some);
        (answers.into_iter().flatten().collect(), is_whole)
    }

    /// Writes the condition of an APIService; a lost race is left to the next round.
    async fn tell(&self, kind: &'static Kind, object: &Object, missing: Option<&Unreachable>) {
        let mut value = object.value();
        let condition = match missing {
            None => ("True", "Passed", "all checks passed"),
            Some(missing) => ("False", missing.reason, missing.message.as_str()),
        };
        let now = metadata::time(clock::now());
        let Some(status) = super::available(&value, condition, &now) else { return };
        value["status"] = status;
        let guard = Guard::At(object.revision);
        let write = Write::put(object.key.clone(), cache::encode(kind, &value), guard);
        if let Err(error) = self.store.commit(vec![write]).await {
            tracing::debug!(%error, service = meta::name(&value), "an APIService changed meanwhile");
        }
    }
}

/// A document without the paths of others.
fn only_below(prefix: &str, document: Value) -> Value {
    let paths = document["paths"].as_object().into_iter().flatten();
    let own = paths.filter(|(path, _)| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let own: serde_json::Map<String, Value> =
        own.map(|(path, item)| (path.clone(), item.clone())).collect();
    serde_json::json!({"paths": own, "components": {"schemas": document["components"]["schemas"]}})
}
