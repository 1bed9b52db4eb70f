//! Follows the claims that pods mount, and removes the folders of volumes that go.
//!
//! One watch per claim of a pod, ended with the pod. What a claim means is kept in the checkpoint,
//! so that a host that comes back without its server mounts it again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Cache, Client, Failure as _, Scope, Subscription};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;

use crate::checkpoint::Files;
use crate::effects::{Message, Target};
use crate::pods::plan;
use crate::volumes::claims::{Claimed, Place, claim_name, claimed, folder_to_remove, volume_of};
use crate::volumes::plugin::{PluginError, VolumePlugin};

/// How long a mount waits for its claim to be bound before it is reported; the claim is usually
/// bound within a moment after its pod was placed.
const BOUND_MAX: Duration = Duration::from_secs(10);
/// The same where it is known from before what the claim means.
const KNOWN_MAX: Duration = Duration::from_millis(300);
/// Pause before a folder that could not be removed is tried again.
const REMOVAL_RETRY: Duration = Duration::from_secs(10);

/// Claims by the pod's name for the volume.
pub(crate) type Values = BTreeMap<String, Claimed>;

/// Why a claim cannot be mounted: the volume, and a sentence.
pub(crate) type Fault = (String, String);

struct Followed {
    cache: Cache<PersistentVolumeClaim>,
    _changes: Subscription,
}

/// The claims of this host's pods.
pub(crate) struct Claims {
    client: Client,
    files: Files,
    node: String,
    plugin: Arc<dyn VolumePlugin>,
    news: mpsc::UnboundedSender<Message>,
    followed: Mutex<HashMap<(String, String), Arc<Followed>>>,
}

impl Claims {
    pub(crate) fn new(
        client: Client,
        files: Files,
        node: String,
        plugin: Arc<dyn VolumePlugin>,
        news: mpsc::UnboundedSender<Message>,
    ) -> Arc<Self> {
        Arc::new(Self { client, files, node, plugin, news, followed: Mutex::default() })
    }

    /// Gives what the claims of a pod mean; waits for those that are being bound, not for ever.
    ///
    /// # Errors
    /// The first one that cannot be mounted.
    pub(crate) async fn of(&self, target: &Target) -> Result<Values, Fault> {
        let volumes = plan::spec(&target.pod).volumes.iter().flatten();
        let named: Vec<(String, String)> = volumes
            .filter_map(|volume| Some((volume.name.clone(), claim_name(&target.pod, volume)?)))
            .collect();
        if named.is_empty() {
            return Ok(Values::new());
        }
        let uid = &target.key.uid;
        let kept: Values = self.files.claims(uid);
        let mut values = Values::new();
        for (volume, claim) in named {
            let known = kept.get(&volume).cloned();
            let patience = if known.is_some() { KNOWN_MAX } else { BOUND_MAX };
            let found = self.resolve(target, &claim, patience).await;
            let value = match (found, known) {
                (Ok(value), _) => value,
                (Err(Unresolved::Unknown(error)), Some(known)) => {
                    tracing::debug!(pod = %target.key, claim, error, "uses what was known");
                    known
                }
                (Err(Unresolved::Unknown(error) | Unresolved::No(error)), _) => {
                    return Err((volume, error));
                }
            };
            if let Place::Folder(handle) = &value.place
                && let Err(error) = self.publish(handle).await
            {
                return Err((volume, error));
            }
            values.insert(volume, value);
        }
        if values != kept
            && let Err(error) = self.files.write_claims(uid, &values)
        {
            tracing::warn!(%error, "cannot keep what the claims of a pod mean");
        }
        Ok(values)
    }

    /// Gives what the claims of a pod meant when it was last mounted. Blocks.
    pub(crate) fn known(&self, uid: &str) -> Values {
        self.files.claims(uid)
    }

    /// Ends what only this pod needed.
    pub(crate) fn release(&self, uid: &str) {
        let mut any = false;
        self.followed.lock().retain(|(owner, _), _| {
            any |= owner == uid;
            owner != uid
        });
        if any {
            self.files.remove_claims(uid);
        }
    }

