//! From a service account's token to its user: the account, and what the token is bound to, must still be there.
//!
//! *Source:* Kubernetes, "Managing Service Accounts", "Bound service account tokens".

use super::UserInfo;
use super::jwt::{Bound, Claims, Reference, TokenError, TokenKeys};
use crate::cache::Caches;
use coracle_api::meta;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

/// Who issues the tokens, and whom they are for when nobody says otherwise. *Source:* kubeadm's default.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Tokens whose signature is known to be good; one more and all are forgotten, which costs a signature check each.
const VERIFIED_MAX: usize = 8192;

/// An object that is being deleted still counts for this long, so that a pod can end in order. *Source:* kube-apiserver's
/// token validator.
const DELETION_GRACE: SignedDuration = SignedDuration::from_secs(60);

/// Issues and accepts tokens of service accounts.
pub struct ServiceAccounts {
    keys: Arc<TokenKeys>,
    caches: Arc<Caches>,
    verified: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

impl ServiceAccounts {
    /// Over the given keys and caches.
    pub fn new(keys: Arc<TokenKeys>, caches: Arc<Caches>) -> ServiceAccounts {
        ServiceAccounts { keys, caches, verified: Mutex::default() }
    }

    /// The keys.
    pub fn keys(&self) -> &TokenKeys {
        &self.keys
    }

    /// Signs claims.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        self.keys.sign(claims)
    }

    /// The user of a token, and the audiences of it that were asked for; `None` when it is none of ours, is not valid now,
    /// is for others, or what it is bound to is gone.
    pub fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Option<(UserInfo, Vec<String>)> {
        let claims = self.claims(token)?;
        let shared: Vec<String> =
            audiences.iter().filter(|audience| claims.aud.contains(audience)).cloned().collect();
        let lives = claims.hold(now) && !shared.is_empty() && self.lives(&claims.kubernetes, now);
        lives.then(|| (user_of(&claims), shared))
    }

    fn claims(&self, token: &str) -> Option<Arc<Claims>> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.verified.lock().get(&digest) {
            return Some(Arc::clone(known));
        }
        let claims = Arc::new(self.keys.verify(token, ISSUER)?);
        let mut verified = self.verified.lock();
        if verified.len() >= VERIFIED_MAX {
            verified.clear();
        }
        verified.insert(digest, Arc::clone(&claims));
        Some(claims)
    }

    fn lives(&self, bound: &Bound, now: Timestamp) -> bool {
        let own = bound.namespace.as_str();
        let is_there = |resource: &str, namespace: &str, reference: &Reference| {
            let found = self.caches.get("", resource, namespace, &reference.name);
            found.is_some_and(|object| {
                object.header.uid() == &*reference.uid
                    && (!object.header.deleting() || is_recent(&object.value(), now))
            })
        };
        let optional = |resource: &str, namespace: &str, reference: &Option<Reference>| {
            reference.as_ref().is_none_or(|reference| is_there(resource, namespace, reference))
        };
        // A pod's token names the node for others to read; the pod alone decides.
        let node = bound.pod.is_some() || optional("nodes", "", &bound.node);
        is_there("serviceaccounts", own, &bound.serviceaccount)
            && optional("pods", own, &bound.pod)
            && optional("secrets", own, &bound.secret)
            && node
    }
}

fn is_recent(object: &Value, now: Timestamp) -> bool {
    let since = meta::deletion_timestamp(object).and_then(|text| text.parse::<Timestamp>().ok());
    since.is_some_and(|since| now.duration_since(since) < DELETION_GRACE)
}

/// The groups of a service account's user.
pub fn groups_of(namespace: &str) -> [String; 2] {
    ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}

fn user_of(claims: &Claims) -> UserInfo {
    let bound = &claims.kubernetes;
    let groups = groups_of(&bound.namespace);
    let mut user = UserInfo::new(&claims.sub, groups.iter().map(String::as_str));
    user.uid.clone_from(&bound.serviceaccount.uid);
    let mut extra = |key: &str, value: String| {
        user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
    };
    extra("credential-id", format!("JTI={}", claims.jti));
    for (what, reference) in [("pod", &bound.pod), ("node", &bound.node)] {
        if let Some(reference) = reference {
            extra(&format!("{what}-name"), reference.name.clone());
            extra(&format!("{what}-uid"), reference.uid.clone());
        }
    }
    user
}
