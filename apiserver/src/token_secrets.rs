//! Secrets of type `kubernetes.io/service-account-token`: they get a token that lasts as long as they do.
//!
//! `filled` decides, purely; `follow` watches and writes. A token is bound to its Secret and its account, so it ends
//! with either; a Secret whose account is gone is removed.
//! *Source:* Kubernetes, "Managing Service Accounts", "Long-lived API token for ServiceAccounts"; the token controller
//! upstream in behaviour.

use std::sync::Weak;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_api::meta;
use coracle_api::registry::{self, Kind};
use coracle_store::{Guard, Write};
use serde_json::{Value, json};

use crate::authn::{Bound, Claims, ISSUER, Reference};
use crate::cache::{self, Selection, WatchFrom};
use crate::clock;
use crate::server::Core;

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// When such a token ends by itself: not in anybody's life. The last second of the year 9999, which every client can read.
const END_SECONDS: i64 = 253_402_300_799;

/// Time after which what was left behind is looked at again: an account that is not in the cache yet.
const RETRY: Duration = Duration::from_secs(2);

/// What is to be done with a Secret.
#[derive(Debug, PartialEq)]
enum Wanted {
    /// Nothing: it is no such Secret, or has all it needs.
    Nothing,
    /// It gets a token for the account with this uid.
    Token(String),
    /// Its account is gone.
    Removal,
    /// Its account may still come.
    Account,
}

/// Decides about a Secret; `account` is the uid of the account that it names.
fn wanted(secret: &Value, account: Option<&str>) -> Wanted {
    if secret["type"] != TYPE || meta::deletion_timestamp(secret).is_some() {
        return Wanted::Nothing;
    }
    let known = secret["metadata"]["annotations"][ACCOUNT_UID].as_str().unwrap_or_default();
    let has = |field: &str| secret["data"][field].as_str().is_some_and(|text| !text.is_empty());
    match account {
        None if known.is_empty() => Wanted::Account,
        None => Wanted::Removal,
        Some(uid) if !known.is_empty() && known != uid => Wanted::Removal,
        Some(_) if has("token") && has("namespace") && !known.is_empty() => Wanted::Nothing,
        Some(uid) => Wanted::Token(uid.to_owned()),
    }
}

/// Follows Secrets and accounts until the server ends.
pub(crate) async fn follow(core: Weak<Core>) {
    let kinds =
        registry::by_kind("", "v1", "Secret").zip(registry::by_kind("", "v1", "ServiceAccount"));
    let Some((secrets, accounts)) = kinds else { return };
    loop {
        let Some((shutdown, [one, other])) = core.upgrade().and_then(|core| {
            let cache = |kind| core.caches.resource(kind).cloned();
            Some((core.shutdown.clone(), [cache(secrets)?, cache(accounts)?]))
        }) else {
            return;
        };
        let watches = one
            .watch(Selection::all(secrets), WatchFrom::Now)
            .and_then(|one| Ok((one, other.watch(Selection::all(accounts), WatchFrom::Now)?)));
        let Ok((mut of_secrets, mut of_accounts)) = watches else { return };
        drop((one, other));
        let (mut waits, mut looks) = (false, true);
        loop {
            if looks {
                waits = match core.upgrade() {
                    Some(core) => core.settle_token_secrets(secrets).await,
                    None => return,
                };
            }
            let later = async {
                match waits {
                    true => tokio::time::sleep(RETRY).await,
                    false => std::future::pending().await,
                }
            };
            let goes_on = tokio::select! {
                events = of_secrets.next() => {
                    // Most Secrets are others, and written often.
                    let mut objects = events.iter().flatten().filter_map(|event| event.object());
                    looks = objects.any(|object| contains(&object.json, TYPE.as_bytes()));
                    events.is_some()
                }
                events = of_accounts.next() => {
                    looks = true;
                    events.is_some()
                }
                () = later => {
                    looks = true;
                    true
                }
                () = shutdown.cancelled() => return,
            };
            if !goes_on {
                break;
            }
        }
    }
}

