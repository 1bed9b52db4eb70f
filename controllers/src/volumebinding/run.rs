//! The edge of the volume controller.

use std::sync::Arc;

use coracle_client::{
    Cache, Change, EventKind, Failure, ObjectKey, Outcome, Queue, Recorder, drive,
};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Resource;
use kube::api::PropagationPolicy;

use super::{Action, CLASS, claim, default_class, ephemeral, provision, volume};
use crate::context::{Context, Running};
use crate::objects::{name, namespace};
use crate::write::{self, WriteError, settle};

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    /// The built-in class.
    Class,
    /// A claim, by namespace and name.
    Claim(String, String),
    /// A volume.
    Volume(String),
    /// A pod that brings claims along, by namespace and name.
    Pod(String, String),
}

struct Controller {
    context: Context,
    recorder: Recorder,
    claims: Cache<PersistentVolumeClaim>,
    volumes: Cache<PersistentVolume>,
    classes: Cache<StorageClass>,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        recorder: context.recorder("persistentvolume-controller"),
        claims: context.caches.get(),
        volumes: context.caches.get(),
        classes: context.caches.get(),
        pods: context.caches.get(),
        nodes: context.caches.get(),
    });
    queue.add(Key::Class);
    let feeds = vec![
        controller.claims.observe({
            let queue = queue.clone();
            move |change| claim_changed(&queue, change)
        }),
        controller.volumes.observe({
            let (queue, claims) = (queue.clone(), controller.claims.clone());
            move |change| volume_changed(&queue, &claims, change)
        }),
        controller.classes.observe({
            let (queue, claims) = (queue.clone(), controller.claims.clone());
            move |change| {
                if change.new.is_none() {
                    queue.add(Key::Class);
                }
                waiting(&claims).for_each(|key| queue.add(key));
            }
        }),
        controller.pods.observe({
            let queue = queue.clone();
            move |change| pod_changed(&queue, change)
        }),
        controller.nodes.observe({
            let (queue, volumes) = (queue.clone(), controller.volumes.clone());
            move |change| {
                if change.new.is_none() {
                    let names = volumes.list();
                    let names = names.iter().map(|volume| name(&volume.metadata).to_owned());
                    names.for_each(|name| queue.add(Key::Volume(name)));
                }
            }
        }),
    ];
    let drive = drive("persistentvolume", queue, 1, move |key: Key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

fn claim_key(claim: &PersistentVolumeClaim) -> Key {
    Key::Claim(namespace(&claim.metadata).to_owned(), name(&claim.metadata).to_owned())
}

/// The claims that have no volume yet.
fn waiting(claims: &Cache<PersistentVolumeClaim>) -> impl Iterator<Item = Key> + use<> {
    let unbound = |claim: &Arc<PersistentVolumeClaim>| {
        claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound")
    };
    claims.list().into_iter().filter(unbound).map(|claim| claim_key(&claim))
}

fn claim_changed(queue: &Queue<Key>, change: &Change<PersistentVolumeClaim>) {
    let Some(claim) = change.latest() else { return };
    queue.add(claim_key(claim));
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
    if let Some(volume) = volume.filter(|volume| !volume.is_empty()) {
        queue.add(Key::Volume(volume));
    }
}

fn volume_changed(
    queue: &Queue<Key>,
    claims: &Cache<PersistentVolumeClaim>,
    change: &Change<PersistentVolume>,
) {
    let Some(volume) = change.latest() else { return };
    queue.add(Key::Volume(name(&volume.metadata).to_owned()));
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    match reference {
        Some(reference) => queue.add(Key::Claim(
            reference.namespace.clone().unwrap_or_default(),
            reference.name.clone().unwrap_or_default(),
        )),
        None => waiting(claims).for_each(|key| queue.add(key)),
    }
}

/// The claims that a pod uses, by name; those of its own templates are named after both.
fn claims_of(pod: &Pod) -> impl Iterator<Item = String> + '_ {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| {
        let claim = volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone());
        let own = volume.ephemeral.as_ref();
        claim.or_else(|| own.map(|_| ephemeral::claim_name(pod, &volume.name)))
    })
}

