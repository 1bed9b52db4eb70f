//! Reads what protocol a client wants to change to, and writes the answer. Pure.
//!
//! *Source:* RFC 6455 section 4.2; for SPDY the headers of `k8s.io/streaming`.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// What a WebSocket key is hashed with. *Source:* RFC 6455 section 1.3.
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The header in which SPDY clients list their protocols.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

const SPDY: &str = "SPDY/3.1";

/// The protocol of a raw stream of bytes, by which the API server itself reaches a pod's port.
const RAW: &str = "tcp";

/// What an endpoint speaks, each list in no order: the client's first choice that is here is taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spoken {
    /// WebSocket subprotocols; an empty one is for clients that name none.
    pub(crate) websocket: &'static [&'static str],
    /// Protocols over SPDY.
    pub(crate) spdy: &'static [&'static str],
    /// Bare bytes.
    pub(crate) raw: bool,
}

/// What a client and an endpoint have agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// What is spoken from now on.
    pub(crate) speech: Speech,
    /// The headers of the answer, whose code is 101.
    pub(crate) headers: HeaderMap,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// A WebSocket with this subprotocol; empty when the client named none.
    WebSocket(&'static str),
    /// SPDY/3.1 with this protocol.
    Spdy(&'static str),
    /// Bare bytes.
    Raw,
}

/// Why a handshake is refused: a code and a sentence.
pub(crate) type Refused = (StatusCode, String);

/// Agrees with a client on a protocol.
///
/// # Errors
/// 400 for a request that asks for none or is malformed, 403 when nothing is spoken by both.
pub(crate) fn agree(headers: &HeaderMap, spoken: Spoken) -> Result<Agreed, Refused> {
    let wanted = text(headers, UPGRADE);
    let is_upgrade =
        tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    if is_upgrade && wanted.eq_ignore_ascii_case("websocket") && !spoken.websocket.is_empty() {
        return websocket(headers, spoken.websocket);
    }
    if is_upgrade && wanted.eq_ignore_ascii_case(SPDY) && !spoken.spdy.is_empty() {
        return spdy(headers, spoken.spdy);
    }
    if is_upgrade && wanted.eq_ignore_ascii_case(RAW) && spoken.raw {
        let headers = answer(&[(UPGRADE, HeaderValue::from_static(RAW))]);
        return Ok(Agreed { speech: Speech::Raw, headers });
    }
    Err((StatusCode::BAD_REQUEST, "Upgrade request required".to_owned()))
}

fn websocket(headers: &HeaderMap, spoken: &[&'static str]) -> Result<Agreed, Refused> {
    let bad = |text: &str| (StatusCode::BAD_REQUEST, text.to_owned());
    if text(headers, SEC_WEBSOCKET_VERSION) != "13" {
        return Err(bad("`Sec-WebSocket-Version` must be 13"));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| bad("no `Sec-WebSocket-Key`"))?;
    let offered: Vec<&str> = tokens(headers, &SEC_WEBSOCKET_PROTOCOL).collect();
    let chosen = choose(&offered, spoken).ok_or_else(|| disagree(&offered, spoken))?;
    let mut hashed = key.as_bytes().to_vec();
    hashed.extend_from_slice(WEBSOCKET_GUID.as_bytes());
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &hashed));
    let accept = HeaderValue::from_str(&accept).map_err(|_| bad("malformed key"))?;
    let mut headers =
        answer(&[(UPGRADE, HeaderValue::from_static("websocket")), (SEC_WEBSOCKET_ACCEPT, accept)]);
    if !chosen.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
    }
    Ok(Agreed { speech: Speech::WebSocket(chosen), headers })
}