    /// Lets the driver make a volume be there.
    async fn publish(&self, handle: &str) -> Result<(), String> {
        let (plugin, handle) = (self.plugin.clone(), handle.to_owned());
        match tokio::task::spawn_blocking(move || plugin.publish(&handle)).await {
            Ok(published) => published.map(drop).map_err(|error| with_cause(&error)),
            Err(_) => Err("the host is shutting down".to_owned()),
        }
    }

    async fn resolve(
        &self,
        target: &Target,
        claim: &str,
        patience: Duration,
    ) -> Result<Claimed, Unresolved> {
        let followed = self.follow(target, claim);
        let cache = &followed.cache;
        let mut changes = cache.subscribe();
        let find = || cache.get(Some(&target.key.namespace), claim);
        let bound = async {
            cache.wait_synced().await;
            loop {
                if let Some(found) = find().filter(|found| volume_of(found).is_ok()) {
                    return found;
                }
                changes.next().await;
            }
        };
        let found = match tokio::time::timeout(patience, bound).await {
            Ok(found) => found,
            Err(_) if !cache.synced() => {
                let text = format!("claim \"{claim}\" is not known: no server answers");
                return Err(Unresolved::Unknown(text));
            }
            Err(_) => {
                let none = || format!("persistentvolumeclaim \"{claim}\" not found");
                let why = find().map_or_else(none, |f| volume_of(&f).err().unwrap_or_default());
                return Err(Unresolved::No(why));
            }
        };
        let name = volume_of(&found).map_err(Unresolved::No)?;
        let volume = self.client.cluster::<PersistentVolume>().get(&name).await;
        let volume = volume.map_err(|error| match error.is_refusal() {
            true => Unresolved::No(error.message()),
            false => Unresolved::Unknown(error.message()),
        })?;
        claimed(&found, &volume, &self.node).map_err(Unresolved::No)
    }

    fn follow(&self, target: &Target, claim: &str) -> Arc<Followed> {
        let key = (target.key.uid.clone(), claim.to_owned());
        let mut followed = self.followed.lock();
        let entry = followed.entry(key).or_insert_with(|| {
            let scope = Scope::all()
                .in_namespace(&target.key.namespace)
                .fields(format!("metadata.name={claim}"));
            let cache = Cache::start(&self.client, scope);
            let (news, uid) = (self.news.clone(), target.key.uid.clone());
            let changes = cache.observe(move |_| {
                let _ = news.send(Message::Refresh(uid.clone()));
            });
            Arc::new(Followed { cache, _changes: changes })
        });
        entry.clone()
    }

    /// Removes the folders of volumes that go, until the agent ends.
    pub(crate) async fn clear(self: Arc<Self>) {
        let volumes = Cache::<PersistentVolume>::start(&self.client, Scope::all());
        let mut changes = volumes.subscribe();
        volumes.wait_synced().await;
        loop {
            let mut left = false;
            for volume in volumes.list() {
                if let Some(handle) = folder_to_remove(&volume, &self.node) {
                    left |= !self.remove(&volume, &handle).await;
                }
            }
            if left {
                let _ = tokio::time::timeout(REMOVAL_RETRY, changes.next()).await;
            } else {
                changes.next().await;
            }
        }
    }

    /// Removes one folder and lets its volume go; gives false when it has to be tried again.
    async fn remove(&self, volume: &PersistentVolume, handle: &str) -> bool {
        let (plugin, own) = (self.plugin.clone(), handle.to_owned());
        match tokio::task::spawn_blocking(move || plugin.delete(&own)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = with_cause(&error);
                tracing::warn!(handle, error, "cannot remove a volume");
                return false;
            }
            Err(_) => return false,
        }
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let revision = &volume.metadata.resource_version;
        let patch = json!({"metadata": {"finalizers": null, "resourceVersion": revision}});
        let api = self.client.cluster::<PersistentVolume>();
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => true,
            Err(error) if error.is_not_found() => true,
            Err(error) => {
                tracing::debug!(volume = name, error = error.message(), "volume not let go");
                false
            }
        }
    }
}

fn with_cause(error: &PluginError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

enum Unresolved {
    /// Nobody could be asked.
    Unknown(String),
    /// It is so.
    No(String),
}
