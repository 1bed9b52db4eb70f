//! Sends a request over a byte stream, and its answer back; connections that change their protocol
//! are joined.
//!
//! An edge: it dials nodes, and each connection is a task.

use coracle_api::status::Status;
use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, StatusCode};
use hyper::client::conn::http1;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

use super::options::node_path;
use super::splice;
use crate::body::{self, Body};
use crate::context::Context;
use crate::node_dialer::Duplex;
use crate::respond::Answer;
use crate::server::Core;

/// Headers about one hop, not about the message. *Source:* RFC 9110 section 7.6.1.
const HOP_HEADERS: [HeaderName; 7] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Prefixes of headers by which a client says who it is: they are for this server alone.
const IDENTITY_PREFIXES: [&str; 2] = ["impersonate-", "x-remote-"];

/// A request to be sent on.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// The client's connection, if it may change its protocol.
    pub(crate) upgrade: Option<OnUpgrade>,
}

impl Outgoing {
    /// A plain `GET`.
    pub(crate) fn get(path: String) -> Outgoing {
        let headers = HeaderMap::new();
        Outgoing { method: Method::GET, path, headers, body: body::empty(), upgrade: None }
    }

    /// A client's request under another path: without credentials, and with what asks for a change
    /// of the protocol only when the connection can change it.
    pub(crate) fn of(context: &Context, method: Method, path: String, body: Body) -> Outgoing {
        Outgoing::new(&context.headers, context.upgrade.clone(), method, path, body)
    }

    /// The same for a request that has no context.
    pub(crate) fn new(
        headers: &HeaderMap,
        upgrade: Option<OnUpgrade>,
        method: Method,
        path: String,
        body: Body,
    ) -> Outgoing {
        let mut headers = headers.clone();
        let wanted = headers.get(UPGRADE).cloned();
        let upgrade = wanted.as_ref().and(upgrade);
        for name in HOP_HEADERS.iter().chain(&[AUTHORIZATION, HOST]) {
            headers.remove(name);
        }
        let identity: Vec<HeaderName> = headers
            .keys()
            .filter(|name| IDENTITY_PREFIXES.iter().any(|p| name.as_str().starts_with(p)))
            .cloned()
            .collect();
        for name in identity {
            headers.remove(name);
        }
        if let (Some(wanted), Some(_)) = (wanted, &upgrade) {
            headers.insert(UPGRADE, wanted);
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        Outgoing { method, path, headers, body, upgrade }
    }
}

impl Core {
    /// Sends a request to a node's agent.
    ///
    /// # Errors
    /// 500 when the node cannot be reached or does not speak HTTP, 429 when too many streams are
    /// open; what it answers is for the caller to judge.
    pub(crate) async fn call_node(&self, node: &str, outgoing: Outgoing) -> Result<Answer, Status> {
        let failed = |error: &dyn std::fmt::Display| {
            Status::internal(format!("cannot reach node {node:?}: {error}"))
        };
        let stream = self.nodes.dial(node).await.map_err(|error| failed(&error))?;
        let outcome = self.exchange(stream, "agent", outgoing).await;
        outcome.map_err(|error| error.status(|error| failed(error)))
    }

    /// Opens a byte stream to a port of a pod, through its node.
    ///
    /// # Errors
    /// 503 when the node cannot be reached or nothing listens there.
    pub(crate) async fn dial_pod(
        &self,
        pod: &serde_json::Value,
        port: u16,
    ) -> Result<Box<dyn Duplex>, Status> {
        let refused = |why: &dyn std::fmt::Display| {
            let address = pod["status"]["podIP"].as_str().unwrap_or("");
            let text = format!("error trying to reach service: dial tcp {address}:{port}: {why}");
            Status::service_unavailable(text)
        };
        let node = pod["spec"]["nodeName"].as_str().unwrap_or("");
        let stream = self.nodes.dial(node).await.map_err(|error| refused(&error))?;
        let mut outgoing =
            Outgoing::get(format!("{}?port={port}", node_path("portForward", pod, None)));
        outgoing.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        outgoing.headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
        let (answer, _) = self.send(stream, "agent", outgoing).await.map_err(|e| refused(&e))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let text = body::read_up_to(answer.into_body(), ERROR_BYTES_MAX).await?;
            return Err(refused(&String::from_utf8_lossy(&text)));
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(|error| refused(&error))?;
        Ok(Box::new(TokioIo::new(upgraded)))
    }

