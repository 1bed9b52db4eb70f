//! What a pod asks to be run: its containers in the order in which they start, with their roles.
//!
//! Comes in: a typed `Pod`. Goes out: borrowed views. Never here: state, clock, IO.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

/// Names one pod for the whole of its life; a pod that is made again under the same name has
/// another `uid` and so another key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

impl PodKey {
    /// Reads the key of `pod`; missing parts are empty, which the API server never sends.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for PodKey {
    /// Prints `name_namespace(uid)`, the form upstream's messages use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}({})", self.name, self.namespace, self.uid)
    }
}

/// How a container takes part in the life of its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to completion before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: starts in order, then runs beside the rest.
    Sidecar,
    /// One of `spec.containers`.
    App,
    /// One of `spec.ephemeralContainers`: runs once, whatever the rest of the pod does.
    Ephemeral,
}

/// Position of a container in its pod: init containers first, then `spec.containers`.
pub type Index = usize;

/// Gives the pod with its ephemeral containers behind those of `spec.containers`, where all that
/// runs is looked for. A pod that is whole already stays as it is.
#[must_use]
pub fn whole(pod: Arc<Pod>) -> Arc<Pod> {
    let missing: Vec<Container> = ephemeral(spec(&pod))
        .filter(|name| spec(&pod).containers.iter().all(|container| container.name != *name))
        .filter_map(|name| as_container(&pod, name))
        .collect();
    if missing.is_empty() {
        return pod;
    }
    let mut pod = Arc::unwrap_or_clone(pod);
    if let Some(spec) = &mut pod.spec {
        spec.containers.extend(missing);
    }
    Arc::new(pod)
}

/// The names of the ephemeral containers.
pub(crate) fn ephemeral(spec: &PodSpec) -> impl Iterator<Item = &str> {
    spec.ephemeral_containers.iter().flatten().map(|container| container.name.as_str())
}

/// An ephemeral container has the fields of any other, but for `targetContainerName`.
fn as_container(pod: &Pod, name: &str) -> Option<Container> {
    let mut all = spec(pod).ephemeral_containers.iter().flatten();
    let fields = serde_json::to_value(all.find(|container| container.name == name)?).ok()?;
    serde_json::from_value(fields).ok()
}

/// Lists the containers of `pod` in their order of start.
pub fn containers(pod: &Pod) -> impl Iterator<Item = (Role, &Container)> {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
    let apps = spec.map(|spec| spec.containers.iter()).into_iter().flatten();
    init.map(|container| (init_role(container), container))
        .chain(apps.map(move |container| (app_role(spec, container), container)))
}

/// Gives the container at `index`, or nothing when the pod has fewer.
#[must_use]
pub fn container(pod: &Pod, index: Index) -> Option<&Container> {
    containers(pod).nth(index).map(|(_, container)| container)
}

/// Counts the init containers, side-cars included.
#[must_use]
pub fn init_count(pod: &Pod) -> usize {
    pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref()).map_or(0, Vec::len)
}

/// Gives the spec, or an empty one, so that callers need no special case.
#[must_use]
pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// Names the place of a container in its pod as events do: `spec.containers{web}`.
#[must_use]
pub fn field_path(pod: &Pod, index: Index) -> Option<String> {
    let (role, container) = containers(pod).nth(index)?;
    let list = match role {
        Role::Init | Role::Sidecar => "spec.initContainers",
        Role::App => "spec.containers",
        Role::Ephemeral => "spec.ephemeralContainers",
    };
    Some(format!("{list}{{{}}}", container.name))
}

fn app_role(spec: Option<&PodSpec>, container: &Container) -> Role {
    // Names are unique over all lists of a pod.
    let is_ephemeral = spec.is_some_and(|spec| ephemeral(spec).any(|name| name == container.name));
    if is_ephemeral { Role::Ephemeral } else { Role::App }
}

fn init_role(container: &Container) -> Role {
    match container.restart_policy.as_deref() {
        Some("Always") => Role::Sidecar,
        Some(_) | None => Role::Init,
    }
}
