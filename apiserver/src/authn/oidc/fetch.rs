//! Gets an issuer's keys: its description, then the set that the description names.
//!
//! An edge: it talks to issuers.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

use super::keys::Keys;
use super::{Issuer, Oidc};

/// How long a request waits for an issuer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two questions for an issuer's keys, so that tokens with invented keys do not flood it.
const ASK_PERIOD: SignedDuration = SignedDuration::from_secs(10);
/// Age from which keys are fetched anew, so that one that the issuer took away ceases to count.
const KEYS_AGE_MAX: SignedDuration = SignedDuration::from_mins(15);

impl Oidc {
    /// Fetches the keys of a token's issuer when they are not known or old. Cancel safe.
    pub(in crate::authn) async fn prepare(&self, text: &str, now: Timestamp) {
        let Some(token) = self.read(text) else { return };
        let Some(issuer) = self.issuer_of(&token) else { return };
        let is_ready = || {
            let keys = issuer.keys.read();
            let is_fresh = keys.fetched.is_some_and(|at| now.duration_since(at) < KEYS_AGE_MAX);
            is_fresh && keys.knows(&token)
        };
        if is_ready() {
            return;
        }
        let mut asked = issuer.asked.lock().await;
        let is_soon = asked.is_some_and(|at| now.duration_since(at) < ASK_PERIOD);
        if is_ready() || is_soon {
            return;
        }
        *asked = Some(now);
        match self.fetch(issuer, now).await {
            Ok(keys) => *issuer.keys.write() = Arc::new(keys),
            Err(why) => {
                tracing::warn!(
                    issuer = issuer.rules.url,
                    why,
                    "an issuer's keys cannot be fetched"
                );
            }
        }
    }

    async fn fetch(&self, issuer: &Issuer, now: Timestamp) -> Result<Keys, String> {
        let rules = &issuer.rules;
        let get = |url: String| async move {
            let answer = self.clients.get(&url, &rules.authority, FETCH_TIMEOUT).await;
            answer.map_err(|why| format!("Get {url:?}: {why}"))
        };
        let description: Value = get(rules.discovery_url.clone()).await?;
        if description["issuer"] != *rules.url {
            return Err(format!(
                "{:?} describes the issuer {}, not {:?}",
                rules.discovery_url, description["issuer"], rules.url
            ));
        }
        let keys = description["jwks_uri"].as_str().unwrap_or_default();
        if !keys.starts_with("https://") {
            return Err("its jwks_uri must be an https URL".to_owned());
        }
        let set = get(keys.to_owned()).await?;
        Keys::read(&set, now).map_err(|why| format!("{keys:?}: {why}"))
    }
}
