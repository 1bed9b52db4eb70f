//! What must hold at every event of the store, whatever fails.

mod capacity;
mod counts;
mod deletions;
mod fields;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::oracle::{Objects, Step};

pub(crate) use fields::{is_active, is_ready, is_terminal, text};

/// How long a controller may still act on what it knew: the longest way of an event to it, with its answer.
const KNOWLEDGE_OLD_MAX: Duration = Duration::from_secs(30);

/// Where pods are in the store.
pub(crate) const PODS: &str = "/registry/core/pods/";
/// Where nodes are.
pub(crate) const NODES: &str = "/registry/core/nodes/";
/// Where ReplicaSets are.
pub(crate) const REPLICA_SETS: &str = "/registry/apps/replicasets/";
/// Where StatefulSets are.
pub(crate) const STATEFUL_SETS: &str = "/registry/apps/statefulsets/";
/// Where Jobs are.
pub(crate) const JOBS: &str = "/registry/batch/jobs/";
/// Where Namespaces are.
pub(crate) const NAMESPACES: &str = "/registry/core/namespaces/";
/// Where Deployments are.
pub(crate) const DEPLOYMENTS: &str = "/registry/apps/deployments/";

/// The promises with what they remember.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    counts: counts::Counts,
    deletions: deletions::Deletions,
    /// Keys of what a user has asked to delete.
    pub(crate) deleted_by_user: BTreeSet<String>,
    /// Namespace and name of pods that a user had forgotten though they may run: `--force --grace-period=0`.
    pub(crate) forced: BTreeSet<String>,
    /// Names of nodes whose object was deleted at some time.
    pub(crate) nodes_deleted: BTreeSet<String>,
}

impl Promises {
    /// Looks at one step; `objects` are as they are after it. Gives what was broken.
    pub(crate) fn see(&mut self, now: Duration, step: Step<'_>, objects: &Objects) -> Vec<String> {
        let mut broken = Vec::new();
        if let (Some(node), None) = (step.key.strip_prefix(NODES), step.after) {
            self.nodes_deleted.insert(node.to_owned());
        }
        broken.extend(capacity::check(step, objects));
        broken.extend(self.counts.see(now, step, objects));
        broken.extend(self.deletions.see(now, step, objects, &self.deleted_by_user));
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

/// The name that a store's key ends with.
pub(crate) fn name_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or_default()
}

/// The uid of the controlling owner of a kind.
fn controller<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|o| o["controller"] == true && o["kind"] == kind)?;
    owner["uid"].as_str()
}
