//! A collector of spans, metrics and logs, for tests: it speaks OTLP over HTTP and decodes what comes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// `SPAN_KIND_SERVER` of OTLP.
pub const SERVER: i32 = 2;
/// `SPAN_KIND_CLIENT` of OTLP.
pub const CLIENT: i32 = 3;

/// How long a test waits for a span that has to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A span, and whose it is.
#[derive(Clone, Debug)]
pub struct Received {
    /// Attributes of the resource.
    pub resource: Vec<KeyValue>,
    /// The span.
    pub span: Span,
}

/// A collector that listens on this machine.
pub struct Collector {
    /// Its address, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    received: mpsc::UnboundedReceiver<Received>,
    messages: mpsc::UnboundedReceiver<Message>,
    kept: Vec<Message>,
}

/// A message in JSON, and the path that it came to.
type Message = (String, serde_json::Value);

/// Where what comes is put.
#[derive(Clone)]
struct Senders {
    spans: mpsc::UnboundedSender<Received>,
    messages: mpsc::UnboundedSender<Message>,
}

impl Collector {
    /// Begins to listen, on a port of the system's choice.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (spans, received) = mpsc::unbounded_channel();
        let (sender, messages) = mpsc::unbounded_channel();
        let senders = Senders { spans, messages: sender };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, senders.clone()));
            }
        });
        Self { endpoint, received, messages, kept: Vec::new() }
    }

    /// Waits for the next span.
    pub async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        next.unwrap_or_else(|_| panic!("no span came in {PATIENCE:?}")).unwrap()
    }

    /// Waits for the next span that is wanted; others are thrown away.
    pub async fn find(&mut self, wanted: impl Fn(&Received) -> bool) -> Received {
        loop {
            let next = self.next().await;
            if wanted(&next) {
                return next;
            }
        }
    }

    /// The messages in JSON that have come to a path and were not taken.
    pub fn messages(&mut self, path: &str) -> Vec<serde_json::Value> {
        while let Ok(message) = self.messages.try_recv() {
            self.kept.push(message);
        }
        let of_path = self.kept.extract_if(.., |(to, _)| to == path);
        of_path.map(|(_, message)| message).collect()
    }

    /// What has come and was not taken.
    pub fn rest(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.received.try_recv().ok()).collect()
    }
}

async fn serve(stream: TcpStream, senders: Senders) {
    let service = service_fn(move |request: Request<Incoming>| {
        let Senders { spans: sender, messages } = senders.clone();
        async move {
            let path = request.uri().path().to_owned();
            if path != "/v1/traces" {
                assert!(["/v1/logs", "/v1/metrics"].contains(&path.as_str()), "{path}");
                assert_eq!(request.headers()["content-type"], "application/json");
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let message = serde_json::from_slice(&body).unwrap();
                let _test_is_over = messages.send((path, message));
                return Ok(Response::new(Full::new(Bytes::new())));
            }
            assert_eq!(request.headers()["content-type"], "application/x-protobuf");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let got = ExportTraceServiceRequest::decode(body).unwrap();
            for of_resource in got.resource_spans {
                let resource = of_resource.resource.unwrap_or_default().attributes;
                for span in of_resource.scope_spans.into_iter().flat_map(|s| s.spans) {
                    let _test_is_over = sender.send(Received { resource: resource.clone(), span });
                }
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _client_went = connection.await;
}

impl Received {
    /// An attribute of the span as text; empty when there is none.
    #[must_use]
    pub fn attribute(&self, key: &str) -> String {
        text(&self.span.attributes, key)
    }

    /// An attribute of the resource as text; empty when there is none.
    #[must_use]
    pub fn of_resource(&self, key: &str) -> String {
        text(&self.resource, key)
    }

    /// The trace, in hexadecimal.
    #[must_use]
    pub fn trace(&self) -> String {
        hex(&self.span.trace_id)
    }

    /// The span's own id, in hexadecimal.
    #[must_use]
    pub fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// The id of the span above; empty when there is none.
    #[must_use]
    pub fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|pair| pair.key == key);
    match found.and_then(|pair| pair.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}
