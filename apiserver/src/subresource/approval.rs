//! `certificatesigningrequests/approval`: somebody agrees, and what the cluster's own signers sign is signed at once.
//!
//! *Source:* `certificates.k8s.io/v1`; the signers are those of kube-controller-manager.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::admission::certificate::pem_of;
use crate::context::Context;
use crate::metadata;
use crate::pki::Pki;
use crate::server::Core;
use jiff::Timestamp;

/// Signers whose requests the cluster's authority signs.
const SIGNERS: [&str; 3] = [
    "kubernetes.io/kube-apiserver-client",
    "kubernetes.io/kube-apiserver-client-kubelet",
    "kubernetes.io/kubelet-serving",
];

impl Core {
    /// Makes of a changed request the stored one with its approval and metadata alone, and its certificate when it is approved.
    pub(crate) fn settle_approval(&self, context: &Context, new: &mut Value, old: &Value) {
        let mut conditions = new["status"]["conditions"].take();
        let metadata = new["metadata"].take();
        *new = old.clone();
        new["metadata"] = metadata;
        for condition in conditions.as_array_mut().into_iter().flatten() {
            for field in ["lastUpdateTime", "lastTransitionTime"] {
                if condition[field].is_null() {
                    condition[field] = json!(metadata::time(context.now));
                }
            }
        }
        if !new["status"].is_object() {
            new["status"] = json!({});
        }
        new["status"]["conditions"] = conditions;
        if let Some(pki) = &self.signer {
            sign(new, pki, context.now);
        }
    }
}

/// Signs a request that is approved and not signed yet; a failure becomes a condition.
fn sign(request: &mut Value, pki: &Pki, now: Timestamp) {
    let has = |kind: &str| {
        let all = request["status"]["conditions"].as_array().into_iter().flatten();
        all.into_iter().any(|condition| condition["type"] == kind)
    };
    let signer = request["spec"]["signerName"].as_str().unwrap_or_default();
    let is_done = request["status"]["certificate"].is_string() || has("Denied") || has("Failed");
    if !has("Approved") || is_done || !SIGNERS.contains(&signer) {
        return;
    }
    let usages = request["spec"]["usages"].as_array().into_iter().flatten();
    let usages: Vec<String> =
        usages.filter_map(|usage| usage.as_str().map(str::to_owned)).collect();
    let seconds = request["spec"]["expirationSeconds"].as_u64();
    let signed = pem_of(request).ok_or_else(|| "it holds no request".to_owned()).and_then(|pem| {
        pki.sign_request(&pem, &usages, seconds, now).map_err(|error| error.to_string())
    });
    match signed {
        Ok(certificate) => request["status"]["certificate"] = json!(STANDARD.encode(certificate)),
        Err(why) => {
            let time = metadata::time(now);
            let failed = json!({"type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": why,
                "lastUpdateTime": time, "lastTransitionTime": time});
            if let Some(conditions) = request["status"]["conditions"].as_array_mut() {
                conditions.push(failed);
            }
        }
    }
}
