//! Pods run as a ServiceAccount of their namespace, with a token of it in a volume.
//!
//! *Source:* the `ServiceAccount` admission plugin; Kubernetes, "Service Account Token Volume Projection".

use super::{Operation, Request, spec_mut};
use crate::cache::Caches;
use coracle_api::meta;
use coracle_api::status::Status;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The account of pods that name none.
const DEFAULT: &str = "default";
/// Where containers find token, certificate and namespace.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the volume's name begins with.
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Seconds that the token is valid; hosts renew it before. *Source:* kube-apiserver's
/// `WarnOnlyBoundTokenExpirationPeriod`.
const TOKEN_SECONDS: i64 = 3607;

/// Gives a new pod its account, and its account's pull secrets and token.
///
/// # Errors
/// 403 when the account does not exist.
pub(super) fn admit(
    request: &Request<'_>,
    object: &mut Value,
    caches: &Caches,
) -> Result<(), Status> {
    if !request.is_core("Pod") || request.operation != Operation::Create {
        return Ok(());
    }
    if super::node::is_mirror(object) {
        // It runs without the API, so it has no account there.
        return match object["spec"]["serviceAccountName"].as_str() {
            Some(name) if !name.is_empty() => {
                Err(request.forbidden("a mirror pod may not reference service accounts"))
            }
            Some(_) | None => Ok(()),
        };
    }
    let volume = volume_name(meta::uid(object));
    let Some(spec) = spec_mut(object) else { return Ok(()) };
    let text =
        |field: &str| spec.get(field).and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = text("serviceAccountName").or(text("serviceAccount")).unwrap_or(DEFAULT).to_owned();
    spec.insert("serviceAccountName".to_owned(), name.clone().into());
    spec.insert("serviceAccount".to_owned(), name.clone().into());
    let account = caches.get("", "serviceaccounts", request.namespace, &name);
    // The default account appears a moment after its namespace.
    if account.is_none() && name != DEFAULT {
        let namespace = request.namespace;
        return Err(request.forbidden(format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        )));
    }
    let account = account.map(|account| account.value()).unwrap_or_default();
    let pulls = |value: &Value| value.as_array().is_some_and(|list| !list.is_empty());
    let secrets = account.get("imagePullSecrets").filter(|list| pulls(list));
    if let Some(secrets) = secrets.filter(|_| !spec.get("imagePullSecrets").is_some_and(pulls)) {
        spec.insert("imagePullSecrets".to_owned(), secrets.clone());
    }
    let wanted = |value: &Value| value["automountServiceAccountToken"].as_bool();
    let own = spec.get("automountServiceAccountToken").and_then(Value::as_bool);
    if own.or(wanted(&account)).unwrap_or(true) {
        mount(spec, &volume);
    }
    Ok(())
}

/// The volume's name: a fresh one for each pod, so that it meets none of the pod's own.
fn volume_name(uid: &str) -> String {
    const LETTERS: &[u8; 32] = b"bcdfghjklmnpqrstvwxz245678926789";
    let digest = Sha256::digest(uid);
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().map_or('b', char::from);
    format!("{VOLUME_PREFIX}{}", digest.iter().take(5).map(letter).collect::<String>())
}

/// Mounts the token into every container that has nothing else in its place.
fn mount(spec: &mut Map<String, Value>, volume: &str) {
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let mounts = container.entry("volumeMounts").or_insert(Value::Null);
            if mounts.is_null() {
                *mounts = json!([]);
            }
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
            used = true;
        }
    }
    if !used {
        return;
    }
    let volumes = spec.entry("volumes").or_insert(Value::Null);
    if volumes.is_null() {
        *volumes = json!([]);
    }
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(token_volume(volume));
    }
}

fn token_volume(name: &str) -> Value {
    let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]}})
}
