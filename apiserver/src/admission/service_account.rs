//! Pods run as a ServiceAccount of their namespace.
//!
//! No token is mounted: a token that may do nothing yet would only be something to steal. *Source:* the
//! `ServiceAccount` admission plugin, without its token volume.

use super::{Operation, Request, spec_mut};
use crate::cache::Caches;
use coracle_api::status::Status;
use serde_json::Value;

/// The account of pods that name none.
const DEFAULT: &str = "default";

/// Gives a new pod its account, and its account's pull secrets.
pub(super) fn admit(
    request: &Request<'_>,
    object: &mut Value,
    caches: &Caches,
) -> Result<(), Status> {
    if !request.is_core("Pod") || request.operation != Operation::Create {
        return Ok(());
    }
    let Some(spec) = spec_mut(object) else { return Ok(()) };
    let text =
        |field: &str| spec.get(field).and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = text("serviceAccountName").or(text("serviceAccount")).unwrap_or(DEFAULT).to_owned();
    spec.insert("serviceAccountName".to_owned(), name.clone().into());
    spec.insert("serviceAccount".to_owned(), name.clone().into());
    let account = caches.get("", "serviceaccounts", request.namespace, &name);
    let Some(account) = account else {
        // The default account appears a moment after its namespace, and nothing of it is needed.
        if name == DEFAULT {
            return Ok(());
        }
        let namespace = request.namespace;
        return Err(request.forbidden(format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        )));
    };
    let pulls = |value: &Value| value.as_array().is_some_and(|list| !list.is_empty());
    if !spec.get("imagePullSecrets").is_some_and(pulls) {
        let account = account.value();
        if let Some(secrets) = account.get("imagePullSecrets").filter(|list| pulls(list)) {
            spec.insert("imagePullSecrets".to_owned(), secrets.clone());
        }
    }
    Ok(())
}
