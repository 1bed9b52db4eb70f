//! Starts a container.

use std::path::PathBuf;

use coracle_api::quantity::Quantity;
use coracle_client::EventKind;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::{Message, Shared, Target};
use crate::clock::now;
use crate::config::env::{self, Environment};
use crate::config::{argv, objects};
use crate::images::LocalImage;
use crate::pods::hostname::{hostname, kernel_name};
use crate::pods::plan::{self, Index, PodKey};
use crate::pods::state::{Fault, Note, PodEvent};
use crate::record::{about, record};
use crate::requests::{Noted, Owner};
use crate::runtime::resource::{Facts, resource};
use crate::runtime::{FaultSink, Isolation, StartRequest, Stdin};
use crate::volumes::{kept, mounts};

/// The annotation that says how requests of http containers share instances.
const ISOLATION_ANNOTATION: &str = "coracle.dev/isolation";

/// Port of an http component whose container declares none.
const HTTP_PORT_DEFAULT: u16 = 80;

/// Starts a container; `restart_count` is the number of its log file.
pub(crate) async fn start(shared: &Shared, target: &Target, index: Index, restart_count: u32) {
    let uid = &target.key.uid;
    match try_start(shared, target, index, restart_count).await {
        Ok(started) => {
            let (id, at) = (life_id(), now());
            let message = Message::Started { uid: uid.clone(), index, id, at, exit: started.exit };
            let _ = shared.news.send(message);
        }
        Err(fault) => shared.tell(uid, PodEvent::StartFailed { index, fault }),
    }
}

async fn try_start(
    shared: &Shared,
    target: &Target,
    index: Index,
    restart_count: u32,
) -> Result<crate::runtime::Started, Fault> {
    let container = plan::container(&target.pod, index).ok_or_else(|| Fault {
        reason: "CreateContainerError".into(),
        message: "the pod has no such container".into(),
    })?;
    check_user(&target.pod, container)?;
    let prepared = target.images.lock().get(&index).cloned();
    let (image, plugs) = prepared.ok_or_else(|| Fault {
        reason: "CreateContainerError".into(),
        message: "the image is not prepared".into(),
    })?;
    let env = environment(shared, target, container, &image).await?;
    let volumes = target.volumes.lock().clone();
    let request = StartRequest {
        pod: target.key.clone(),
        container: container.name.clone(),
        argv: argv::argv(container, &image.entrypoint, &image.arguments, &env),
        mounts: mounts::mounts(container, &volumes, &env)?,
        services: kept::services(&target.pod, container, &volumes, &env)?,
        cwd: container.working_dir.clone().or_else(|| image.working_dir.clone()),
        stdin: stdin(container),
        tty: container.tty.unwrap_or(false),
        read_only_root: read_only_root(container),
        scratch: shared.volumes.scratch(&target.key.uid).join(&container.name),
        memory_bytes: limit(container, "memory").and_then(amount),
        cpu_millis: limit(container, "cpu").and_then(millis),
        storage_bytes: limit(container, "ephemeral-storage").and_then(amount),
        http_port: http_port(container),
        isolation: isolation_of(shared, target),
        log: log_path(&shared.config.data_dir, &target.key, &container.name, restart_count),
        termination_message_path: container
            .termination_message_path
            .clone()
            .unwrap_or_else(|| "/dev/termination-log".into()),
        message_from_log: container.termination_message_policy.as_deref()
            == Some("FallbackToLogsOnError"),
        on_fault: Some(fault_sink(shared, target, index)),
        resource: resource(
            &target.pod,
            container,
            Facts { node: &shared.config.node_name, restart_count },
        ),
        noted: noted(target, container, &image, restart_count),
        env: env.0,
        image,
        plugs,
    };
    if let Some(folder) = request.log.parent() {
        tokio::fs::create_dir_all(folder).await.map_err(|error| Fault {
            reason: "CreateContainerError".into(),
            message: format!("make log folder {}: {error}", folder.display()),
        })?;
    }
    shared.runtime.start(request).await
}

