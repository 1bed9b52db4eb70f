//! The credentials that a pod's `imagePullSecrets` hold for a registry: pure.
//!
//! *Source:* the `config.json` of Docker, as Secrets of the types `kubernetes.io/dockerconfigjson`
//! and `kubernetes.io/dockercfg` carry it.

use std::collections::BTreeMap;

use base64::Engine as _;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;

use super::reference::Reference;
use super::registry::Credentials;
use crate::config::{Data, ObjectKind, ObjectRef, Objects};
use crate::pods::plan;

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// Finds the credentials for `image` in the pull secrets of `pod`.
#[must_use]
pub fn find(pod: &Pod, image: &str, objects: &Objects) -> Option<Credentials> {
    let reference = Reference::parse(image).ok()?;
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    plan::spec(pod).image_pull_secrets.iter().flatten().find_map(|secret| {
        let (kind, name) = (ObjectKind::Secret, secret.name.clone());
        let object = ObjectRef { kind, namespace: namespace.clone(), name };
        in_secret(objects.get(&object)?.as_deref()?, &reference)
    })
}

fn in_secret(data: &Data, reference: &Reference) -> Option<Credentials> {
    let auths = if let Some(json) = data.values.get(".dockerconfigjson") {
        serde_json::from_slice::<DockerConfig>(json).ok()?.auths
    } else {
        serde_json::from_slice(data.values.get(".dockercfg")?).ok()?
    };
    let mut fitting: Vec<(&String, &Entry)> =
        auths.iter().filter(|(key, _)| fits(key, reference)).collect();
    fitting.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
    fitting.into_iter().find_map(|(_, entry)| credentials(entry))
}

fn fits(key: &str, reference: &Reference) -> bool {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    let key = key.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let host =
        if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    let below =
        || reference.repository == path || reference.repository.starts_with(&format!("{path}/"));
    host == reference.registry && (path.is_empty() || below())
}

fn credentials(entry: &Entry) -> Option<Credentials> {
    if let (Some(user), Some(password)) = (&entry.username, &entry.password) {
        return Some(Credentials { user: user.clone(), password: password.clone() });
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(entry.auth.as_ref()?).ok()?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Credentials { user: user.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &str, image: &str) -> Option<String> {
        let values = BTreeMap::from([(".dockerconfigjson".to_owned(), config.as_bytes().to_vec())]);
        let data = Data { values, ..Data::default() };
        let found = in_secret(&data, &Reference::parse(image).unwrap())?;
        Some(format!("{}:{}", found.user, found.password))
    }

    #[test]
    fn the_longest_fitting_entry_wins() {
        let config = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"aHViOnB3"},
            "reg.example":{"username":"a","password":"1"},
            "reg.example/team":{"username":"b","password":"2"}}}"#;
        assert_eq!(check(config, "app").as_deref(), Some("hub:pw"));
        assert_eq!(check(config, "reg.example/x:1").as_deref(), Some("a:1"));
        assert_eq!(check(config, "reg.example/team/x:1").as_deref(), Some("b:2"));
        assert_eq!(check(config, "other.example/x:1"), None);
    }
}