    /// Sends a request over a stream and gives its answer; when that changes the protocol, the
    /// client's connection is joined with the stream.
    ///
    /// # Errors
    /// See [`ForwardError`].
    pub(crate) async fn exchange(
        &self,
        stream: Box<dyn Duplex>,
        host: &str,
        outgoing: Outgoing,
    ) -> Result<Answer, ForwardError> {
        let slot = match &outgoing.upgrade {
            None => None,
            Some(_) => {
                let slot = self.streams.clone().try_acquire_owned();
                Some(slot.map_err(|_| ForwardError::TooMany)?)
            }
        };
        let (answer, client) = self.send(stream, host, outgoing).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let mut answer = answer;
            for name in &HOP_HEADERS {
                answer.headers_mut().remove(name);
            }
            return Ok(answer);
        }
        let client = client.ok_or(ForwardError::Unasked)?;
        let (mut parts, _) = answer.into_parts();
        let node = parts.extensions.remove::<OnUpgrade>().ok_or(ForwardError::Unasked)?;
        let (open, shutdown) = (self.long_running(), self.shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = joined(client, node) => {}
                () = shutdown.cancelled() => {}
            }
            drop((open, slot));
        });
        Ok(Answer::from_parts(parts, body::empty()))
    }

    async fn send(
        &self,
        stream: Box<dyn Duplex>,
        host: &str,
        outgoing: Outgoing,
    ) -> Result<(Answer, Option<OnUpgrade>), ForwardError> {
        let handshake = http1::handshake::<_, Body>(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake?;
        let open = self.long_running();
        // The task ends with the connection, which ends when the answer was read or its reader went away.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a forwarded connection ended with an error");
            }
            drop(open);
        });
        let Outgoing { method, path, headers, body, upgrade } = outgoing;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| ForwardError::Path)?;
        *request.headers_mut() = headers;
        let host = HeaderValue::from_str(host).map_err(|_| ForwardError::Path)?;
        request.headers_mut().insert(HOST, host);
        let answer = sender.send_request(request).await?;
        Ok((answer.map(body::boxed), upgrade))
    }
}

/// Longest error text taken over from an agent, in bytes.
const ERROR_BYTES_MAX: usize = 16 * 1024;

/// Why a request could not be forwarded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// The other side is gone, or speaks no HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// As many streams as may be are open.
    #[error("too many streams are open, please try again later")]
    TooMany,
    /// The other side changed the protocol though nobody had asked it to.
    #[error("the protocol was changed unasked")]
    Unasked,
    /// The path or host cannot be written.
    #[error("malformed path")]
    Path,
}

impl ForwardError {
    /// The answer for the client; `unreachable` words a failure of the other side.
    pub(crate) fn status(
        self,
        unreachable: impl FnOnce(&dyn std::fmt::Display) -> Status,
    ) -> Status {
        match self {
            ForwardError::TooMany => Status::too_many_requests(self.to_string(), 1),
            ForwardError::Path => Status::bad_request(self.to_string()),
            ForwardError::Http(_) | ForwardError::Unasked => unreachable(&self),
        }
    }
}

async fn joined(client: OnUpgrade, node: OnUpgrade) {
    let upgraded: Result<(Upgraded, Upgraded), _> = futures::future::try_join(client, node).await;
    match upgraded {
        Ok((client, node)) => splice::join(TokioIo::new(client), TokioIo::new(node)).await,
        Err(error) => tracing::debug!(%error, "a stream ended before it began"),
    }
}

/// Streams open at once, watches over WebSockets among them; each holds one or two connections and some buffers.
pub(crate) const STREAMS_MAX: usize = 2000;
