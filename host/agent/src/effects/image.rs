//! Makes a container's image be here and prepared.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use coracle_api::capability::Finding;

use super::{Shared, Target};
use crate::config::objects::{ObjectKind, ObjectRef};
use crate::images::policy;
use crate::images::pull::{Policy, Progress};
use crate::images::signature::Keys;
use crate::images::{ImageFault, LocalImage, Pulled, credentials};
use crate::manifests::is_static;
use crate::pods::plan::{self, Index};
use crate::pods::state::{Fault, Note, PodEvent};
use crate::record::record;
use crate::runtime::toolbox;

/// Prefix of the annotation that plugs images into a container's imports.
const COMPOSE_ANNOTATION: &str = "coracle.dev/compose.";

/// Time between two words about a pull that takes long.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Looks up or pulls the image of a container, and compiles it. `used_before` is the image of its
/// last life, which serves when no registry can be asked.
pub(crate) async fn ensure(shared: &Shared, target: &Target, index: Index, used_before: String) {
    let event = match try_ensure(shared, target, index, &used_before).await {
        Ok((image_id, note)) => PodEvent::ImageReady { index, image_id, note },
        Err(fault) => PodEvent::ImageFailed { index, fault },
    };
    shared.tell(&target.key.uid, event);
}

async fn try_ensure(
    shared: &Shared,
    target: &Target,
    index: Index,
    used_before: &str,
) -> Result<(String, String), Fault> {
    let Some(container) = plan::container(&target.pod, index) else {
        return Err(Fault { reason: "InvalidImageName".into(), message: String::new() });
    };
    let name = container.image.as_deref().unwrap_or_default();
    let policy = Policy::parse(container.image_pull_policy.as_deref());
    let pulled = fetch(shared, target, index, name, policy, used_before).await;
    let pulled = pulled.map_err(|error| error.fault())?;
    let ran_before = !used_before.is_empty();
    let digest = &pulled.image.manifest_digest;
    signed(shared, target, name, digest, ran_before).await.map_err(|error| error.fault())?;
    let command = container.command.as_ref().and_then(|command| command.first());
    let image = toolbox::choose(pulled.image, command, &shared.config.data_dir)?;
    let pulled = Pulled { image, ..pulled };
    let mut plugs = Vec::new();
    for plug in plugs_of(target, &container.name) {
        let pulled = fetch(shared, target, index, &plug, policy, "").await;
        let image = pulled.map_err(|error| error.fault())?.image;
        let digest = &image.manifest_digest;
        signed(shared, target, &plug, digest, ran_before).await.map_err(|error| error.fault())?;
        plugs.push(image);
    }
    shared.runtime.prepare(&pulled.image, &plugs).await?;
    shared.images.learn(&pulled.image).await;
    allowed(shared, target, index, (&pulled.image, &plugs), used_before).await?;
    let image_id = pulled.image.image_id.clone();
    let note = note(name, &pulled);
    target.images.lock().insert(index, (pulled.image, plugs));
    Ok((image_id, note))
}

