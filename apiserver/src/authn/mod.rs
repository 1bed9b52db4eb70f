//! Who is asking: from a client certificate of the cluster's CA, or from a bearer token: a static one, a service account's,
//! a bootstrap token, or a token of an OpenID Connect issuer.
//!
//! In: what TLS verified of the connection, the request's headers, and the time. Out: a [`UserInfo`], or 401. Without
//! credentials one may ask for the server's health and version, as `system:anonymous`. Never here: what a user may do.

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

/// Paths that need no credentials: what load balancers and probes ask, and what a host that joins
/// reads before it trusts anybody. *Source:* the paths that an `AuthenticationConfiguration` usually
/// leaves to anonymous requests (kubeadm adds the last), and the version.
const ANONYMOUS_PATHS: [&str; 5] = [
    "/healthz",
    "/livez",
    "/readyz",
    "/version",
    "/api/v1/namespaces/kube-public/configmaps/cluster-info",
];

/// Finds out who sends a request.
#[derive(Clone)]
pub struct Authenticator {
    tokens: Arc<Tokens>,
    accounts: Arc<ServiceAccounts>,
    oidc: Arc<Oidc>,
    caches: Arc<Caches>,
}

impl Authenticator {
    /// An authenticator that knows the given tokens, and every client certificate that TLS let through.
    pub fn new(tokens: Tokens, accounts: ServiceAccounts, caches: Arc<Caches>) -> Authenticator {
        let oidc = Arc::default();
        Authenticator { tokens: Arc::new(tokens), accounts: Arc::new(accounts), oidc, caches }
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
    /// # Errors
    /// 401 when there is neither and the path needs one, or the token is unknown.
    pub fn authenticate(
        &self,
        peer: Option<&Arc<UserInfo>>,
        headers: &HeaderMap,
        path: &str,
        now: Timestamp,
    ) -> Result<Arc<UserInfo>, Status> {
        if let Some(user) = peer {
            return Ok(Arc::clone(user));
        }
        if !headers.contains_key(AUTHORIZATION) && ANONYMOUS_PATHS.contains(&path) {
            return Ok(Arc::new(UserInfo::anonymous()));
        }
        let own = [ISSUER.to_owned()];
        let user = bearer(headers).and_then(|token| self.token(token, &own, now));
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

    fn check(authorization: Option<&str>, peer: Option<&str>, expected: Result<&str, u16>) {
        check_path("/api", authorization, peer, expected);
    }

    #[tokio::main(flavor = "current_thread")]
    async fn check_path(
        path: &str,
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
        let user = authenticator(tokens).authenticate(
            peer.as_ref(),
            &headers,
            path,
            Timestamp::UNIX_EPOCH,
        );
        let found = user.as_ref().map(|user| user.name.as_str()).map_err(Status::code);
        assert_eq!(found, expected);
    }

    #[test]
    fn knows_certificates_and_tokens_and_nobody_else() {
        check(Some("Bearer secret"), None, Ok("alice"));
        check(Some("bearer  secret "), None, Ok("alice"));
        check(None, Some("admin"), Ok("admin"));
        check(Some("Bearer wrong"), Some("admin"), Ok("admin"));
        check(None, None, Err(401));
        check_path("/healthz", None, None, Ok(ANONYMOUS));
        check_path("/healthz", Some("Bearer wrong"), None, Err(401));
        check_path("/metrics", None, None, Err(401));
        check(Some("Bearer wrong"), None, Err(401));
        check(Some("Bearer "), None, Err(401));
        check(Some("Basic secret"), None, Err(401));
        check(Some("secret"), None, Err(401));
    }
}
