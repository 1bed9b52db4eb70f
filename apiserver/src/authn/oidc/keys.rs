//! An issuer's public keys, and signatures under them. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

/// Most keys of one issuer that are looked at; issuers have two or three.
const KEYS_MAX: usize = 100;

/// What a token says of itself before anything is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) issuer: String,
    pub(super) key: Option<String>,
    pub(super) algorithm: Algorithm,
}

impl Token {
    /// Reads header and issuer; `None` for text that is no JSON Web Token.
    pub(super) fn read(text: &str) -> Option<Token> {
        let payload = text.split('.').nth(1)?;
        let header = jsonwebtoken::decode_header(text).ok()?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let issuer = claims["iss"].as_str()?.to_owned();
        Some(Token { issuer, key: header.kid, algorithm: header.alg })
    }
}

/// The keys of an issuer as they were last fetched.
#[derive(Default)]
pub(super) struct Keys {
    all: Vec<(Option<String>, DecodingKey)>,
    /// When they were fetched; `None` before the first time.
    pub(super) fetched: Option<Timestamp>,
}

impl Keys {
    /// Takes the keys that verify signatures out of a set; others are left out.
    ///
    /// # Errors
    /// Says what is wrong with the set as a whole.
    pub(super) fn read(set: &Value, now: Timestamp) -> Result<Keys, String> {
        let list = set["keys"].as_array().ok_or("it has no list of keys")?;
        // Read one by one, so that a key of an unknown kind does not hide the others.
        let read = |key: &Value| serde_json::from_value::<Jwk>(key.clone()).ok();
        let set = JwkSet { keys: list.iter().take(KEYS_MAX).filter_map(read).collect() };
        let usable = |key: &Jwk| {
            let is_secret = matches!(key.algorithm, AlgorithmParameters::OctetKey(_));
            let usage = key.common.public_key_use.as_ref();
            let signs =
                usage.is_none_or(|usage| *usage == jsonwebtoken::jwk::PublicKeyUse::Signature);
            let made = DecodingKey::from_jwk(key).ok().filter(|_| signs && !is_secret)?;
            Some((key.common.key_id.clone(), made))
        };
        Ok(Keys { all: set.keys.iter().filter_map(usable).collect(), fetched: Some(now) })
    }

    /// Whether a token may be signed by one of the keys.
    pub(super) fn knows(&self, token: &Token) -> bool {
        let named = |id: &String| self.all.iter().any(|(known, _)| known.as_ref() == Some(id));
        self.fetched.is_some() && token.key.as_ref().is_none_or(named)
    }

    /// The claims of a token that one of the keys signed, by one of the algorithms.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub(super) fn verify(
        &self,
        text: &str,
        token: &Token,
        algorithms: &[Algorithm],
    ) -> Result<Value, String> {
        if !algorithms.contains(&token.algorithm) {
            return Err(format!("it is signed by {:?}, which is not allowed", token.algorithm));
        }
        if self.fetched.is_none() {
            return Err("the issuer's keys could not be fetched yet".to_owned());
        }
        let mut validation = Validation::new(token.algorithm);
        // Times and audiences are the rules' to check, against inputs.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let candidate = |(id, _): &&(Option<String>, DecodingKey)| {
            token.key.is_none() || id.is_none() || *id == token.key
        };
        let verified = self
            .all
            .iter()
            .filter(candidate)
            .find_map(|(_, key)| jsonwebtoken::decode::<Value>(text, key, &validation).ok());
        verified.map(|data| data.claims).ok_or_else(|| "no key of the issuer signed it".to_owned())
    }
}