impl Core {
    /// Does one round; whether something is to be looked at again.
    async fn settle_token_secrets(&self, kind: &'static Kind) -> bool {
        let Ok(cache) = self.objects(kind) else { return false };
        let mut waits = false;
        for object in cache.select(&Selection::all(kind)) {
            // Most Secrets are others; their bytes say so without being decoded.
            if !contains(&object.json, TYPE.as_bytes()) {
                continue;
            }
            let secret = object.value();
            let (namespace, name) = (meta::namespace(&secret), account_of(&secret));
            let account = self.caches.get("", "serviceaccounts", namespace, name);
            let write = match wanted(&secret, account.as_ref().map(|found| found.header.uid())) {
                Wanted::Nothing => continue,
                Wanted::Account => {
                    waits = true;
                    continue;
                }
                Wanted::Removal => Write::delete(object.key.clone(), Guard::At(object.revision)),
                Wanted::Token(uid) => match self.filled(&secret, &uid) {
                    Some(new) => {
                        let guard = Guard::At(object.revision);
                        Write::put(object.key.clone(), cache::encode(kind, &new), guard)
                    }
                    None => continue,
                },
            };
            if let Err(error) = self.store.commit(vec![write]).await {
                tracing::debug!(%error, "a Secret for a token changed meanwhile");
                waits = true;
            }
        }
        waits
    }

    /// A Secret with its token; `None` when none can be signed.
    fn filled(&self, secret: &Value, uid: &str) -> Option<Value> {
        let (namespace, name) = (meta::namespace(secret), account_of(secret));
        let now = clock::now().as_second();
        let reference =
            |name: &str, uid: &str| Reference { name: name.to_owned(), uid: uid.to_owned() };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: format!("system:serviceaccount:{namespace}:{name}"),
            aud: vec![ISSUER.to_owned()],
            exp: END_SECONDS,
            iat: now,
            nbf: now,
            jti: clock::uuid(),
            kubernetes: Bound {
                namespace: namespace.to_owned(),
                serviceaccount: reference(name, uid),
                pod: None,
                secret: Some(reference(meta::name(secret), meta::uid(secret))),
                node: None,
            },
        };
        let token = match self.authenticator.accounts().sign(&claims) {
            Ok(token) => token,
            Err(error) => {
                tracing::warn!(%error, "a token for a Secret cannot be signed");
                return None;
            }
        };
        let mut new = secret.clone();
        let mut set = |field: &str, value: &str| new["data"][field] = json!(STANDARD.encode(value));
        set("token", &token);
        set("namespace", namespace);
        if let Some(pki) = &self.signer {
            set("ca.crt", pki.ca_certificate());
        }
        new["metadata"]["annotations"][ACCOUNT_UID] = json!(uid);
        Some(new)
    }
}

fn account_of(secret: &Value) -> &str {
    secret["metadata"]["annotations"][ACCOUNT_NAME].as_str().unwrap_or_default()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_gets_a_token_while_its_account_lives() {
        let secret = |uid: &str, token: &str| {
            json!({"type": TYPE, "metadata": {"annotations": {ACCOUNT_NAME: "a", ACCOUNT_UID: uid}},
                "data": {"token": token, "namespace": "bg=="}})
        };
        assert_eq!(wanted(&secret("", ""), Some("u")), Wanted::Token("u".into()));
        assert_eq!(wanted(&secret("u", ""), Some("u")), Wanted::Token("u".into()));
        assert_eq!(wanted(&secret("u", "dA=="), Some("u")), Wanted::Nothing);
        assert_eq!(wanted(&secret("u", "dA=="), Some("other")), Wanted::Removal);
        assert_eq!(wanted(&secret("u", "dA=="), None), Wanted::Removal);
        assert_eq!(wanted(&secret("", ""), None), Wanted::Account);
        assert_eq!(wanted(&json!({"type": "Opaque"}), None), Wanted::Nothing);
    }
}
