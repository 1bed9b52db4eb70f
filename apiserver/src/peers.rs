//! What servers on one store owe each other: to hear of each other's writes before they answer, and to give out the
//! addresses of Services one after another.
//!
//! A server that is alone on its store does none of it. An edge: it waits for the store.

use bytes::Bytes;
use coracle_api::registry::{self, Kind};
use coracle_api::status::Status;
use coracle_store::{Committed, Guard, Revision, Write};
use serde_json::Value;

use crate::cache::Selection;
use crate::query::Query;
use crate::request_info::{RequestInfo, Verb};
use crate::server::Core;
use crate::service_address::Claim;
use crate::verbs::write::is_service;

/// The key that is written with each commit that takes or frees addresses. No object has it.
const TURN: &[u8] = b"/coracle/service-addresses";

/// A state of the Services' addresses that this server knows, and on which it gives out more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn(Option<Revision>);

impl Turn {
    /// The write that goes with a Service's: it fails when another server took or freed addresses since.
    ///
    /// `None` when nothing is taken or freed.
    pub(crate) fn write(self, claim: Option<&Claim>, frees: bool) -> Option<Write> {
        let takes = claim.is_some_and(|claim| !claim.is_empty());
        let guard = match self.0 {
            _ if !takes => Guard::Any,
            Some(revision) => Guard::At(revision),
            None => Guard::Absent,
        };
        (takes || frees).then(|| Write::put(TURN, Bytes::from_static(b"{}"), guard))
    }
}

impl Core {
    /// Waits until this server knows what any server acknowledged before a request came.
    ///
    /// # Errors
    /// 503 when the store cannot be asked.
    pub(crate) async fn hear_news(&self, info: &RequestInfo, query: &Query) -> Result<(), Status> {
        if !self.store.is_shared() || !needs_news(info, query) {
            return Ok(());
        }
        self.store.fresh().await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(cause, "the store does not tell its revision");
            Status::service_unavailable("the server does not reach its etcd; try again")
        })
    }

    /// Sees to it that this server knows all addresses that are taken; `None` where no other server takes any.
    pub(crate) async fn address_turn(&self, kind: &Kind) -> Result<Option<Turn>, Status> {
        if !is_service(kind) || !self.store.is_shared() {
            return Ok(None);
        }
        let turn = self.store.get(TURN).await.map_err(Status::internal)?.map(|kv| kv.modified);
        // Read after the turn: a Service that is written later comes with a later turn.
        let services = || -> Vec<Value> {
            let Some(kind) = registry::by_kind("", "v1", "Service") else { return Vec::new() };
            let cache = self.caches.resource(kind);
            let all = cache.map(|cache| cache.select(&Selection::all(kind))).unwrap_or_default();
            all.iter().map(|service| service.value()).collect()
        };
        self.addresses.renew(turn, services);
        Ok(Some(Turn(turn)))
    }

    /// Notes that a commit with a turn's write was done: what it took and freed is known here.
    pub(crate) fn turn_done(&self, turn: Option<Turn>, committed: &Committed) {
        let wrote = committed.events.iter().any(|event| event.key == TURN);
        if let Some(Turn(before)) = turn.filter(|_| wrote) {
            self.addresses.turned(before, committed.revision);
        }
    }
}

/// Whether a request must show the newest state: watches begin at a revision of their own, and who asks for revision 0
/// takes any.
fn needs_news(info: &RequestInfo, query: &Query) -> bool {
    let any = query.get("resourceVersion") == Some("0");
    match info.verb {
        Verb::Watch => false,
        Verb::Get | Verb::List => info.resource.is_some() && !any,
        Verb::Create
        | Verb::Update
        | Verb::Patch
        | Verb::Delete
        | Verb::DeleteCollection
        | Verb::Post
        | Verb::Put
        | Verb::Head
        | Verb::Options
        | Verb::Other => info.resource.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn reads_of_any_revision_and_watches_do_not_wait() {
        let check = |method: Method, path: &str, query: &str, expected: bool| {
            let query = Query::parse(query);
            let info = RequestInfo::parse(&method, path, &query);
            assert_eq!(needs_news(&info, &query), expected, "{method} {path}");
        };
        check(Method::GET, "/api/v1/pods", "", true);
        check(Method::GET, "/api/v1/pods", "resourceVersion=0", false);
        check(Method::GET, "/api/v1/pods", "watch=1", false);
        check(Method::GET, "/api/v1/namespaces/a/pods/b", "", true);
        check(Method::PUT, "/api/v1/namespaces/a/pods/b", "resourceVersion=0", true);
        check(Method::GET, "/readyz", "", false);
    }
}
