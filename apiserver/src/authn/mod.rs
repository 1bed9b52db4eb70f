//! Who is asking: from a client certificate of the cluster's CA, or from a static bearer token.
//!
//! In: what TLS verified of the connection, and the request's headers. Out: a [`UserInfo`], or 401. There are no
//! anonymous requests. Never here: what a user may do.

mod certificate;
mod tokens;
mod user;

pub use certificate::{CertificateError, user_of_certificate};
pub use tokens::{TokenFileError, Tokens};
pub use user::{AUTHENTICATED, MASTERS, NODE_PREFIX, NODES, UserInfo};

use coracle_api::status::Status;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::sync::Arc;

/// Finds out who sends a request.
#[derive(Debug, Clone, Default)]
pub struct Authenticator {
    tokens: Arc<Tokens>,
}

impl Authenticator {
    /// An authenticator that knows the given tokens, and every client certificate that TLS let through.
    pub fn new(tokens: Tokens) -> Authenticator {
        Authenticator { tokens: Arc::new(tokens) }
    }

    /// The user of a request. `peer` is the user of the connection's client certificate, which [`user_of_certificate`]
    /// reads once per connection; it is asked before the `Authorization` header, as upstream does.
    ///
    /// # Errors
    /// 401 when there is neither, or the token is unknown.
    pub fn authenticate(
        &self,
        peer: Option<&Arc<UserInfo>>,
        headers: &HeaderMap,
    ) -> Result<Arc<UserInfo>, Status> {
        if let Some(user) = peer {
            return Ok(Arc::clone(user));
        }
        bearer(headers).and_then(|token| self.tokens.user(token)).ok_or_else(Status::unauthorized)
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

    fn check(authorization: Option<&str>, peer: Option<&str>, expected: Result<&str, u16>) {
        let tokens = Tokens::parse("secret,alice,1,\"dev,ops\"\n").unwrap();
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        let peer = peer.map(|name| Arc::new(UserInfo::new(name, ["g"])));
        let user = Authenticator::new(tokens).authenticate(peer.as_ref(), &headers);
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
        check(Some("Bearer wrong"), None, Err(401));
        check(Some("Bearer "), None, Err(401));
        check(Some("Basic secret"), None, Err(401));
        check(Some("secret"), None, Err(401));
    }
}
