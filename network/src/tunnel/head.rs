//! What is said of a stream before its bytes: from which pod to which. Pure.

use std::net::SocketAddr;

use coracle_vnet::{NsTag, Protocol};
use http::{HeaderValue, Method, Request, Uri, request};

/// The address and port that the stream comes from: a pod's, or that of a client outside.
pub const SOURCE: &str = "coracle-source";
/// The pod that it comes from: `UID NAMESPACE/NAME`. For logs; who it is, the address says.
pub const FROM: &str = "coracle-from";
/// The protocol of a stream of datagrams. *Source:* RFC 9298.
const CONNECT_UDP: &str = "connect-udp";
/// Where a stream of datagrams goes, before address and port. *Source:* RFC 9298 §2.
const UDP_PATH: &str = "/.well-known/masque/udp/";
/// Says that capsules follow. *Source:* RFC 9297 §3.4.
pub(super) const CAPSULES: &str = "capsule-protocol";
/// Why a stream is refused, in the answer.
pub const REASON: &str = "coracle-reason";

/// From where to where a stream goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Where it comes from.
    pub source: SocketAddr,
    /// The pod that it comes from; `None` when it came in from outside of the cluster.
    pub from: Option<NsTag>,
    /// The pod's address and port that it goes to.
    pub destination: SocketAddr,
    /// Whether it carries one connection, or the datagrams of one flow as capsules (RFC 9298).
    pub protocol: Protocol,
}

/// Why a request is no head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The method is another one.
    #[error("only CONNECT is spoken here")]
    Method,
    /// The request's target is no address and port.
    #[error("the target must be the address and port of a pod")]
    Destination,
    /// The source is missing or no address and port.
    #[error("the header {SOURCE} must be an address and port")]
    Source,
}

impl Head {
    /// The request that carries it.
    ///
    /// # Errors
    /// Never for addresses; what the http crate says is passed on.
    pub fn request<B>(&self, body: B) -> Result<Request<B>, http::Error> {
        let target: Uri = match self.protocol {
            Protocol::Tcp => self.destination.to_string().parse()?,
            Protocol::Udp => {
                let ip = self.destination.ip().to_string().replace(':', "%3A");
                let port = self.destination.port();
                format!("https://{}{UDP_PATH}{ip}/{port}/", self.destination).parse()?
            }
        };
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(target)
            .header(SOURCE, self.source.to_string());
        if self.protocol == Protocol::Udp {
            let datagrams = hyper::ext::Protocol::from_static(CONNECT_UDP);
            request = request.extension(datagrams).header(CAPSULES, "?1");
        }
        if let Some(from) = &self.from
            && let Ok(value) = HeaderValue::try_from(format!("{} {}", from.id(), from.name()))
        {
            request = request.header(FROM, value);
        }
        request.body(body)
    }

    /// Reads it off a request.
    ///
    /// # Errors
    /// [`HeadError`] for a request that carries none.
    pub fn read(request: &request::Parts) -> Result<Head, HeadError> {
        if request.method != Method::CONNECT {
            return Err(HeadError::Method);
        }
        let asked = request.extensions.get::<hyper::ext::Protocol>();
        let (protocol, target) = match asked.map(AsRef::<[u8]>::as_ref) {
            None => {
                let target = request.uri.authority();
                (Protocol::Tcp, target.and_then(|target| target.as_str().parse().ok()))
            }
            Some(name) if name == CONNECT_UDP.as_bytes() => {
                (Protocol::Udp, udp_target(request.uri.path()))
            }
            Some(_) => return Err(HeadError::Method),
        };
        let text = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let source = text(SOURCE).and_then(|source| source.parse().ok());
        let from = text(FROM).and_then(|from| from.split_once(' '));
        Ok(Head {
            source: source.ok_or(HeadError::Source)?,
            from: from.map(|(id, name)| NsTag::new(id, name)),
            destination: target.ok_or(HeadError::Destination)?,
            protocol,
        })
    }
}

/// Reads the target off the path of RFC 9298 §2.
fn udp_target(path: &str) -> Option<SocketAddr> {
    let (ip, port) = path.strip_prefix(UDP_PATH)?.strip_suffix('/')?.split_once('/')?;
    let ip = ip.replace("%3A", ":").parse().ok()?;
    Some(SocketAddr::new(ip, port.parse().ok()?))
}

/// The text as a header may have it: printable ASCII, the rest as question marks.
#[must_use]
pub fn header_text(text: &str) -> HeaderValue {
    let clean: String =
        text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    HeaderValue::try_from(clean).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(from: Option<NsTag>) -> Head {
        head_of(from, Protocol::Tcp)
    }

    fn head_of(from: Option<NsTag>, protocol: Protocol) -> Head {
        Head {
            source: "10.128.0.5:40000".parse().unwrap(),
            from,
            destination: "[fd00::7]:80".parse().unwrap(),
            protocol,
        }
    }

    #[test]
    fn what_was_said_is_understood() {
        for from in [None, Some(NsTag::new("uid", "default/web"))] {
            let (parts, ()) = head(from.clone()).request(()).unwrap().into_parts();
            assert_eq!(parts.uri.to_string(), "[fd00::7]:80");
            assert_eq!(Head::read(&parts), Ok(head(from.clone())));
            let (parts, ()) =
                head_of(from.clone(), Protocol::Udp).request(()).unwrap().into_parts();
            let path = "/.well-known/masque/udp/fd00%3A%3A7/80/";
            assert_eq!(
                (parts.uri.path(), &parts.headers[CAPSULES]),
                (path, &"?1".parse().unwrap())
            );
            assert_eq!(Head::read(&parts), Ok(head_of(from, Protocol::Udp)));
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        let check = |change: &dyn Fn(&mut request::Parts), expected: HeadError| {
            let (mut parts, ()) = head(None).request(()).unwrap().into_parts();
            change(&mut parts);
            assert_eq!(Head::read(&parts), Err(expected));
        };
        check(&|parts| parts.method = Method::GET, HeadError::Method);
        check(&|parts| parts.uri = Uri::from_static("web:80"), HeadError::Destination);
        check(&|parts| parts.uri = Uri::from_static("/"), HeadError::Destination);
        check(&|parts| drop(parts.headers.remove(SOURCE)), HeadError::Source);
        let other = hyper::ext::Protocol::from_static("websocket");
        check(&|parts| drop(parts.extensions.insert(other.clone())), HeadError::Method);
        let udp = hyper::ext::Protocol::from_static(CONNECT_UDP);
        check(&|parts| drop(parts.extensions.insert(udp.clone())), HeadError::Destination);
        assert_eq!(header_text("caf\u{e9}\n!"), "caf??!");
    }
}
