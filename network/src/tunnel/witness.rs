//! Watches a few other hosts over the tunnel and says in the own Lease who answers; renews the Lease at once when the
//! node controller asks for it.

use std::sync::Arc;
use std::time::Duration;

use coracle_api::peers::{ANSWER, RENEW, SILENT};
use coracle_client::{Cache, Client, Failure as _};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::doubt::{Doubts, Report, watched};
use super::overlay::Outward;

/// Namespace of the hosts' Leases.
const LEASES: &str = "kube-node-lease";
/// Time between two questions to a host that answers.
const EVERY: Duration = Duration::from_secs(1);
/// Time until the next question to one that did not.
const AFTER_MISS: Duration = Duration::from_millis(500);
/// How long an answer may take, a new connection included. Two of them with the pauses are less than five seconds.
const ANSWER_MAX: Duration = Duration::from_millis(1500);
/// How long the server may take to be told, so that hosts are watched on while it is not there.
const TELL_MAX: Duration = Duration::from_secs(2);
/// Time between two tries to renew the Lease.
const RETRY: Duration = Duration::from_millis(200);

/// What both tasks look at.
#[derive(Clone)]
pub(super) struct Witness {
    pub(super) client: Client,
    pub(super) nodes: Cache<Node>,
    pub(super) outward: Arc<Outward>,
    /// The name of this host's node.
    pub(super) own: String,
}

impl Witness {
    /// Watches for as long as it is polled.
    pub(super) async fn watch(self) {
        self.nodes.wait_synced().await;
        let (mut doubts, mut told) = (Doubts::default(), None);
        loop {
            let watched = watched(&self.own, self.outward.reachable().iter().map(String::as_str));
            doubts.follow(&watched);
            for (node, answered) in join_all(watched.iter().map(|node| self.ask(node))).await {
                if let Some(answered) = answered {
                    doubts.asked(node, answered);
                }
            }
            let report = doubts.report();
            // A host that was never with others has nothing to say.
            let is_news = told.as_ref().map_or(report != Report::default(), |told| *told != report);
            if is_news && self.tell(&report).await {
                told = Some(report);
            }
            tokio::time::sleep(if doubts.is_uneasy() { AFTER_MISS } else { EVERY }).await;
        }
    }

    /// Whether a host answers; `None`: this one cannot ask.
    async fn ask<'a>(&self, node: &'a str) -> (&'a str, Option<bool>) {
        let asking = tokio::time::timeout(ANSWER_MAX, self.outward.ask(node));
        (node, asking.await.unwrap_or(Some(false)))
    }

    async fn tell(&self, report: &Report) -> bool {
        let text = |list: &str| if list.is_empty() { Value::Null } else { json!(list) };
        let annotations = json!({ANSWER: text(&report.answer), SILENT: text(&report.silent)});
        if !report.silent.is_empty() {
            tracing::warn!(silent = report.silent, "hosts do not answer this one");
        }
        let telling = self.change_lease(json!({"metadata": {"annotations": annotations}}));
        tokio::time::timeout(TELL_MAX, telling).await.unwrap_or(false)
    }

    async fn change_lease(&self, body: Value) -> bool {
        let leases = self.client.namespaced::<Lease>(LEASES);
        let patch = Patch::Merge(&body);
        match leases.patch(&self.own, &PatchParams::default(), &patch).await {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(error = error.message(), "the own Lease is not changed");
                false
            }
        }
    }

    /// Renews the Lease whenever the Node asks for it, for as long as it is polled.
    #[expect(clippy::disallowed_methods, reason = "a Lease holds the time of its renewal")]
    pub(super) async fn renew_when_asked(self) {
        self.nodes.wait_synced().await;
        let asked = || {
            let node = self.nodes.get(None, &self.own)?;
            node.metadata.annotations.as_ref()?.get(RENEW).cloned()
        };
        let mut changes = self.nodes.subscribe();
        let mut answered = None;
        loop {
            let now = asked();
            if now != answered {
                let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
                if now.is_some() && !self.change_lease(json!({"spec": {"renewTime": at}})).await {
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                answered = now;
            }
            let _whatever = changes.next().await;
        }
    }
}
