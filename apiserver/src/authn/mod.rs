//! Who is asking: from a client certificate of the cluster's CA, or from a bearer token: a static one, a service account's,
//! a bootstrap token, or a token of an OpenID Connect issuer.
//!
//! In: what TLS verified of the connection, the request's headers, and the time. Out: a [`UserInfo`], or 401. Without
//! credentials one is `system:anonymous`, unless nobody may be. Never here: what a user may do.

mod bootstrap_token;
mod certificate;
mod impersonate;
mod jwt;
mod oidc;
mod service_account;
mod tokens;
mod user;
mod websocket;

pub use certificate::{CertificateError, user_of_certificate};
pub use impersonate::Wanted;
pub use jwt::{Bound, Claims, Reference, TokenError, TokenKeys};
pub use oidc::{JwtRules, Oidc, OidcError, OidcFlags, parse_configuration};
pub use service_account::{ISSUER, ServiceAccounts, groups_of};
pub use tokens::{TokenFileError, Tokens};
pub use user::{ANONYMOUS, AUTHENTICATED, MASTERS, NODE_PREFIX, NODES, UNAUTHENTICATED, UserInfo};

pub(crate) use websocket::take_bearer;

use crate::cache::Caches;
use coracle_api::status::Status;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use std::sync::Arc;

/// Finds out who sends a request.
#[derive(Clone)]
pub struct Authenticator {
    tokens: Arc<Tokens>,
    accounts: Arc<ServiceAccounts>,
    oidc: Arc<Oidc>,
    caches: Arc<Caches>,
    anonymous: bool,
}

impl Authenticator {
    /// An authenticator that knows the given tokens, and every client certificate that TLS let through.
    pub fn new(tokens: Tokens, accounts: ServiceAccounts, caches: Arc<Caches>) -> Authenticator {
        let oidc = Arc::default();
        let (tokens, accounts) = (Arc::new(tokens), Arc::new(accounts));
        Authenticator { tokens, accounts, oidc, caches, anonymous: true }
    }

    /// The same, taking requests without credentials or not.
    pub fn with_anonymous(self, anonymous: bool) -> Authenticator {
        Authenticator { anonymous, ..self }
    }

    /// The same, trusting these issuers as well.
    pub fn with_oidc(self, oidc: Oidc) -> Authenticator {
        Authenticator { oidc: Arc::new(oidc), ..self }
    }

    /// Gets ready to judge a token: fetches the keys of its issuer, if it has one. Cancel safe.
    pub async fn prepare(&self, token: &str, now: Timestamp) {
        self.oidc.prepare(token, now).await;
    }

    /// Gets ready to judge a request's token, if it has one. Cancel safe.
    pub async fn prepare_request(&self, headers: &HeaderMap, now: Timestamp) {
        if let Some(token) = bearer(headers) {
            self.prepare(token, now).await;
        }
    }

    /// The issuer of service accounts' tokens.
    pub fn accounts(&self) -> &ServiceAccounts {
        &self.accounts
    }

    /// The user of a request. `peer` is the user of the connection's client certificate, which [`user_of_certificate`]
    /// reads once per connection; it is asked before the `Authorization` header, as upstream does.
    ///
    /// A request with neither is nobody's in particular; what that one may do is up to roles.
    /// *Source:* the `anonymous` request authenticator of `k8s.io/apiserver`, the last of the union.
    ///
    /// # Errors
    /// 401 when the token is unknown, or there is neither and nobody may be anonymous.
    pub fn authenticate(
        &self,
        peer: Option<&Arc<UserInfo>>,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Arc<UserInfo>, Status> {
        if let Some(user) = peer {
            return Ok(Arc::clone(user));
        }
        let Some(token) = bearer(headers) else {
            let nobody = self.anonymous.then(|| Arc::new(UserInfo::anonymous()));
            return nobody.ok_or_else(Status::unauthorized);
        };
        let user = self.token(token, &[ISSUER.to_owned()], now);
        user.map(|(user, _)| user).ok_or_else(Status::unauthorized)
    }

    /// The user of a token for any of the audiences, and the audiences that it is for; static and bootstrap tokens and
    /// those of issuers are for all.
    pub fn token(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Option<(Arc<UserInfo>, Vec<String>)> {
        if let Some(user) = self.tokens.user(token) {
            return Some((user, audiences.to_vec()));
        }
        if let Some(user) = bootstrap_token::user(&self.caches, token, now) {
            return Some((Arc::new(user), audiences.to_vec()));
        }
        if let Some((user, shared)) = self.accounts.authenticate(token, audiences, now) {
            return Some((Arc::new(user), shared));
        }
        let user = self.oidc.user(token, now)?;
        Some((Arc::new(user), audiences.to_vec()))
    }
}

/// The token of an `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authenticator(tokens: Tokens) -> Authenticator {
        let caches = Caches::start(&coracle_store::Store::memory());
        let keys = TokenKeys::new(&[rcgen::KeyPair::generate().unwrap()]).unwrap();
        let accounts = ServiceAccounts::new(Arc::new(keys), Arc::clone(&caches));
        Authenticator::new(tokens, accounts, caches)
    }

    #[tokio::main(flavor = "current_thread")]
    async fn check_with(
        anonymous: bool,
        authorization: Option<&str>,
        peer: Option<&str>,
        expected: Result<&str, u16>,
    ) {
        let tokens = Tokens::parse("secret,alice,1,\"dev,ops\"\n").unwrap();
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        let peer = peer.map(|name| Arc::new(UserInfo::new(name, ["g"])));
        let authenticator = authenticator(tokens).with_anonymous(anonymous);
        let user = authenticator.authenticate(peer.as_ref(), &headers, Timestamp::UNIX_EPOCH);
        let found = user.as_ref().map(|user| user.name.as_str()).map_err(Status::code);
        assert_eq!(found, expected);
    }

    fn check(authorization: Option<&str>, peer: Option<&str>, expected: Result<&str, u16>) {
        check_with(true, authorization, peer, expected);
    }

    #[test]
    fn knows_certificates_and_tokens_and_nobody_else() {
        check(Some("Bearer secret"), None, Ok("alice"));
        check(Some("bearer  secret "), None, Ok("alice"));
        check(None, Some("admin"), Ok("admin"));
        check(Some("Bearer wrong"), Some("admin"), Ok("admin"));
        check(Some("Bearer wrong"), None, Err(401));
    }

    #[test]
    fn who_shows_nothing_is_anonymous_unless_nobody_may_be() {
        for nothing in [None, Some("Bearer "), Some("Basic secret"), Some("secret")] {
            check(nothing, None, Ok(ANONYMOUS));
            check_with(false, nothing, None, Err(401));
        }
        check_with(false, Some("Bearer secret"), None, Ok("alice"));
        check_with(false, None, Some("admin"), Ok("admin"));
    }
}
