//! The ConfigMaps and Secrets that a pod refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Volume};

use crate::pods::plan;

/// The two kinds that pods take configuration from.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum ObjectKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl ObjectKind {
    /// The lower-case word in upstream's messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }

    /// The kind as manifests write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// Names one ConfigMap or Secret.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct ObjectRef {
    /// Which kind.
    pub kind: ObjectKind,
    /// Its namespace: always the pod's.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.kind.word(), self.name)
    }
}

/// The content of a ConfigMap (`data` and `binaryData`) or of a Secret (decoded).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Data {
    /// Key to value.
    pub values: BTreeMap<String, Vec<u8>>,
    /// Keys of `binaryData`: files only, never variables.
    pub binary: BTreeSet<String>,
    /// The content can never change, so nobody has to watch it.
    pub immutable: bool,
}

impl fmt::Debug for Data {
    /// Shows the keys alone: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Data {
    /// Gives the value of a key as a variable gets it; what is binary is no text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        let value = self.values.get(key).filter(|_| !self.binary.contains(key))?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

impl From<ConfigMap> for Data {
    fn from(object: ConfigMap) -> Self {
        let text = object.data.unwrap_or_default().into_iter();
        let keys = object.binary_data.iter().flat_map(|map| map.keys().cloned()).collect();
        let binary = object.binary_data.unwrap_or_default().into_iter();
        Self {
            binary: keys,
            values: text
                .map(|(key, value)| (key, value.into_bytes()))
                .chain(binary.map(|(key, value)| (key, value.0)))
                .collect(),
            immutable: object.immutable.unwrap_or(false),
        }
    }
}

impl From<Secret> for Data {
    fn from(object: Secret) -> Self {
        let data = object.data.unwrap_or_default().into_iter();
        Self {
            values: data.map(|(key, value)| (key, value.0)).collect(),
            binary: BTreeSet::new(),
            immutable: object.immutable.unwrap_or(false),
        }
    }
}

/// What is known of the objects that a pod refers to: content, or that there is none.
pub type Objects = BTreeMap<ObjectRef, Option<Arc<Data>>>;

/// Lists every ConfigMap and Secret that `pod` refers to, pull secrets included.
#[must_use]
pub fn references(pod: &Pod) -> BTreeSet<ObjectRef> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let spec = plan::spec(pod);
    let pull = spec.image_pull_secrets.iter().flatten();
    plan::containers(pod)
        .flat_map(|(_, container)| env_references(container))
        .chain(spec.volumes.iter().flatten().flat_map(volume_references))
        .chain(pull.map(|secret| (ObjectKind::Secret, secret.name.clone())))
        .filter(|(_, name)| !name.is_empty())
        .map(|(kind, name)| ObjectRef { kind, namespace: namespace.clone(), name })
        .collect()
}

/// Lists what one container's environment refers to.
#[must_use]
pub fn env_references(container: &Container) -> Vec<(ObjectKind, String)> {
    let from = container.env_from.iter().flatten().flat_map(|from| {
        let map = from.config_map_ref.as_ref().map(|map| (ObjectKind::ConfigMap, map.name.clone()));
        let secret =
            from.secret_ref.as_ref().map(|secret| (ObjectKind::Secret, secret.name.clone()));
        map.into_iter().chain(secret)
    });
    let single = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    let single = single.flat_map(|source| {
        let map = source.config_map_key_ref.as_ref();
        let map = map.map(|key| (ObjectKind::ConfigMap, key.name.clone()));
        let secret = source.secret_key_ref.as_ref();
        let secret = secret.map(|key| (ObjectKind::Secret, key.name.clone()));
        map.into_iter().chain(secret)
    });
    from.chain(single).collect()
}

/// Lists what one volume refers to.
#[must_use]
pub fn volume_references(volume: &Volume) -> Vec<(ObjectKind, String)> {
    let map = volume.config_map.as_ref().map(|map| (ObjectKind::ConfigMap, map.name.clone()));
    let secret = volume.secret.as_ref().and_then(|secret| secret.secret_name.clone());
    let secret = secret.map(|name| (ObjectKind::Secret, name));
    let projected =
        volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let projected = projected.flat_map(|source| {
        let map = source.config_map.as_ref().map(|map| (ObjectKind::ConfigMap, map.name.clone()));
        let secret = source.secret.as_ref().map(|secret| (ObjectKind::Secret, secret.name.clone()));
        map.into_iter().chain(secret)
    });
    map.into_iter().chain(secret).chain(projected).collect()
}
