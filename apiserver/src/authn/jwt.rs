//! The tokens of service accounts: signed claims, and the keys that sign and verify them.
//!
//! The time is an input; what a token is bound to is looked up in `service_account`. *Source:* RFC 7519 and Kubernetes,
//! "Service Account Token Volume Projection"; the claims are kube-apiserver's.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::{KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt;

/// The one algorithm: short signatures that are made in microseconds, and every OIDC client knows it.
const ALGORITHM: Algorithm = Algorithm::ES256;

/// Bytes of one coordinate of a P-256 point.
const COORDINATE_BYTES: usize = 32;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// The user: `system:serviceaccount:NAMESPACE:NAME`.
    pub sub: String,
    /// Whom it is for.
    pub aud: Vec<String>,
    /// Until when it is valid, in seconds since 1970.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// From when on it is valid.
    pub nbf: i64,
    /// Its own id.
    pub jti: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bound,
}

/// The objects that must live for a token to be valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The namespace of the account, and of the pod or Secret.
    pub namespace: String,
    /// The account.
    pub serviceaccount: Reference,
    /// The pod that the token was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The Secret that the token was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The node that the token was made for, or the pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
}

/// An object by name and uid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Why keys or a token could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is no key.
    #[error("no key to sign service account tokens with")]
    NoKey,
    /// A key is of another kind.
    #[error("a key for service account tokens must be an ECDSA key on the curve P-256")]
    KeyKind,
    /// The library refused.
    #[error("sign a service account token")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

struct Known {
    id: String,
    key: DecodingKey,
    jwk: Value,
}

/// The keys of service account tokens: the first one signs, all of them verify.
pub struct TokenKeys {
    signing: EncodingKey,
    known: Vec<Known>,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKeys({})", self.known.len())
    }
}

impl TokenKeys {
    /// The keys in order: the first signs, the others are there for tokens that were signed before.
    ///
    /// # Errors
    /// When there is none, or one is not of P-256.
    pub fn new(keys: &[KeyPair]) -> Result<TokenKeys, TokenError> {
        let first = keys.first().ok_or(TokenError::NoKey)?;
        let signing = EncodingKey::from_ec_der(&first.serialize_der());
        let known = keys.iter().map(known).collect::<Result<Vec<Known>, TokenError>>()?;
        Ok(TokenKeys { signing, known })
    }

    /// Signs claims.
    ///
    /// # Errors
    /// When the library refuses, which only a defect brings about.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        let mut header = Header::new(ALGORITHM);
        header.kid = self.known.first().map(|known| known.id.clone());
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(TokenError::Sign)
    }

    /// The claims of a token that one of the keys signed for this issuer; `None` for any other text. Whether they hold
    /// now is [`Claims::hold`]'s.
    pub fn verify(&self, token: &str, issuer: &str) -> Option<Claims> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let mut validation = Validation::new(ALGORITHM);
        // Times and audiences are checked against inputs, not against the library's own clock.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        validation.set_issuer(&[issuer]);
        let by_id = |known: &&Known| header.kid.as_ref().is_none_or(|id| *id == known.id);
        let claims = self.known.iter().filter(by_id).find_map(|known| {
            jsonwebtoken::decode::<Claims>(token, &known.key, &validation).ok()
        })?;
        Some(claims.claims)
    }

    /// The public keys as a JSON Web Key Set (RFC 7517).
    pub fn jwks(&self) -> Value {
        let keys: Vec<&Value> = self.known.iter().map(|known| &known.jwk).collect();
        json!({"keys": keys})
    }
}

impl Claims {
    /// Whether the claims hold at a time.
    pub fn hold(&self, now: Timestamp) -> bool {
        (self.nbf..self.exp).contains(&now.as_second())
    }
}

fn known(key: &KeyPair) -> Result<Known, TokenError> {
    let point = key.public_key_raw();
    let coordinates = point.strip_prefix(&[4]).filter(|rest| rest.len() == 2 * COORDINATE_BYTES);
    let (x, y) = coordinates
        .and_then(|rest| rest.split_at_checked(COORDINATE_BYTES))
        .ok_or(TokenError::KeyKind)?;
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let id = encode(&Sha256::digest(key.subject_public_key_info()));
    let (x, y) = (encode(x), encode(y));
    let decoding = DecodingKey::from_ec_components(&x, &y).map_err(|_| TokenError::KeyKind)?;
    let jwk = json!({
        "use": "sig", "kty": "EC", "kid": id, "crv": "P-256", "alg": "ES256", "x": x, "y": y,
    });
    Ok(Known { id, key: decoding, jwk })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(issuer: &str) -> Claims {
        let account = Reference { name: "robot".into(), uid: "u".into() };
        Claims {
            iss: issuer.into(),
            sub: "system:serviceaccount:qa:robot".into(),
            aud: vec!["a".into()],
            exp: 200,
            iat: 100,
            nbf: 100,
            jti: "j".into(),
            kubernetes: Bound {
                namespace: "qa".into(),
                serviceaccount: account,
                pod: None,
                secret: None,
                node: None,
            },
        }
    }

    #[test]
    fn a_token_is_taken_from_a_known_key_and_issuer_alone() {
        let (old, new) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let before = TokenKeys::new(std::slice::from_ref(&old)).unwrap();
        let token = before.sign(&claims("me")).unwrap();
        assert_eq!(before.verify(&token, "me"), Some(claims("me")));
        assert_eq!(before.verify(&token, "you"), None);
        let other = TokenKeys::new(std::slice::from_ref(&new)).unwrap();
        assert_eq!(other.verify(&token, "me"), None);
        let rotated = TokenKeys::new(&[new, old]).unwrap();
        assert_eq!(rotated.verify(&token, "me"), Some(claims("me")));
        assert_ne!(rotated.sign(&claims("me")).unwrap(), token);
        assert_eq!(rotated.jwks()["keys"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_changed_token_is_none() {
        let keys = TokenKeys::new(&[KeyPair::generate().unwrap()]).unwrap();
        let token = keys.sign(&claims("me")).unwrap();
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let mut forged = claims("me");
        forged.sub = "system:serviceaccount:kube-system:root".into();
        parts[1] = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&forged).unwrap());
        assert_eq!(keys.verify(&parts.join("."), "me"), None);
        let unsigned = URL_SAFE_NO_PAD.encode(br#"{"alg":"none","typ":"JWT"}"#);
        assert_eq!(keys.verify(&format!("{unsigned}.{}.", parts[1]), "me"), None);
        for text in ["", ".", "..", "a.b.c", "secret"] {
            assert_eq!(keys.verify(text, "me"), None, "{text}");
        }
    }

    #[test]
    fn claims_hold_for_their_time() {
        let at = |second| claims("me").hold(Timestamp::from_second(second).unwrap());
        assert_eq!([at(99), at(100), at(199), at(200)], [false, true, true, false]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in "[a-zA-Z0-9_.=-]{0,200}") {
            let keys = TokenKeys::new(&[KeyPair::generate().unwrap()]).unwrap();
            proptest::prop_assert!(keys.verify(&text, "me").is_none());
        }
    }
}
