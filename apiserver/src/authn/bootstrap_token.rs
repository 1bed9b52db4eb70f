//! Bootstrap tokens: how a new node asks for its first certificate.
//!
//! *Source:* Kubernetes, "Authenticating with Bootstrap Tokens".

use super::UserInfo;
use crate::cache::Caches;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The group of everyone who came with such a token; further groups begin with it and a colon.
const GROUP: &str = "system:bootstrappers";

/// The user of a bootstrap token, by its Secret in `kube-system`; `None` when there is none, it has expired, or is not for
/// authentication.
pub(super) fn user(caches: &Caches, token: &str, now: Timestamp) -> Option<UserInfo> {
    let (id, secret) =
        token.split_once('.').filter(|(id, secret)| is_form(id, 6) && is_form(secret, 16))?;
    let stored =
        caches.get("", "secrets", "kube-system", &format!("bootstrap-token-{id}"))?.value();
    user_of(&stored, id, secret, now)
}

fn is_form(text: &str, length: usize) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() == length && text.bytes().all(known)
}

fn user_of(stored: &Value, id: &str, secret: &str, now: Timestamp) -> Option<UserInfo> {
    let data = |key: &str| -> String {
        let text = stored["data"].get(key).and_then(Value::as_str).unwrap_or_default();
        let bytes = STANDARD.decode(text).unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    };
    let expiration = data("expiration");
    let expired = match expiration.as_str() {
        "" => false,
        text => text.parse::<Timestamp>().map_or(true, |end| end <= now),
    };
    // Digests are compared, so that the time taken tells nothing of the secret.
    let same = Sha256::digest(data("token-secret")) == Sha256::digest(secret);
    let fits = stored["type"] == "bootstrap.kubernetes.io/token"
        && stored["metadata"]["deletionTimestamp"].is_null()
        && data("token-id") == id
        && data("usage-bootstrap-authentication") == "true";
    if expired || !same || !fits {
        return None;
    }
    let extra = data("auth-extra-groups");
    let own = |group: &&str| group.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with(':'));
    let extra = extra.split(',').map(str::trim).filter(own);
    Some(UserInfo::new(&format!("system:bootstrap:{id}"), [GROUP].into_iter().chain(extra)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(change: impl FnOnce(&mut Value), token: &str, expected: Option<&[&str]>) {
        let encode = |text: &str| STANDARD.encode(text);
        let mut stored = json!({
            "type": "bootstrap.kubernetes.io/token",
            "metadata": {},
            "data": {
                "token-id": encode("abcdef"),
                "token-secret": encode("0123456789abcdef"),
                "usage-bootstrap-authentication": encode("true"),
                "auth-extra-groups": encode("system:bootstrappers:w, system:masters"),
                "expiration": encode("2026-01-02T00:00:00Z"),
            },
        });
        change(&mut stored);
        let (id, secret) = token.split_once('.').unwrap();
        let user = user_of(&stored, id, secret, "2026-01-01T00:00:00Z".parse().unwrap());
        let groups = user.map(|user| user.groups);
        let expected = expected.map(|all| all.iter().map(|group| (*group).to_owned()).collect());
        assert_eq!(groups, expected);
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let good = "abcdef.0123456789abcdef";
        let groups = ["system:bootstrappers", "system:bootstrappers:w", "system:authenticated"];
        check(|_| {}, good, Some(&groups));
        check(|_| {}, "abcdef.0123456789abcdee", None);
        check(|secret| secret["type"] = json!("Opaque"), good, None);
        check(
            |secret| secret["data"]["expiration"] = json!(STANDARD.encode("2026-01-01T00:00:00Z")),
            good,
            None,
        );
        check(|secret| secret["data"]["expiration"] = json!(STANDARD.encode("soon")), good, None);
        check(|secret| secret["data"]["usage-bootstrap-authentication"] = Value::Null, good, None);
        check(|secret| secret["metadata"]["deletionTimestamp"] = json!("x"), good, None);
    }

    #[test]
    fn tokens_have_a_form() {
        assert!(is_form("abc123", 6) && !is_form("abc12", 6) && !is_form("ABC123", 6));
    }
}
