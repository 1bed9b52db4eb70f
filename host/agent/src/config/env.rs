//! The environment of a container.
//!
//! *Source:* kubelet's `makeEnvironmentVariables`: Services, then `envFrom`, then `env`, the later
//! one wins; a variable sees those before it.

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource, Pod, Service};

use super::expand::expand;
use super::fields::{self, Facts};
use super::objects::{ObjectKind, ObjectRef, Objects};
use super::services;
use crate::pods::plan;
use crate::pods::state::Fault;

/// Everything that an environment is made from.
pub struct Sources<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The container.
    pub container: &'a Container,
    /// What the host knows.
    pub facts: &'a Facts,
    /// The objects that the pod refers to.
    pub objects: &'a Objects,
    /// The Services of the pod's namespace, and `default/kubernetes`.
    pub services: &'a [std::sync::Arc<Service>],
    /// What the pod is told to be called.
    pub hostname: &'a str,
    /// What the image sets, weakest of all.
    pub image: &'a [(String, String)],
}

/// Variables in the order in which they were first set; setting one again changes it in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(pub Vec<(String, String)>);

impl Environment {
    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Gives a variable's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Makes the environment of a container.
///
/// # Errors
/// A fault `CreateContainerConfigError` that names the object or key that is missing.
pub fn environment(sources: &Sources<'_>) -> Result<Environment, Fault> {
    let mut env = Environment(sources.image.to_vec());
    env.set("HOSTNAME", sources.hostname.to_owned());
    for (name, value) in service_variables(sources) {
        env.set(&name, value);
    }
    for from in sources.container.env_from.iter().flatten() {
        add_all(sources, from, &mut env)?;
    }
    for variable in sources.container.env.iter().flatten() {
        if let Some(value) = value(sources, variable, &env)? {
            env.set(&variable.name, value);
        }
    }
    Ok(env)
}

fn service_variables(sources: &Sources<'_>) -> Vec<(String, String)> {
    let links = plan::spec(sources.pod).enable_service_links.unwrap_or(true);
    let is_api = |service: &Service| {
        let meta = &service.metadata;
        meta.name.as_deref() == Some("kubernetes") && meta.namespace.as_deref() == Some("default")
    };
    let namespace = sources.pod.metadata.namespace.as_ref();
    let wanted = sources.services.iter().map(AsRef::as_ref).filter(|service| {
        is_api(service) || (links && service.metadata.namespace.as_ref() == namespace)
    });
    services::variables(wanted)
}

fn add_all(
    sources: &Sources<'_>,
    from: &EnvFromSource,
    env: &mut Environment,
) -> Result<(), Fault> {
    let prefix = from.prefix.as_deref().unwrap_or_default();
    let map = from.config_map_ref.as_ref();
    let map = map.map(|map| (ObjectKind::ConfigMap, &map.name, map.optional));
    let secret = from.secret_ref.as_ref();
    let secret = secret.map(|secret| (ObjectKind::Secret, &secret.name, secret.optional));
    for (kind, name, optional) in map.into_iter().chain(secret) {
        let object = reference(sources.pod, kind, name);
        let Some(data) = sources.objects.get(&object).and_then(Option::as_ref) else {
            if optional.unwrap_or(false) {
                continue;
            }
            return Err(config_error(format!("{object} not found")));
        };
        for key in data.values.keys() {
            let name = format!("{prefix}{key}");
            if let Some(text) = data.text(key).filter(|_| is_variable_name(&name)) {
                env.set(&name, text);
            }
        }
    }
    Ok(())
}

/// *Source:* `IsRelaxedEnvVarName`: printable ASCII without `=`.
fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| (' '..='~').contains(&c) && c != '=')
}

fn value(
    sources: &Sources<'_>,
    variable: &EnvVar,
    env: &Environment,
) -> Result<Option<String>, Fault> {
    let Some(source) = variable.value_from.as_ref() else {
        let text = variable.value.as_deref().unwrap_or_default();
        return Ok(Some(expand(text, &|name| env.get(name).map(str::to_owned))));
    };
    from_source(sources, source)
}

fn from_source(sources: &Sources<'_>, source: &EnvVarSource) -> Result<Option<String>, Fault> {
    if let Some(field) = source.field_ref.as_ref() {
        let value = fields::field(sources.pod, sources.facts, &field.field_path);
        return value.map(Some).map_err(config_error);
    }
    if let Some(selector) = source.resource_field_ref.as_ref() {
        let value = fields::resource(sources.pod, sources.container, sources.facts, selector);
        return value.map(Some).map_err(config_error);
    }
    if let Some(key) = source.config_map_key_ref.as_ref() {
        return key_of(sources, ObjectKind::ConfigMap, &key.name, &key.key, key.optional);
    }
    if let Some(key) = source.secret_key_ref.as_ref() {
        return key_of(sources, ObjectKind::Secret, &key.name, &key.key, key.optional);
    }
    Ok(None)
}

fn key_of(
    sources: &Sources<'_>,
    kind: ObjectKind,
    name: &str,
    key: &str,
    optional: Option<bool>,
) -> Result<Option<String>, Fault> {
    let object = reference(sources.pod, kind, name);
    let missing = |message: String| {
        if optional.unwrap_or(false) { Ok(None) } else { Err(config_error(message)) }
    };
    let Some(data) = sources.objects.get(&object).and_then(Option::as_ref) else {
        return missing(format!("{object} not found"));
    };
    match data.text(key) {
        Some(value) => Ok(Some(value)),
        None => missing(format!(
            "couldn't find key {key} in {} {}/{name}",
            kind.name(),
            object.namespace
        )),
    }
}

fn reference(pod: &Pod, kind: ObjectKind, name: &str) -> ObjectRef {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    ObjectRef { kind, namespace, name: name.to_owned() }
}

fn config_error(message: String) -> Fault {
    Fault { reason: "CreateContainerConfigError".into(), message }
}
