//! Spans of HTTP requests. Nothing here waits.
//!
//! *Source:* OpenTelemetry's stable semantic conventions for HTTP spans (1.23 and later).

use std::net::SocketAddr;

use http::header::{HOST, USER_AGENT};
use http::{Method, Request, StatusCode, Uri, Version};
use opentelemetry::trace::{
    SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};

use crate::headers;
use crate::telemetry::Tracer;

/// Longest text of an attribute, in bytes: paths and agents come from strangers.
const TEXT_BYTES_MAX: usize = 1024;

/// The ends of the connection that a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who asks.
    pub peer: SocketAddr,
    /// Where it was answered.
    pub local: SocketAddr,
}

/// One request, as one part saw it, from its begin until this is dropped.
#[derive(Debug)]
pub struct Span {
    sdk: opentelemetry_sdk::trace::Span,
    kind: SpanKind,
}

impl Tracer {
    /// Begins the span of a request that is to be answered. It belongs to the trace that the request
    /// names, and from now on the request names this span, for whoever gets it next.
    pub fn serve<B>(&self, request: &mut Request<B>, ends: Option<Ends>) -> Span {
        let parent = headers::read(request.headers());
        let span = self.begin(request, SpanKind::Server, &parent, |request| {
            let mut found = served(request);
            if let Some(Ends { peer, local }) = ends {
                found.push(KeyValue::new("client.address", peer.ip().to_string()));
                found.push(KeyValue::new("network.peer.address", peer.ip().to_string()));
                found.push(KeyValue::new("network.peer.port", i64::from(peer.port())));
                found.push(KeyValue::new("network.local.address", local.ip().to_string()));
                found.push(KeyValue::new("network.local.port", i64::from(local.port())));
            }
            found
        });
        headers::write(&span.context(), request.headers_mut());
        span
    }

    /// Begins the span of a request that is to be sent, and writes it into the request. Its parent is
    /// the one that the sender wrote itself, else `within`.
    pub fn send<B>(&self, request: &mut Request<B>, within: Option<&SpanContext>) -> Span {
        let mut parent = headers::read(request.headers());
        if let Some(within) = within
            && !parent.span().span_context().is_valid()
        {
            parent = Context::new().with_remote_span_context(within.clone());
        }
        let span = self.begin(request, SpanKind::Client, &parent, |request| sent(request));
        headers::write(&span.context(), request.headers_mut());
        span
    }

    fn begin<B>(
        &self,
        request: &Request<B>,
        kind: SpanKind,
        parent: &Context,
        attributes: impl FnOnce(&Request<B>) -> Vec<KeyValue>,
    ) -> Span {
        let name = method(request.method());
        let name = if name == OTHER_METHOD { "HTTP" } else { name };
        let builder = SpanBuilder::from_name(name).with_kind(kind.clone());
        let mut sdk = self.sdk.build_with_context(builder, parent);
        if opentelemetry::trace::Span::is_recording(&sdk) {
            opentelemetry::trace::Span::set_attributes(&mut sdk, attributes(request));
        }
        Span { sdk, kind }
    }
}

impl Span {
    /// Gives what names this span to others.
    #[must_use]
    pub fn context(&self) -> SpanContext {
        opentelemetry::trace::Span::span_context(&self.sdk).clone()
    }

    /// Records the answer. A status of 500 and above is an error for both ends, one of 400 and above
    /// for who asked.
    pub fn answered(&mut self, status: StatusCode) {
        use opentelemetry::trace::Span as _;
        if !self.sdk.is_recording() {
            return;
        }
        self.sdk
            .set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        let asked = self.kind == SpanKind::Client;
        if status.is_server_error() || (asked && status.is_client_error()) {
            self.sdk.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            self.sdk.set_status(Status::error(""));
        }
    }

    /// Records that there was no answer; `why` is one word of a short list.
    pub fn failed(&mut self, why: &'static str) {
        use opentelemetry::trace::Span as _;
        self.sdk.set_attribute(KeyValue::new("error.type", why));
        self.sdk.set_status(Status::error(""));
    }

    /// Records something that is known only later.
    pub fn note(&mut self, name: &'static str, value: impl Into<opentelemetry::Value>) {
        opentelemetry::trace::Span::set_attribute(&mut self.sdk, KeyValue::new(name, value));
    }
}

fn served<B>(request: &Request<B>) -> Vec<KeyValue> {
    let uri = request.uri();
    let mut found = about(request);
    found.push(KeyValue::new("url.path", cut(uri.path())));
    found.push(KeyValue::new("url.scheme", uri.scheme_str().unwrap_or("http").to_owned()));
    found.extend(uri.query().map(|query| KeyValue::new("url.query", cut(query))));
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    found.extend(agent.map(|agent| KeyValue::new("user_agent.original", cut(agent))));
    found
}

fn sent<B>(request: &Request<B>) -> Vec<KeyValue> {
    let mut found = about(request);
    found.push(KeyValue::new("url.full", cut(&full(request.uri()))));
    found
}

/// What both ends tell.
fn about<B>(request: &Request<B>) -> Vec<KeyValue> {
    let name = method(request.method());
    let mut found = vec![KeyValue::new("http.request.method", name)];
    if name == OTHER_METHOD {
        let own = cut(request.method().as_str());
        found.push(KeyValue::new("http.request.method_original", own));
    }
    let version = match request.version() {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _other => None,
    };
    found.extend(version.map(|version| KeyValue::new("network.protocol.version", version)));
    if let Some((host, port)) = authority(request) {
        found.push(KeyValue::new("server.address", cut(&host)));
        found.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
    }
    found
}

/// Whom the request is for, by its own words.
fn authority<B>(request: &Request<B>) -> Option<(String, Option<u16>)> {
    let of_uri = request.uri().authority().cloned();
    let named = || request.headers().get(HOST)?.to_str().ok()?.parse().ok();
    let authority: http::uri::Authority = of_uri.or_else(named)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let usual = match request.uri().scheme_str() {
        Some("https") => 443,
        Some(_) | None => 80,
    };
    Some((host, authority.port_u16().or(Some(usual))))
}

const OTHER_METHOD: &str = "_OTHER";

/// The method, if it is one that everybody knows: others come from strangers and have no end.
pub(crate) fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER_METHOD)
}

/// The URL without a password.
fn full(uri: &Uri) -> String {
    let text = uri.to_string();
    match (text.split_once("://"), uri.authority()) {
        (Some((scheme, rest)), Some(authority)) => match authority.as_str().rsplit_once('@') {
            Some((secret, _)) => {
                let rest = rest.strip_prefix(secret).unwrap_or(rest);
                format!("{scheme}://REDACTED:REDACTED{rest}")
            }
            None => text,
        },
        _without_authority => text,
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
