//! A file of the manifest folder as a pod: pure.
//!
//! *Source:* kubelet's `tryDecodeSinglePod` and `applyDefaults`; what a static pod may not refer to
//! is what `PreventStaticPodAPIReferences` names.

use std::fmt::Write as _;

use coracle_api::decode::{self, FieldValidation, MediaType};
use coracle_api::registry::{self, Kind};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{CONFIG_HASH, CONFIG_SEEN, CONFIG_SOURCE};
use crate::config::objects::references;
use crate::config::tokens;
use crate::node::object::seconds;
use crate::pods::plan;

/// Bytes of the hash that a static pod has as its uid.
const HASH_BYTES: usize = 16;

/// Why a file makes no static pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestFault {
    /// It cannot be read as a Pod.
    #[error("{0}")]
    Unreadable(String),
    /// It is another kind of object.
    #[error("holds a {kind} of {version}; must hold one Pod of v1")]
    NotPod { kind: String, version: String },
    /// The API's rules refuse it.
    #[error("{0}")]
    Invalid(String),
    /// It needs an object of the API.
    #[error(
        "static pods may not refer to {0}: they run without the API; mount files of the host with \
         hostPath in its place"
    )]
    Refers(String),
}

/// Makes the static pod of a file of the host `node`.
///
/// `file` tells files apart; `text` is YAML or JSON.
pub(crate) fn static_pod(
    file: &str,
    text: &str,
    node: &str,
    now: Timestamp,
) -> Result<Pod, ManifestFault> {
    let kind = registry::by_kind("", "v1", "Pod")
        .ok_or_else(|| ManifestFault::Unreadable("Pod is no known kind".into()))?;
    let mut value = read(kind, text)?;
    place(&mut value, node, &hash(node, file, text), now)
        .ok_or_else(|| ManifestFault::Unreadable("metadata and spec must be objects".into()))?;
    (kind.rules.default)(&mut value);
    if let Some(error) = (kind.rules.validate)(&value).into_iter().next() {
        return Err(ManifestFault::Invalid(error.to_string()));
    }
    let pod: Pod = serde_json::from_value(value)
        .map_err(|error| ManifestFault::Unreadable(error.to_string()))?;
    refers(&pod).map_or(Ok(pod), |what| Err(ManifestFault::Refers(what)))
}

fn read(kind: &Kind, text: &str) -> Result<Value, ManifestFault> {
    let (raw, _) = decode::decode_yaml(text.as_bytes())
        .map_err(|status| ManifestFault::Unreadable(status.message.clone()))?;
    let word = |field: &str| raw.get(field).and_then(Value::as_str).unwrap_or("?").to_owned();
    if (word("kind"), word("apiVersion")) != ("Pod".into(), "v1".into()) {
        return Err(ManifestFault::NotPod { kind: word("kind"), version: word("apiVersion") });
    }
    let media = MediaType::Yaml;
    let decoded = decode::decode(text.as_bytes(), media, kind.ty(), FieldValidation::Strict);
    decoded
        .map(|decoded| decoded.value)
        .map_err(|status| ManifestFault::Unreadable(status.message.clone()))
}

/// Gives the pod its name, uid and notes, and the node that it is bound to.
fn place(value: &mut Value, node: &str, hash: &str, now: Timestamp) -> Option<()> {
    let meta = object(value.as_object_mut()?, "metadata")?;
    let text = |map: &Map<String, Value>, field: &str| {
        map.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (name, namespace) = (text(meta, "name"), text(meta, "namespace"));
    if !name.is_empty() {
        meta.insert("name".into(), json!(format!("{name}-{node}")));
    }
    if namespace.is_empty() {
        meta.insert("namespace".into(), json!("default"));
    }
    meta.insert("uid".into(), json!(hash));
    meta.insert("creationTimestamp".into(), json!(seconds(now)));
    let notes = object(meta, "annotations")?;
    let seen = now.to_string();
    for (key, value) in [(CONFIG_HASH, hash), (CONFIG_SEEN, &seen), (CONFIG_SOURCE, "file")] {
        notes.insert(key.into(), json!(value));
    }
    let spec = object(value.as_object_mut()?, "spec")?;
    spec.insert("nodeName".into(), json!(node));
    // It stays whatever taints its node has.
    let tolerations = spec.entry("tolerations").or_insert(Value::Null);
    if tolerations.is_null() {
        *tolerations = json!([]);
    }
    tolerations.as_array_mut()?.push(json!({"operator": "Exists", "effect": "NoExecute"}));
    Some(())
}

/// The object at a field; made when there is none.
fn object<'a>(map: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    let entry = map.entry(field).or_insert(Value::Null);
    if entry.is_null() {
        *entry = Value::Object(Map::new());
    }
    entry.as_object_mut()
}

