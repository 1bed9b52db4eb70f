//! Signatures by a token: whoever holds it can check that `cluster-info` comes from somebody who
//! holds it too.
//!
//! *Source:* RFC 7515 with a detached payload (appendix F), algorithm `HS256`, as kubeadm has it.

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Signs a text with a token: `HEADER..SIGNATURE`.
#[must_use]
pub fn sign(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": id}).to_string());
    let key = Key::new(HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, input(&header, content).as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Whether a signature was made with this token over this text.
#[must_use]
pub fn verify(signature: &str, content: &str, id: &str, secret: &str) -> bool {
    let Some((header, tag)) = signature.split_once("..") else { return false };
    let fields = URL_SAFE_NO_PAD.decode(header).ok();
    let fields: Option<Value> = fields.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let known = fields.is_some_and(|fields| fields["alg"] == "HS256" && fields["kid"] == id);
    let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else { return false };
    let key = Key::new(HMAC_SHA256, secret.as_bytes());
    known && hmac::verify(&key, input(header, content).as_bytes(), &tag).is_ok()
}

fn input(header: &str, content: &str) -> String {
    format!("{header}.{}", URL_SAFE_NO_PAD.encode(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_verifies_the_same_text() {
        let signature = sign("text", "abcdef", "0123456789abcdef");
        let check = |signature: &str, text, id, secret| verify(signature, text, id, secret);
        assert!(check(&signature, "text", "abcdef", "0123456789abcdef"));
        assert!(!check(&signature, "texts", "abcdef", "0123456789abcdef"));
        assert!(!check(&signature, "text", "abcdee", "0123456789abcdef"));
        assert!(!check(&signature, "text", "abcdef", "0123456789abcdee"));
        assert!(!check("junk", "text", "abcdef", "0123456789abcdef"));
        assert!(!check("..", "text", "abcdef", "0123456789abcdef"));
    }

    /// The signature as any implementation of RFC 7515 makes it:
    /// `printf %s HEADER.PAYLOAD | openssl dgst -sha256 -hmac 0123456789abcdef -binary`.
    #[test]
    fn the_form_is_that_of_the_standard() {
        assert_eq!(
            sign("text", "abcdef", "0123456789abcdef"),
            "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..v28Ea_KqmHOtFWksJ_4tbV6AFRNzMkrRUG_jsuLJz-4"
        );
    }
}