/// Who will have answered the container's requests.
fn noted(target: &Target, container: &Container, image: &LocalImage, restart_count: u32) -> Noted {
    let owners = target.pod.metadata.owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
    Noted {
        namespace: target.key.namespace.clone(),
        pod: target.key.name.clone(),
        uid: target.key.uid.clone(),
        container: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: image.image_id.clone(),
        restart_count,
        owner: owner.map(|owner| Owner {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        }),
    }
}

async fn environment(
    shared: &Shared,
    target: &Target,
    container: &Container,
    image: &LocalImage,
) -> Result<Environment, Fault> {
    let wanted: std::collections::BTreeSet<_> = objects::env_references(container)
        .into_iter()
        .map(|(kind, name)| objects::ObjectRef {
            kind,
            namespace: target.key.namespace.clone(),
            name,
        })
        .collect();
    let objects = shared.objects.get(&wanted).await.map_err(|object| Fault {
        reason: "CreateContainerConfigError".into(),
        message: format!("failed to sync {object} cache: timed out waiting for the condition"),
    })?;
    let services = shared.services.in_namespace(&target.key.namespace);
    let facts = shared.facts(target);
    // One that is too long has no sandbox, and so does not come here.
    let name = kernel_name(&target.pod, &shared.config.cluster_domain);
    let sources = env::Sources {
        hostname: &name.unwrap_or_else(|_| hostname(&target.pod)),
        pod: &target.pod,
        container,
        facts: &facts,
        objects: &objects,
        services: &services,
        image: &image.env,
    };
    let mut env = env::environment(&sources)?;
    if env.get("PORT").is_none() {
        env.set("PORT", http_port(container).to_string());
    }
    Ok(env)
}

/// Tells the pod's owner of requests that ended their instance.
fn fault_sink(shared: &Shared, target: &Target, index: Index) -> FaultSink {
    // Not the pod itself, which would be kept as it was at the start, for as long as it runs.
    let (recorder, about) = (shared.recorder.clone(), about(&target.pod, Some(index)));
    FaultSink(std::sync::Arc::new(move |reason, message| {
        recorder.event_about(about.clone(), EventKind::Warning, reason, message);
    }))
}

/// The port named `http`, else the first TCP port, else 80.
fn http_port(container: &Container) -> u16 {
    let ports = container.ports.as_deref().unwrap_or_default();
    let tcp = || ports.iter().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let named = tcp().find(|port| port.name.as_deref() == Some("http"));
    let port = named.or_else(|| tcp().next()).map(|port| port.container_port);
    port.and_then(|port| u16::try_from(port).ok()).unwrap_or(HTTP_PORT_DEFAULT)
}

/// How requests share instances; what cannot be understood means the usual, and the pod's owner is told.
fn isolation_of(shared: &Shared, target: &Target) -> Isolation {
    isolation(&target.pod).unwrap_or_else(|message| {
        let note = Note { warning: true, reason: "InvalidIsolation", message, container: None };
        record(&shared.recorder, &target.pod, note);
        Isolation::Request
    })
}

fn isolation(pod: &Pod) -> Result<Isolation, String> {
    let annotations = pod.metadata.annotations.as_ref();
    match annotations.and_then(|map| map.get(ISOLATION_ANNOTATION)).map(String::as_str) {
        Some("pooled") => Ok(Isolation::Pooled),
        Some("resident") => Ok(Isolation::Resident),
        Some("request") | None => Ok(Isolation::Request),
        Some(other) => Err(format!(
            "annotation {ISOLATION_ANNOTATION} not followed, each request has an instance of its own: \
             \"{other}\" must be request, pooled or resident"
        )),
    }
}

fn stdin(container: &Container) -> Stdin {
    match (container.stdin.unwrap_or(false), container.stdin_once.unwrap_or(false)) {
        (false, _) => Stdin::Closed,
        (true, false) => Stdin::Open,
        (true, true) => Stdin::Once,
    }
}

