//! Users of OpenID Connect issuers: tokens that others sign, and what their claims say of a user.
//!
//! `config` reads what is trusted, from flags or an `AuthenticationConfiguration`; `keys` verifies signatures and
//! `rules` makes users of claims, purely; `fetch` is the edge that gets an issuer's keys: when its first token comes,
//! when one names a key that is not known, and when the keys are old.
//! *Source:* OpenID Connect Discovery 1.0; RFC 7517, 7519; Kubernetes, "OpenID Connect Tokens".

mod config;
mod fetch;
mod keys;
mod rules;

pub use config::{OidcError, OidcFlags, parse_configuration};
pub use rules::JwtRules;

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::RwLock;
use serde_json::Value;

use super::UserInfo;
use crate::webhook::Clients;
use keys::{Keys, Token};

/// Longest token that is looked at, in bytes. *Source:* header lines of HTTP servers are seldom allowed to be longer.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The issuers that are trusted.
#[derive(Default)]
pub struct Oidc {
    issuers: Vec<Issuer>,
    clients: Clients,
}

struct Issuer {
    rules: JwtRules,
    keys: RwLock<Arc<Keys>>,
    /// When the keys were last asked for; one at a time asks.
    asked: tokio::sync::Mutex<Option<Timestamp>>,
}

impl Oidc {
    /// Trusts issuers, each by its rules.
    pub fn new(rules: Vec<JwtRules>) -> Oidc {
        let issuer =
            |rules| Issuer { rules, keys: RwLock::default(), asked: tokio::sync::Mutex::default() };
        Oidc { issuers: rules.into_iter().map(issuer).collect(), clients: Clients::default() }
    }

    /// The issuer that a token says it is of.
    fn issuer_of(&self, token: &Token) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| issuer.rules.url == token.issuer)
    }

    fn read(&self, text: &str) -> Option<Token> {
        if self.issuers.is_empty() || text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        Token::read(text)
    }

    /// The user of a token; `None` for one that no issuer signed, or that its issuer's rules refuse.
    ///
    /// Keys are not fetched here: `prepare` must have been awaited for the token.
    pub(super) fn user(&self, text: &str, now: Timestamp) -> Option<UserInfo> {
        let token = self.read(text)?;
        let issuer = self.issuer_of(&token)?;
        let keys = Arc::clone(&issuer.keys.read());
        let claims = keys.verify(text, &token, &issuer.rules.algorithms);
        match claims.and_then(|claims: Value| issuer.rules.user(&claims, now)) {
            Ok(user) => Some(user),
            Err(why) => {
                tracing::info!(issuer = issuer.rules.url, why, "a token is refused");
                None
            }
        }
    }
}