/// Refuses a container of which a policy forbids what it imports, and tells of what is only audited.
async fn allowed(
    shared: &Shared,
    target: &Target,
    index: Index,
    (image, plugs): (&LocalImage, &[LocalImage]),
    used_before: &str,
) -> Result<(), Fault> {
    let terms = policy::terms(&target.pod)?;
    let Some(container) = plan::container(&target.pod, index).filter(|_| !terms.is_empty()) else {
        return Ok(());
    };
    let name = container.image.as_deref().unwrap_or_default();
    let unknown = || policy::fault(format!("what image \"{name}\" imports cannot be read"));
    let own = shared.images.learn(image).await.ok_or_else(unknown)?;
    let mut plugged = Vec::new();
    for plug in plugs {
        plugged.push(shared.images.learn(plug).await.ok_or_else(unknown)?);
    }
    let before = match local_copy(shared, used_before) {
        Some(before) => shared.images.learn(&before).await,
        None => None,
    };
    let before = before.as_deref().map(|before| (used_before, before));
    let parts = (container.name.as_str(), name);
    let found = policy::judge(&terms, &target.pod, parts, (&own, &plugged), before);
    let mut refused = Vec::new();
    for Finding { audit, sentence } in found {
        if audit {
            let reason = policy::AUDITED;
            let note = Note { warning: true, reason, message: sentence, container: Some(index) };
            record(&shared.recorder, &target.pod, note);
        } else {
            refused.push(sentence);
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(policy::fault(refused.join("; "))) }
}

async fn fetch(
    shared: &Shared,
    target: &Target,
    index: Index,
    name: &str,
    policy: Policy,
    used_before: &str,
) -> Result<Pulled, ImageFault> {
    if let Some(image) = toolbox::image(name, &shared.config.data_dir)? {
        return Ok(Pulled { image, took: None });
    }
    if let Some(image) = shared.images.local(name, policy)? {
        return Ok(Pulled { image, took: None });
    }
    shared.tell(&target.key.uid, PodEvent::ImagePulling { index });
    tell_missing_secrets(shared, target, index).await;
    let credentials = pull_credentials(shared, target, name).await;
    let progress = Progress::default();
    let pull = shared.images.pull(name, credentials.as_ref(), &progress);
    match told(shared, target, index, name, &progress, pull).await {
        Err(ImageFault::Unreachable(message)) => match local_copy(shared, used_before) {
            Some(image) => Ok(Pulled { image, took: None }),
            None => Err(ImageFault::Unreachable(message)),
        },
        done => done,
    }
}

/// Checks that an image is signed, if the pod's namespace wants that. Of a namespace that is not known
/// yet, only what ran before comes back, and what this machine's owner has put on it.
pub(super) async fn signed(
    shared: &Shared,
    target: &Target,
    name: &str,
    digest: &str,
    ran_before: bool,
) -> Result<(), ImageFault> {
    // The toolbox is part of this program.
    if toolbox::is_image(name) {
        return Ok(());
    }
    let keys = match shared.services.signature_keys(&target.key.namespace) {
        Some(None) => return Ok(()),
        Some(Some(keys)) => keys,
        None if ran_before || is_static(&target.pod) => return Ok(()),
        None => {
            let why = "it is not known yet whether its namespace wants images to be signed";
            return Err(ImageFault::Unreachable(format!("image \"{name}\" waits: {why}")));
        }
    };
    let keys = Keys::parse(&keys).map_err(|error| ImageFault::Signature(error.to_string()))?;
    let credentials = pull_credentials(shared, target, name).await;
    shared.images.check_signed(name, digest, &keys, credentials.as_ref()).await
}

/// Tells the pod's owner from time to time how far a long pull is.
async fn told(
    shared: &Shared,
    target: &Target,
    index: Index,
    name: &str,
    progress: &Progress,
    pull: impl Future<Output = Result<Pulled, ImageFault>>,
) -> Result<Pulled, ImageFault> {
    tokio::pin!(pull);
    loop {
        if let Ok(done) = tokio::time::timeout(PROGRESS_INTERVAL, &mut pull).await {
            return done;
        }
        let (done, total) = (&progress.done, &progress.total);
        let message = format!(
            "Pulling image \"{name}\": {} of {} bytes are here",
            done.load(Ordering::Relaxed),
            total.load(Ordering::Relaxed)
        );
        let note = Note { warning: false, reason: "Pulling", message, container: Some(index) };
        record(&shared.recorder, &target.pod, note);
    }
}

fn local_copy(shared: &Shared, used_before: &str) -> Option<LocalImage> {
    let (_, digest) = used_before.split_once('@')?;
    shared.images.store().by_digest(digest)
}

pub(super) async fn pull_credentials(
    shared: &Shared,
    target: &Target,
    image: &str,
) -> Option<crate::images::registry::Credentials> {
    let secrets = pull_secrets(target);
    if secrets.is_empty() {
        return None;
    }
    let objects = shared.objects.get(&secrets).await.ok()?;
    credentials::find(&target.pod, image, &objects)
}

fn pull_secrets(target: &Target) -> BTreeSet<ObjectRef> {
    let secrets = plan::spec(&target.pod).image_pull_secrets.iter().flatten();
    let named = secrets.map(|secret| ObjectRef {
        kind: ObjectKind::Secret,
        namespace: target.key.namespace.clone(),
        name: secret.name.clone(),
    });
    named.collect()
}

/// Tells the pod's owner of pull secrets that are not there; the registry may give the image all the same.
///
/// *Source:* the kubelet's `getPullSecretsForPod`, whose sentence this is.
async fn tell_missing_secrets(shared: &Shared, target: &Target, index: Index) {
    let secrets = pull_secrets(target);
    if secrets.is_empty() {
        return;
    }
    let Ok(objects) = shared.objects.get(&secrets).await else { return };
    let is_missing = |secret: &&ObjectRef| objects.get(*secret).is_some_and(Option::is_none);
    let missing: Vec<&str> =
        secrets.iter().filter(is_missing).map(|secret| secret.name.as_str()).collect();
    if missing.is_empty() {
        return;
    }
    let message = format!(
        "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
        missing.join(", ")
    );
    let reason = "FailedToRetrieveImagePullSecret";
    record(
        &shared.recorder,
        &target.pod,
        Note { warning: true, reason, message, container: Some(index) },
    );
}

fn plugs_of(target: &Target, container: &str) -> Vec<String> {
    let annotations = target.pod.metadata.annotations.as_ref();
    let list = annotations.and_then(|map| map.get(&format!("{COMPOSE_ANNOTATION}{container}")));
    let parts = list.into_iter().flat_map(|list| list.split(','));
    parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// *Source:* the messages of kubelet's image manager.
fn note(name: &str, pulled: &Pulled) -> String {
    match pulled.took {
        None => format!(
            "Container image \"{name}\" already present on machine and can be accessed by the pod"
        ),
        Some(took) => {
            let took = go_duration(took);
            format!(
                "Successfully pulled image \"{name}\" in {took} ({took} including waiting). Image size: {} bytes.",
                pulled.image.size_bytes
            )
        }
    }
}

pub(super) fn go_duration(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{}ms", took.as_millis())
    } else {
        format!("{:.3}s", took.as_secs_f64())
    }
}
