//! Keeps [`Policies`] in step with the API, and a file of them for a start without a server.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Cache, Caches, Client, Scope, Subscription};
use coracle_vnet::Fabric;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::{Face, PodFace, Policies};
use crate::network::Network;

/// Time between two writes of the file, which may hold every pod of the cluster.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// Follows the API until it is dropped; then the policies stand still.
#[derive(Debug)]
pub struct FollowingPolicies {
    _observers: [Subscription; 2],
    task: JoinHandle<()>,
}

impl Drop for FollowingPolicies {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a file keeps.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    policies: Vec<NetworkPolicy>,
    namespaces: Vec<(String, BTreeMap<String, String>)>,
    pods: Vec<Face>,
}

/// Starts to follow NetworkPolicies and Namespaces, and while there is any policy the pods of the
/// cluster. Needs a tokio runtime.
///
/// What was known is kept in `file` and holds at once when this returns. Without a file, no pod
/// reaches another until the first lists have come: what the policies are is not known before.
#[must_use = "nothing is followed any more when it is dropped"]
pub fn follow_policies(
    network: &Arc<Network>,
    fabric: &Arc<Fabric>,
    caches: &Caches,
    file: PathBuf,
) -> FollowingPolicies {
    let saved = read(&file);
    network.guard.follow(fabric, saved.is_some());
    network.guard.change(|policies| saved.unwrap_or_default().fill(policies));
    let (policies, namespaces) = (caches.get::<NetworkPolicy>(), caches.get::<Namespace>());
    let changed = Arc::new(Notify::new());
    let observers = [
        observe_policies(network, &policies, &changed),
        observe_namespaces(network, &namespaces, &changed),
    ];
    let client = caches.client().clone();
    let network = Arc::clone(network);
    let keep = Keep { network, client, policies, namespaces, pods: None, file, changed };
    FollowingPolicies { _observers: observers, task: tokio::spawn(keep.run()) }
}

fn observe_policies(
    network: &Arc<Network>,
    policies: &Cache<NetworkPolicy>,
    changed: &Arc<Notify>,
) -> Subscription {
    let (network, changed) = (Arc::clone(network), Arc::clone(changed));
    policies.observe(move |change| {
        let (namespace, name) = (change.key.namespace.as_deref().unwrap_or(""), &change.key.name);
        network.guard.change(|policies| match &change.new {
            Some(policy) => policies.set_policy(namespace, name, policy),
            None => policies.remove_policy(namespace, name),
        });
        changed.notify_one();
    })
}

fn observe_namespaces(
    network: &Arc<Network>,
    namespaces: &Cache<Namespace>,
    changed: &Arc<Notify>,
) -> Subscription {
    let (network, changed) = (Arc::clone(network), Arc::clone(changed));
    namespaces.observe(move |change| {
        let labels = change.new.as_ref().map(|n| n.metadata.labels.clone().unwrap_or_default());
        network.guard.change(|policies| policies.set_namespace(&change.key.name, labels));
        changed.notify_one();
    })
}

/// Keeps pods and file in step.
struct Keep {
    network: Arc<Network>,
    client: Client,
    policies: Cache<NetworkPolicy>,
    namespaces: Cache<Namespace>,
    pods: Option<(Cache<PodFace>, Subscription)>,
    file: PathBuf,
    changed: Arc<Notify>,
}

impl Keep {
    async fn run(mut self) {
        self.policies.wait_synced().await;
        self.namespaces.wait_synced().await;
        self.follow_pods().await;
        // What the file had and the API has no more is gone from here on.
        self.network.guard.change(|policies| {
            *policies = Policies::default();
            self.saved().fill(policies);
        });
        self.network.guard.set_known();
        let mut due = tokio::time::interval(SAVE_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut news = true;
        loop {
            tokio::select! {
                _ = due.tick(), if news => {
                    news = false;
                    self.save().await;
                }
                () = self.changed.notified() => {
                    news = true;
                    self.follow_pods().await;
                }
            }
        }
    }

    /// Follows pods for as long as there is a policy that could ask for them.
    async fn follow_pods(&mut self) {
        if self.policies.is_empty() {
            self.pods = None;
            return;
        }
        if self.pods.is_some() {
            return;
        }
        let pods = Cache::<PodFace>::start(&self.client, Scope::all());
        let (network, changed) = (Arc::clone(&self.network), Arc::clone(&self.changed));
        let following = pods.observe(move |change| {
            let face = change.new.as_ref().map(|pod| pod.face());
            if face.is_some() && face == change.old.as_ref().map(|pod| pod.face()) {
                return;
            }
            let namespace = change.key.namespace.as_deref().unwrap_or("");
            network.guard.change(|policies| match face {
                Some(face) => policies.set_pod(face),
                None => policies.remove_pod(namespace, &change.key.name),
            });
            changed.notify_one();
        });
        pods.wait_synced().await;
        self.pods = Some((pods, following));
    }

    fn saved(&self) -> Saved {
        let namespaces = self.namespaces.list();
        let labels = |namespace: &Namespace| {
            let metadata = &namespace.metadata;
            (metadata.name.clone().unwrap_or_default(), metadata.labels.clone().unwrap_or_default())
        };
        let pods = self.pods.as_ref().map(|(pods, _)| pods.list()).unwrap_or_default();
        Saved {
            policies: self.policies.list().iter().map(|policy| (**policy).clone()).collect(),
            namespaces: namespaces.iter().map(|namespace| labels(namespace)).collect(),
            pods: pods.iter().map(|pod| pod.face()).collect(),
        }
    }

    /// Writes the file, whole or not at all.
    async fn save(&self) {
        let fresh = self.file.with_extension("new");
        let written = async {
            tokio::fs::write(&fresh, serde_json::to_vec(&self.saved())?).await?;
            tokio::fs::rename(&fresh, &self.file).await
        };
        if let Err(error) = written.await {
            let error: io::Error = error;
            tracing::warn!(%error, file = %self.file.display(), "save the network policies");
        }
    }
}

impl Saved {
    fn fill(self, policies: &mut Policies) {
        for policy in &self.policies {
            let metadata = &policy.metadata;
            let namespace = metadata.namespace.as_deref().unwrap_or_default();
            policies.set_policy(namespace, metadata.name.as_deref().unwrap_or_default(), policy);
        }
        for (name, labels) in self.namespaces {
            policies.set_namespace(&name, Some(labels));
        }
        self.pods.into_iter().for_each(|face| policies.set_pod(face));
    }
}

fn read(file: &PathBuf) -> Option<Saved> {
    let bytes = std::fs::read(file).ok()?;
    let saved = serde_json::from_slice(&bytes);
    saved.inspect_err(|error| tracing::warn!(%error, "saved network policies cannot be read")).ok()
}
