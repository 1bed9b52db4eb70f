//! The ServiceAccount tokens of a pod: which it asks for, and when one is due to be renewed. Pure.
//!
//! *Source:* kubelet's token manager: a token is renewed after 80 % of its life, or after 24 hours
//! if that is sooner, a little earlier for each pod so that not all ask at once.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection, Volume};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::pods::plan;

/// Life of a token of a projection that names none. *Source:* `ServiceAccountTokenProjection`.
const LIFE_SECONDS_DEFAULT: i64 = 3600;
/// Longest time between two renewals of a token.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Most seconds by which a renewal comes early.
const EARLY_SECONDS_MAX: u64 = 10;

/// What one projection asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenSpec {
    /// Whom the token is for; empty for the API server.
    pub audience: String,
    /// Seconds for which it is to be valid.
    pub expiration_seconds: i64,
}

impl From<&ServiceAccountTokenProjection> for TokenSpec {
    fn from(projection: &ServiceAccountTokenProjection) -> Self {
        Self {
            audience: projection.audience.clone().unwrap_or_default(),
            expiration_seconds: projection.expiration_seconds.unwrap_or(LIFE_SECONDS_DEFAULT),
        }
    }
}

/// A token that was given.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What the guest sends.
    pub value: String,
    /// When we got it.
    pub issued_at: Timestamp,
    /// From when on nobody takes it.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for Token {
    /// Shows the times alone.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl Token {
    /// Gives the moment from which on the pod `uid` should get a new one.
    #[must_use]
    pub fn due_at(&self, uid: &str) -> Timestamp {
        let life = self.expires_at.duration_since(self.issued_at);
        let wait = (life * 4 / 5).min(AGE_MAX);
        let mut hasher = DefaultHasher::new();
        uid.hash(&mut hasher);
        let early = i64::try_from(hasher.finish() % EARLY_SECONDS_MAX).unwrap_or(0);
        let early = SignedDuration::from_secs(early).min(wait / 10);
        self.issued_at.checked_add(wait - early).unwrap_or(self.expires_at)
    }
}

/// Lists what the volumes of `pod` ask for.
#[must_use]
pub fn specs(pod: &Pod) -> BTreeSet<TokenSpec> {
    plan::spec(pod).volumes.iter().flatten().flat_map(of_volume).collect()
}

/// Lists what one volume asks for.
#[must_use]
pub fn of_volume(volume: &Volume) -> Vec<TokenSpec> {
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    sources.filter_map(|source| source.service_account_token.as_ref()).map(Into::into).collect()
}

/// Makes the `TokenRequest` for `pod`: the token is good for as long as the pod is there.
#[must_use]
pub fn request(pod: &Pod, spec: &TokenSpec) -> Value {
    let audiences: Vec<&str> =
        [spec.audience.as_str()].into_iter().filter(|a| !a.is_empty()).collect();
    json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {},
        "spec": {
            "audiences": audiences,
            "expirationSeconds": spec.expiration_seconds,
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod",
                "name": pod.metadata.name, "uid": pod.metadata.uid,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(life_seconds: i64) -> Token {
        let issued_at = Timestamp::UNIX_EPOCH;
        let expires_at = issued_at.checked_add(SignedDuration::from_secs(life_seconds)).unwrap();
        Token { value: "secret".into(), issued_at, expires_at }
    }

    #[test]
    fn a_token_is_due_at_four_fifths_of_its_life_and_after_a_day_at_the_latest() {
        for (life, due) in [(600, 480), (3607, 2885), (7 * 86_400, 86_400)] {
            let at = token(life).due_at("u").as_second();
            let early = i64::try_from(EARLY_SECONDS_MAX).unwrap();
            assert!((due - early..=due).contains(&at), "{life}: {at}");
        }
        let spread: BTreeSet<_> = (0..40).map(|n| token(3600).due_at(&n.to_string())).collect();
        assert!(spread.len() > 5);
        assert!(!format!("{:?}", token(1)).contains("secret"));
    }

    #[test]
    fn a_request_is_bound_to_its_pod() {
        let pod = json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [], "volumes": [
            {"name": "v", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"serviceAccountToken": {"path": "vault", "audience": "vault", "expirationSeconds": 600}}]}}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let all = specs(&pod);
        let wanted = |audience: &str, seconds| TokenSpec {
            audience: audience.into(),
            expiration_seconds: seconds,
        };
        assert_eq!(all, BTreeSet::from([wanted("", 3600), wanted("vault", 600)]));
        let sent = request(&pod, &wanted("vault", 600));
        assert_eq!(sent["spec"]["audiences"], json!(["vault"]));
        assert_eq!(sent["spec"]["boundObjectRef"]["uid"], "u");
        assert_eq!(request(&pod, &wanted("", 3600))["spec"]["audiences"], json!([]));
    }
}
