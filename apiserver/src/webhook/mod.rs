//! Admission webhooks: HTTPS servers that are asked about writes, and may change or refuse them.
//!
//! They are named by a `url`, or by a `service` of the cluster.
//! *Source:* Kubernetes, "Dynamic Admission Control"; the wording is kube-apiserver's.

mod answer;
mod ask;
mod call;

pub(crate) use call::Clients;

use crate::admission::matching::Written;
use crate::cache::{Caches, Selection};
use crate::reach::host_of;
use coracle_api::meta;
use serde_json::Value;

/// Seconds that a webhook has when it does not say.
const TIMEOUT_SECONDS_DEFAULT: u64 = 10;
/// Seconds that a webhook may have.
const TIMEOUT_SECONDS_MAX: u64 = 30;

/// The URL that a client configuration names.
///
/// # Errors
/// When it names neither a URL nor a Service.
pub(crate) fn url_of(client: &Value) -> Result<String, String> {
    if let Some(url) = client["url"].as_str().filter(|url| !url.is_empty()) {
        return Ok(url.to_owned());
    }
    let service = &client["service"];
    let text = |field: &str| service[field].as_str().unwrap_or_default();
    if text("name").is_empty() || text("namespace").is_empty() {
        return Err("the webhook has neither a url nor a service".to_owned());
    }
    let host = host_of(text("namespace"), text("name"));
    let port = service["port"].as_u64().unwrap_or(443);
    let path = text("path").trim_start_matches('/');
    Ok(format!("https://{host}:{port}/{path}"))
}

/// A webhook that is to be asked about a write.
#[derive(Debug)]
pub(crate) struct Hook {
    name: String,
    /// Its configuration's name and its own.
    key: String,
    client: Value,
    conditions: Value,
    seconds: u64,
    fails: bool,
    reinvokes: bool,
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
                let name = hook["name"].as_str().unwrap_or_default();
                out.push(Hook {
                    name: name.to_owned(),
                    key: format!("webhook/{}/{name}", meta::name(&configuration)),
                    client: hook["clientConfig"].clone(),
                    conditions: hook["matchConditions"].clone(),
                    reinvokes: hook["reinvocationPolicy"] == "IfNeeded",
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