fn pod_changed(queue: &Queue<Key>, change: &Change<Pod>) {
    let Some(pod) = change.latest() else { return };
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    if change.new.is_some() && volumes.any(|volume| volume.ephemeral.is_some()) {
        let meta = &pod.metadata;
        queue.add(Key::Pod(namespace(meta).to_owned(), name(meta).to_owned()));
    }
    for claim in claims_of(pod) {
        queue.add(Key::Claim(namespace(&pod.metadata).to_owned(), claim));
    }
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, WriteError> {
        self.claims.wait_synced().await;
        self.volumes.wait_synced().await;
        self.classes.wait_synced().await;
        self.pods.wait_synced().await;
        self.nodes.wait_synced().await;
        match key {
            Key::Class => self.make_class().await?,
            Key::Claim(namespace, name) => self.claim(namespace, name).await?,
            Key::Volume(name) => self.volume(name).await?,
            Key::Pod(namespace, name) => self.pod(namespace, name).await?,
        }
        Ok(Outcome::Done)
    }

    async fn make_class(&self) -> Result<(), WriteError> {
        if self.classes.get(None, CLASS).is_some() {
            return Ok(());
        }
        let other = self.classes.list().iter().any(|class| provision::is_default(class));
        let api = self.context.client.cluster();
        match write::create(&api, &self.classes, &default_class(!other)).await {
            Err(error) if error.is_exists() => Ok(()),
            done => done.map(drop),
        }
    }

    async fn claim(&self, namespace: &str, name: &str) -> Result<(), WriteError> {
        let Some(claim) = self.claims.get(Some(namespace), name) else { return Ok(()) };
        let mut pods = self.pods.list_in(namespace);
        pods.retain(|pod| claims_of(pod).any(|used| used == name));
        let observed = claim::Observed {
            claim: claim.clone(),
            volumes: self.volumes.list(),
            classes: self.classes.list(),
            pods,
            nodes: self.nodes.list(),
        };
        for action in claim::reconcile(&observed) {
            self.apply_to_claim(&claim, action).await?;
        }
        Ok(())
    }

    async fn volume(&self, name: &str) -> Result<(), WriteError> {
        let Some(volume) = self.volumes.get(None, name) else { return Ok(()) };
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        let claim = reference.and_then(|reference| {
            let namespace = reference.namespace.clone();
            let name = reference.name.clone().unwrap_or_default();
            self.claims.get_key(&ObjectKey { namespace, name })
        });
        let observed = volume::Observed { volume: volume.clone(), claim, nodes: self.nodes.list() };
        for action in volume::reconcile(&observed) {
            self.apply_to_volume(&volume, action).await?;
        }
        Ok(())
    }

    async fn pod(&self, namespace: &str, name: &str) -> Result<(), WriteError> {
        let Some(pod) = self.pods.get(Some(namespace), name) else { return Ok(()) };
        let missing = ephemeral::missing(&pod, |claim| self.claims.get(Some(namespace), claim));
        match missing {
            Ok(claims) => {
                let api = self.context.client.namespaced(namespace);
                for claim in claims {
                    match write::create(&api, &self.claims, &claim).await {
                        Err(error) if error.is_exists() => {}
                        done => done.map(drop)?,
                    }
                }
            }
            Err(text) => self.note(&*pod, true, "FailedBinding", text),
        }
        Ok(())
    }

    async fn apply_to_claim(
        &self,
        claim: &PersistentVolumeClaim,
        action: Action,
    ) -> Result<(), WriteError> {
        let meta = &claim.metadata;
        let api = write::api_of::<PersistentVolumeClaim>(&self.context.client, meta);
        match action {
            Action::PatchClaim(patch) => write::patch(&api, &self.claims, meta, &patch).await,
            Action::SetClaimStatus(status) => {
                let old = claim.status.as_ref();
                write::set_status(&api, &self.claims, meta, old, &*status).await
            }
            Action::CreateVolume(volume) => {
                let volumes = self.context.client.cluster();
                match write::create(&volumes, &self.volumes, &*volume).await {
                    Err(error) if error.is_exists() => Ok(()),
                    done => done.map(drop),
                }
            }
            Action::Note(warning, reason, text) => {
                self.note(claim, warning, reason, text);
                Ok(())
            }
            Action::PatchVolume(..) | Action::SetVolumePhase(..) | Action::DeleteVolume => {
                self.change_volume(action).await
            }
        }
    }

    async fn apply_to_volume(
        &self,
        volume: &PersistentVolume,
        action: Action,
    ) -> Result<(), WriteError> {
        match action {
            Action::DeleteVolume => self.delete(volume).await,
            Action::Note(warning, reason, text) => {
                self.note(volume, warning, reason, text);
                Ok(())
            }
            Action::PatchVolume(..) | Action::SetVolumePhase(..) => {
                self.change_volume(action).await
            }
            Action::PatchClaim(_) | Action::SetClaimStatus(_) | Action::CreateVolume(_) => Ok(()),
        }
    }

    async fn change_volume(&self, action: Action) -> Result<(), WriteError> {
        let api = self.context.client.cluster::<PersistentVolume>();
        match action {
            Action::PatchVolume(name, patch) => {
                let Some(volume) = self.volumes.get(None, &name) else { return Ok(()) };
                write::patch(&api, &self.volumes, &volume.metadata, &patch).await
            }
            Action::SetVolumePhase(name, phase, message) => {
                let Some(volume) = self.volumes.get(None, &name) else { return Ok(()) };
                let status = serde_json::json!({"status": {"phase": phase, "message": message}});
                write::patch_status(&api, &self.volumes, &volume.metadata, &status).await
            }
            Action::PatchClaim(_)
            | Action::SetClaimStatus(_)
            | Action::CreateVolume(_)
            | Action::DeleteVolume
            | Action::Note(..) => Ok(()),
        }
    }

    /// Deletes a released volume after asking the server itself whether its claim is gone: data
    /// hangs on it.
    async fn delete(&self, volume: &PersistentVolume) -> Result<(), WriteError> {
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone());
        let reference = reference.unwrap_or_default();
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        let api = self.context.client.namespaced::<PersistentVolumeClaim>(namespace);
        match api.get(reference.name.as_deref().unwrap_or_default()).await {
            Ok(claim) if claim.metadata.uid == reference.uid => return Ok(()),
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                tracing::debug!(error = error.message(), "volume not deleted");
                return Ok(());
            }
        }
        let volumes = self.context.client.cluster::<PersistentVolume>();
        let background = PropagationPolicy::Background;
        write::delete(&volumes, &self.volumes, &volume.metadata, background, None).await
    }

    fn note<K: Resource<DynamicType = ()>>(
        &self,
        about: &K,
        warning: bool,
        reason: &'static str,
        text: String,
    ) {
        let kind = if warning { EventKind::Warning } else { EventKind::Normal };
        self.recorder.event(about, kind, reason, text);
    }
}