/// Names the first object of the API without which the pod cannot run.
fn refers(pod: &Pod) -> Option<String> {
    let spec = plan::spec(pod);
    let account = spec.service_account_name.as_deref().filter(|name| !name.is_empty());
    if let Some(name) = account {
        return Some(format!("ServiceAccount \"{name}\""));
    }
    if let Some(object) = references(pod).into_iter().next() {
        return Some(object.to_string());
    }
    let volumes = spec.volumes.iter().flatten();
    let mut claims = volumes.filter(|volume| {
        volume.persistent_volume_claim.is_some()
            || volume.ephemeral.is_some()
            || !tokens::of_volume(volume).is_empty()
    });
    claims.next().map(|volume| format!("what volume \"{}\" needs", volume.name))
}

fn hash(node: &str, file: &str, text: &str) -> String {
    let mut hasher = Sha256::new();
    for part in [node, file, text] {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().take(HASH_BYTES).fold(String::new(), |mut hex, byte| {
        // Writing to a String never fails.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Pod, ManifestFault> {
        static_pod("web.yaml", text, "h1", Timestamp::UNIX_EPOCH)
    }

    fn manifest(spec: &str) -> String {
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {spec}\n")
    }

    const PLAIN: &str = "{containers: [{name: c, image: reg.example/app}]}";

    #[test]
    fn a_file_becomes_a_pod_of_this_node() {
        let pod = parse(&manifest(PLAIN)).unwrap();
        let shown = serde_json::to_value(&pod).unwrap();
        let at = |pointer: &str| shown.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at("/metadata/name"), "web-h1");
        assert_eq!(at("/metadata/namespace"), "default");
        assert_eq!(at("/spec/nodeName"), "h1");
        assert_eq!(at("/spec/tolerations/0/operator"), "Exists");
        assert_eq!(at("/metadata/annotations/kubernetes.io~1config.source"), "file");
        assert_eq!(at("/metadata/uid"), at("/metadata/annotations/kubernetes.io~1config.hash"));
        // The API's own defaults are there without the API.
        assert_eq!(at("/spec/containers/0/imagePullPolicy"), "Always");
        assert_eq!(at("/spec/restartPolicy"), "Always");
    }

    #[test]
    fn the_uid_follows_what_the_file_says() {
        let uid = |text: &str| parse(text).unwrap().metadata.uid;
        assert_eq!(uid(&manifest(PLAIN)), uid(&manifest(PLAIN)));
        assert_ne!(uid(&manifest(PLAIN)), uid(&format!("{}# more\n", manifest(PLAIN))));
    }

    #[test]
    fn what_cannot_be_a_static_pod_says_why() {
        let with =
            |more: &str| manifest(&format!("{{containers: [{{name: c, image: i, {more}}}]}}"));
        let spec =
            |more: &str| manifest(&format!("{{containers: [{{name: c, image: i}}], {more}}}"));
        let rows = [
            (with("envFrom: [{configMapRef: {name: cfg}}]"), "may not refer to configmap \"cfg\""),
            (
                with("env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]"),
                "may not refer to secret \"s\"",
            ),
            (spec("serviceAccountName: robot"), "may not refer to ServiceAccount \"robot\""),
            (spec("imagePullSecrets: [{name: pull}]"), "may not refer to secret \"pull\""),
            (
                spec("volumes: [{name: d, persistentVolumeClaim: {claimName: d}}]"),
                "may not refer to what volume \"d\" needs",
            ),
            (manifest("{containers: []}"), "spec.containers: Required value"),
            (manifest("{container: []}"), "unknown field \"spec.container\""),
            (
                "kind: Service\napiVersion: v1\n".into(),
                "holds a Service of v1; must hold one Pod of v1",
            ),
            ("a: [".into(), "error converting YAML to JSON"),
        ];
        for (text, expected) in rows {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