/// Refuses a container that asks for the user 0 although it, or its pod, says that it must not be root. A component has no
/// user, so that one which asks for none is never root.
///
/// *Source:* the kubelet's `verifyRunAsNonRoot`.
fn check_user(pod: &Pod, container: &Container) -> Result<(), Fault> {
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let own = container.security_context.as_ref();
    let must_not = own
        .and_then(|own| own.run_as_non_root)
        .or_else(|| of_pod.and_then(|of_pod| of_pod.run_as_non_root));
    let user = own
        .and_then(|own| own.run_as_user)
        .or_else(|| of_pod.and_then(|of_pod| of_pod.run_as_user));
    if must_not == Some(true) && user == Some(0) {
        let pod = pod.metadata.name.as_deref().unwrap_or_default();
        let name = &container.name;
        return Err(Fault {
            reason: "CreateContainerConfigError".into(),
            message: format!(
                "container's runAsUser breaks non-root policy (pod: {pod:?}, container: {name})"
            ),
        });
    }
    Ok(())
}

fn read_only_root(container: &Container) -> bool {
    let context = container.security_context.as_ref();
    context.and_then(|context| context.read_only_root_filesystem).unwrap_or(false)
}

pub(crate) fn limit<'a>(container: &'a Container, resource: &str) -> Option<&'a str> {
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    limits.get(resource).map(|quantity| quantity.0.as_str())
}

/// Reads a quantity as a whole number, rounded up.
pub(crate) fn amount(text: &str) -> Option<u64> {
    let quantity: Quantity = text.parse().ok()?;
    u64::try_from(quantity.value()).ok()
}

pub(crate) fn millis(text: &str) -> Option<u32> {
    let quantity: Quantity = text.parse().ok()?;
    u32::try_from(quantity.milli_value()).ok()
}

/// Gives the log folder of a pod.
pub(crate) fn log_dir(data_dir: &std::path::Path, pod: &PodKey) -> PathBuf {
    data_dir.join("logs").join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
}

/// Gives the log file of one life of a container.
pub(crate) fn log_path(
    data_dir: &std::path::Path,
    pod: &PodKey,
    container: &str,
    restart_count: u32,
) -> PathBuf {
    log_dir(data_dir, pod).join(container).join(format!("{restart_count}.log"))
}

/// A new identifier, as long as those of other runtimes.
fn life_id() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(of_pod: Value, own: Value, is_refused: bool) {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"securityContext": of_pod,
            "containers": [{"name": "c", "securityContext": own}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let refused = check_user(&pod, container).err().map(|fault| fault.reason.to_string());
        assert_eq!(refused.as_deref(), is_refused.then_some("CreateContainerConfigError"));
    }

    #[test]
    fn isolation_is_one_of_three_words() {
        let check = |word: Option<&str>, expected: Option<Isolation>| {
            let mut pod = Pod::default();
            pod.metadata.annotations =
                word.map(|word| [(ISOLATION_ANNOTATION.to_owned(), word.to_owned())].into());
            assert_eq!(isolation(&pod).ok(), expected, "{word:?}");
        };
        check(None, Some(Isolation::Request));
        check(Some("request"), Some(Isolation::Request));
        check(Some("pooled"), Some(Isolation::Pooled));
        check(Some("resident"), Some(Isolation::Resident));
        check(Some("bogus"), None);
        check(Some(""), None);
    }

    #[test]
    fn who_must_not_be_root_does_not_ask_for_it() {
        check(json!({}), json!({}), false);
        check(json!({"runAsNonRoot": true}), json!({}), false);
        check(json!({"runAsUser": 0}), json!({}), false);
        check(json!({"runAsNonRoot": true, "runAsUser": 0}), json!({}), true);
        check(json!({"runAsNonRoot": true}), json!({"runAsUser": 0}), true);
        check(json!({"runAsUser": 0}), json!({"runAsNonRoot": true}), true);
        check(json!({"runAsNonRoot": true, "runAsUser": 0}), json!({"runAsUser": 7}), false);
        check(json!({"runAsNonRoot": true, "runAsUser": 0}), json!({"runAsNonRoot": false}), false);
    }
}
