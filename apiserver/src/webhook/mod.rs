//! Admission webhooks: HTTPS servers that are asked about writes, and may change or refuse them.
//!
//! `url`s are asked; a `service` gets a clear error, because services are reached on the nodes and not from here.
//! *Source:* Kubernetes, "Dynamic Admission Control"; the wording is kube-apiserver's.

mod answer;
mod ask;
mod call;

pub(crate) use call::Clients;

use crate::admission::matching::Written;
use crate::cache::{Caches, Selection};
use serde_json::Value;

/// Seconds that a webhook has when it does not say.
const TIMEOUT_SECONDS_DEFAULT: u64 = 10;
/// Seconds that a webhook may have.
const TIMEOUT_SECONDS_MAX: u64 = 30;

/// A webhook that is to be asked about a write.
#[derive(Debug)]
pub(crate) struct Hook {
    name: String,
    client: Value,
    seconds: u64,
    fails: bool,
}

/// The webhooks of a kind of configuration that are about a write, in the order in which they are asked: by the names of
/// their configurations, then as these have them.
pub(crate) fn hooks(plural: &str, written: &Written<'_>, caches: &Caches) -> Vec<Hook> {
    let cache = caches.by_resource("admissionregistration.k8s.io", plural);
    let Some(cache) = cache.filter(|cache| written.is_open() && !cache.is_empty()) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for configuration in cache.select(&Selection::all(cache.kind())) {
        let configuration = configuration.value();
        for hook in configuration["webhooks"].as_array().into_iter().flatten() {
            let is_about = written.is_taken_by(&hook["rules"])
                && written.is_in_selected_namespace(&hook["namespaceSelector"], caches)
                && written.is_selected(&hook["objectSelector"]);
            if is_about {
                out.push(Hook {
                    name: hook["name"].as_str().unwrap_or_default().to_owned(),
                    client: hook["clientConfig"].clone(),
                    seconds: hook["timeoutSeconds"]
                        .as_u64()
                        .unwrap_or(TIMEOUT_SECONDS_DEFAULT)
                        .clamp(1, TIMEOUT_SECONDS_MAX),
                    fails: hook["failurePolicy"] != "Ignore",
                });
            }
        }
    }
    out
}

/// The review that is sent: the request with its objects.
pub(crate) fn review(written: &Written<'_>, uid: &str, dry_run: bool) -> Value {
    let mut request = written.review_request(uid, dry_run);
    if let Some(object) = written.object {
        request["object"] = object.clone();
    }
    if let Some(old) = written.old {
        request["oldObject"] = old.clone();
    }
    serde_json::json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
}
