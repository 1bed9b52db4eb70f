//! Objects of users' kinds brought into another version by their definition's webhook.
//!
//! An edge: webhooks are asked. What the webhook may change is the object but for its identity: of the metadata, labels
//! and annotations alone.
//! *Source:* Kubernetes, "Versions in CustomResourceDefinitions", "Webhook conversion"; `ConversionReview` of
//! `apiextensions.k8s.io/v1`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_api::meta;
use coracle_api::registry::Kind;
use coracle_api::status::Status;
use serde_json::{Value, json};

use crate::clock;
use crate::webhook::{Clients, url_of};

/// Objects that are sent at once, so that neither review nor answer grows without bound.
const OBJECTS_AT_ONCE_MAX: usize = 200;
/// How long the webhook has. *Source:* the timeout of conversion webhooks upstream.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether objects of a kind are converted by a webhook.
pub(crate) fn is_converted(kind: &Kind) -> bool {
    kind.custom.is_some_and(|custom| custom.converter.is_some())
}

/// Brings objects into the version of a kind; those that have it already stay as they are, and all do where no webhook
/// converts.
///
/// # Errors
/// 500 when the webhook fails, or answers with something else than these objects.
pub(crate) async fn convert(
    clients: &Clients,
    target: &Kind,
    mut objects: Vec<Value>,
) -> Result<Vec<Value>, Status> {
    let Some(webhook) = target.custom.and_then(|custom| custom.converter) else {
        return Ok(objects);
    };
    let version = target.api_version();
    let mut places: Vec<usize> = (0..objects.len()).collect();
    places.retain(|place| objects.get(*place).is_some_and(|one| one["apiVersion"] != *version));
    for places in places.chunks(OBJECTS_AT_ONCE_MAX) {
        let sent: Vec<&Value> = places.iter().filter_map(|place| objects.get(*place)).collect();
        let failed = |why: String| {
            let from = sent.first().map(|one| one["apiVersion"].to_string()).unwrap_or_default();
            let kind = target.kind;
            Status::internal(format!(
                "conversion webhook for {kind} from {from} to \"{version}\" failed: {why}"
            ))
        };
        let converted = ask(clients, webhook, &version, &sent).await.map_err(failed)?;
        let settled: Result<Vec<Value>, String> =
            sent.iter().zip(converted).map(|(old, new)| settle(old, new, target)).collect();
        let settled = settled.map_err(failed)?;
        for (place, new) in places.iter().zip(settled) {
            if let Some(object) = objects.get_mut(*place) {
                *object = new;
            }
        }
    }
    Ok(objects)
}

async fn ask(
    clients: &Clients,
    webhook: &Value,
    version: &str,
    objects: &[&Value],
) -> Result<Vec<Value>, String> {
    let client = &webhook["clientConfig"];
    let url = url_of(client)?;
    let authority = STANDARD.decode(client["caBundle"].as_str().unwrap_or_default());
    let authority = authority.map_err(|error| format!("read caBundle: {error}"))?;
    let uid = clock::uuid();
    let review = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "request": {"uid": uid, "desiredAPIVersion": version, "objects": objects},
    });
    let answer = clients.post(&url, &authority, &review, TIMEOUT).await;
    read(&answer.map_err(|why| format!("Post {url:?}: {why}"))?, &uid, objects.len())
}

/// Reads a review that came back.
fn read(review: &Value, uid: &str, count: usize) -> Result<Vec<Value>, String> {
    let is_review =
        review["apiVersion"] == "apiextensions.k8s.io/v1" && review["kind"] == "ConversionReview";
    if !is_review {
        return Err("expected a ConversionReview of apiextensions.k8s.io/v1".to_owned());
    }
    let response = &review["response"];
    if response["uid"] != uid {
        return Err(format!("expected response.uid={uid:?}, got {}", response["uid"]));
    }
    if response["result"]["status"] != "Success" {
        let why = response["result"]["message"].as_str().unwrap_or("it does not say why");
        return Err(why.to_owned());
    }
    let objects = response["convertedObjects"].as_array().cloned().unwrap_or_default();
    if objects.len() != count {
        return Err(format!("it returned {} objects, expected {count}", objects.len()));
    }
    Ok(objects)
}

/// Checks a converted object, and gives it back what no webhook may change.
fn settle(old: &Value, mut new: Value, target: &Kind) -> Result<Value, String> {
    if new["apiVersion"] != *target.api_version() || new["kind"] != target.kind {
        return Err(format!("it returned {} {}", new["apiVersion"], new["kind"]));
    }
    for field in ["name", "namespace", "uid"] {
        let path = format!("/metadata/{field}");
        if new.pointer(&path) != old.pointer(&path) {
            let name = meta::name(old);
            return Err(format!("it must not change metadata.{field} of {name:?}"));
        }
    }
    let mut metadata = old["metadata"].clone();
    for field in ["labels", "annotations"] {
        match (metadata.as_object_mut(), new["metadata"].get(field).cloned()) {
            (Some(metadata), Some(value)) => drop(metadata.insert(field.to_owned(), value)),
            (Some(metadata), None) => drop(metadata.remove(field)),
            (None, _) => {}
        }
    }
    new["metadata"] = metadata;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(response: Value, expected: Result<usize, &str>) {
        let review = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
        let found = read(&review, "u", 1).map(|objects| objects.len());
        assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|e| *e));
    }

    #[test]
    fn answers_are_read() {
        let success = json!({"status": "Success"});
        check(json!({"uid": "u", "result": success, "convertedObjects": [{}]}), Ok(1));
        check(
            json!({"uid": "u", "result": success, "convertedObjects": []}),
            Err("it returned 0 objects, expected 1"),
        );
        check(json!({"uid": "x"}), Err("expected response.uid=\"u\", got \"x\""));
        let failure = json!({"status": "Failure", "message": "no"});
        check(json!({"uid": "u", "result": failure}), Err("no"));
        assert!(read(&json!({}), "u", 0).is_err());
    }
}
