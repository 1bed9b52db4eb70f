//! The token of a WebSocket: browsers cannot set headers on one, but they can name protocols.
//!
//! *Source:* `k8s.io/apiserver/pkg/authentication/request/websocket`: the protocol
//! `base64url.bearer.authorization.k8s.io.TOKEN`, with the token in base64url without padding, beside the protocol that
//! is really spoken.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};

/// What the protocol's name begins with.
const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// Takes the token out of the protocols that a WebSocket asks for, so that it goes no further, and makes it the
/// request's bearer token unless it has another one.
///
/// Nothing happens to a request without exactly one such token, or without another protocol beside it.
pub(crate) fn take_bearer(headers: &mut HeaderMap) {
    let is_socket = headers
        .get(UPGRADE)
        .is_some_and(|wanted| wanted.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !is_socket {
        return;
    }
    let asked: Vec<&str> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let (tokens, others): (Vec<&str>, Vec<&str>) =
        asked.into_iter().partition(|name| name.starts_with(PREFIX));
    let ([token], false) = (tokens.as_slice(), others.is_empty()) else { return };
    let token = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX).unwrap_or_default()).ok();
    let bearer = token
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
    let Ok(others) = HeaderValue::from_str(&others.join(", ")) else { return };
    headers.insert(SEC_WEBSOCKET_PROTOCOL, others);
    if let (Some(mut bearer), false) = (bearer, headers.contains_key(AUTHORIZATION)) {
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(upgrade: &str, protocols: &[&str], own: Option<&str>, expected: (&str, Option<&str>)) {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, upgrade.parse().unwrap());
        for value in protocols {
            headers.append(SEC_WEBSOCKET_PROTOCOL, value.parse().unwrap());
        }
        if let Some(own) = own {
            headers.insert(AUTHORIZATION, own.parse().unwrap());
        }
        take_bearer(&mut headers);
        let all: Vec<_> =
            headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().map(|v| v.to_str().unwrap()).collect();
        let token = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap());
        assert_eq!((all.join("|").as_str(), token), expected);
    }

    #[test]
    fn a_protocol_is_a_token() {
        let token = "base64url.bearer.authorization.k8s.io.c2VjcmV0"; // "secret"
        let both = format!("v5.channel.k8s.io, {token}");
        check("websocket", &[&both], None, ("v5.channel.k8s.io", Some("Bearer secret")));
        check("WebSocket", &[token, "a, b"], None, ("a, b", Some("Bearer secret")));
        check("websocket", &[&both], Some("Bearer x"), ("v5.channel.k8s.io", Some("Bearer x")));
        check("websocket", &[token], None, (token, None));
        check("SPDY/3.1", &[&both], None, (&both, None));
        check("websocket", &["v5.channel.k8s.io"], None, ("v5.channel.k8s.io", None));
        let bad = "base64url.bearer.authorization.k8s.io.!";
        check("websocket", &["a", bad], None, ("a", None));
        let twice = format!("{token}, {token}, a");
        check("websocket", &[&twice], None, (&twice, None));
    }
}