fn spdy(headers: &HeaderMap, spoken: &[&'static str]) -> Result<Agreed, Refused> {
    let offered: Vec<&str> = tokens(headers, &STREAM_PROTOCOL).collect();
    if offered.is_empty() {
        let why = "unable to upgrade: X-Stream-Protocol-Version header is required";
        return Err((StatusCode::BAD_REQUEST, why.to_owned()));
    }
    let chosen = choose(&offered, spoken).ok_or_else(|| disagree(&offered, spoken))?;
    let headers = answer(&[
        (UPGRADE, HeaderValue::from_static(SPDY)),
        (STREAM_PROTOCOL, HeaderValue::from_static(chosen)),
    ]);
    Ok(Agreed { speech: Speech::Spdy(chosen), headers })
}

fn answer(more: &[(HeaderName, HeaderValue)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.extend(more.iter().cloned());
    headers
}

fn choose(offered: &[&str], spoken: &[&'static str]) -> Option<&'static str> {
    let find = |wanted: &&str| spoken.iter().find(|known| *known == wanted).copied();
    if offered.is_empty() { find(&"") } else { offered.iter().find_map(find) }
}

fn disagree(offered: &[&str], spoken: &[&str]) -> Refused {
    let text = format!(
        "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
        offered.join(" "),
        spoken.join(" ")
    );
    (StatusCode::FORBIDDEN, text)
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}

/// The words of a header that may be given several times, and each time hold a list.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOKEN: Spoken = Spoken {
        websocket: &["", "v5.channel.k8s.io", "v4.channel.k8s.io"],
        spdy: &["v4.channel.k8s.io", "v3.channel.k8s.io"],
        raw: true,
    };

    /// Headers as `name: value` lines; gives the speech, or code and sentence of the refusal.
    fn check(lines: &str, expected: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines.lines().filter_map(|line| line.trim().split_once(": ")) {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let outcome = agree(&headers, SPOKEN);
        let text = match &outcome {
            Ok(agreed) => format!("{:?}", agreed.speech),
            Err((code, why)) => format!("{} {why}", code.as_u16()),
        };
        assert_eq!(text, expected, "{lines}");
        outcome.map(|agreed| agreed.headers).unwrap_or_default()
    }

    #[test]
    fn a_websocket_takes_the_clients_first_choice_that_is_spoken() {
        let base = "Connection: keep-alive, Upgrade\nUpgrade: WebSocket\n\
            Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
        let headers = check(
            &format!("{base}Sec-WebSocket-Protocol: v9.channel.k8s.io, v4.channel.k8s.io"),
            "WebSocket(\"v4.channel.k8s.io\")",
        );
        // The example of RFC 6455 section 1.3.
        assert_eq!(headers[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(headers[SEC_WEBSOCKET_PROTOCOL], "v4.channel.k8s.io");
        assert!(!check(base, "WebSocket(\"\")").contains_key(SEC_WEBSOCKET_PROTOCOL));
        check(
            &format!("{base}Sec-WebSocket-Protocol: chat"),
            "403 unable to upgrade: unable to negotiate protocol: client supports [chat], \
             server accepts [ v5.channel.k8s.io v4.channel.k8s.io]",
        );
        check("Connection: Upgrade\nUpgrade: websocket", "400 `Sec-WebSocket-Version` must be 13");
    }

    #[test]
    fn spdy_names_its_protocol_in_a_header_of_its_own() {
        let base = "Connection: Upgrade\nUpgrade: SPDY/3.1\n";
        let headers = check(
            &format!(
                "{base}X-Stream-Protocol-Version: v5.channel.k8s.io\n\
                 X-Stream-Protocol-Version: v4.channel.k8s.io"
            ),
            "Spdy(\"v4.channel.k8s.io\")",
        );
        assert_eq!(headers[STREAM_PROTOCOL], "v4.channel.k8s.io");
        assert_eq!(headers[UPGRADE], "SPDY/3.1");
        check(base, "400 unable to upgrade: X-Stream-Protocol-Version header is required");
    }

    #[test]
    fn bare_bytes_and_no_upgrade() {
        check("Connection: Upgrade\nUpgrade: tcp", "Raw");
        check("Upgrade: tcp", "400 Upgrade request required");
        check("Accept: text/html", "400 Upgrade request required");
        check("Connection: Upgrade\nUpgrade: h2c", "400 Upgrade request required");
    }
}
