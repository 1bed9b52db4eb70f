//! A connection to one member of etcd: calls with one answer, and the stream of a watch.
//!
//! An edge: it connects, and waits for answers.

use super::config::{Endpoint, EtcdConfig};
use super::error::CallError;
use super::frame;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::StreamExt as _;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use rustls::pki_types::ServerName;
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a member may take to connect: it is near, and there are others.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);
/// How often a quiet connection is asked whether it lives. etcd ends connections that ask more often than each 5 s.
const PING_EVERY: Duration = Duration::from_secs(6);
/// How long that answer may take.
const PING_TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes of answers that may be under way: pages of objects.
const WINDOW_BYTES: u32 = 4 << 20;

const TOKEN: HeaderName = HeaderName::from_static("token");
const HAS_LEADER: HeaderName = HeaderName::from_static("hasleader");

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A connection; dropped, it is closed.
pub(super) struct Channel {
    sender: http2::SendRequest<Body>,
    endpoint: Endpoint,
    scheme: &'static str,
    driver: JoinHandle<()>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Channel {
    /// Connects to a member.
    pub(super) async fn connect(
        config: &EtcdConfig,
        endpoint: &Endpoint,
    ) -> Result<Channel, CallError> {
        let failed = |what: String| CallError::Unconnected { endpoint: endpoint.to_string(), what };
        let connecting = timeout(CONNECT_TIME_MAX, Channel::open(config, endpoint)).await;
        connecting.map_err(|_| failed("it does not answer".to_owned()))?.map_err(failed)
    }

    async fn open(config: &EtcdConfig, endpoint: &Endpoint) -> Result<Channel, String> {
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        // Small messages that somebody waits for.
        let _slower = stream.set_nodelay(true);
        let (sender, driver, scheme) = match &config.tls {
            None => {
                let (sender, driver) = handshake(stream).await?;
                (sender, driver, "http")
            }
            Some(tls) => {
                let name = ServerName::try_from(endpoint.host.clone());
                let name = name.map_err(|error| error.to_string())?;
                let connector = tokio_rustls::TlsConnector::from(tls.clone());
                let stream = connector.connect(name, stream).await;
                let (sender, driver) =
                    handshake(stream.map_err(|error| error.to_string())?).await?;
                (sender, driver, "https")
            }
        };
        Ok(Channel { sender, endpoint: endpoint.clone(), scheme, driver })
    }

    /// Asks for one answer.
    pub(super) async fn call<A: Message, B: Message + Default>(
        &self,
        method: &str,
        token: Option<&str>,
        question: &A,
        time: Duration,
    ) -> Result<B, CallError> {
        let body = Full::new(frame::framed(question)).boxed_unsync();
        let answered = timeout(time, async {
            let answer = self.send(method, token, body).await?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, frame::MESSAGE_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.broken(error.as_ref()))?;
            frame::status(body.trailers().unwrap_or(&parts.headers))?;
            frame::next(&mut BytesMut::from(body.to_bytes()))?
                .ok_or_else(|| CallError::Nonsense("an empty answer".to_owned()))
        });
        let silent = |_| CallError::Silent { endpoint: self.endpoint.to_string() };
        answered.await.map_err(silent)?
    }

    /// Begins a call that goes on: one question, and answers until it ends.
    pub(super) async fn stream<A: Message>(
        &self,
        method: &str,
        token: Option<&str>,
        question: &A,
        time: Duration,
    ) -> Result<Answers, CallError> {
        // The question's side stays open: etcd would end the stream with it.
        let question = Ok(Frame::data(frame::framed(question)));
        let open = futures::stream::once(std::future::ready(question));
        let body = StreamBody::new(open.chain(futures::stream::pending())).boxed_unsync();
        let silent = |_| CallError::Silent { endpoint: self.endpoint.to_string() };
        let answer = timeout(time, self.send(method, token, body)).await.map_err(silent)??;
        if answer.headers().contains_key("grpc-status") {
            frame::status(answer.headers())?;
        }
        let endpoint = self.endpoint.to_string();
        Ok(Answers { body: answer.into_body(), come: BytesMut::new(), endpoint })
    }

    async fn send(
        &self,
        method: &str,
        token: Option<&str>,
        body: Body,
    ) -> Result<Response<Incoming>, CallError> {
        let uri = format!("{}://{}/etcdserverpb.{method}", self.scheme, self.endpoint);
        let nonsense = |error: http::Error| CallError::Nonsense(error.to_string());
        let mut request = Request::post(uri).body(body).map_err(nonsense)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        // A member without a leader says so in place of being silent.
        headers.insert(HAS_LEADER, HeaderValue::from_static("true"));
        if let Some(token) = token.and_then(|token| HeaderValue::from_str(token).ok()) {
            headers.insert(TOKEN, token);
        }
        let answer = self.sender.clone().send_request(request).await;
        let answer = answer.map_err(|error| self.broken(&error))?;
        if answer.status() != http::StatusCode::OK {
            return Err(CallError::Nonsense(format!("HTTP status {}", answer.status())));
        }
        Ok(answer)
    }

    fn broken(&self, error: &dyn std::error::Error) -> CallError {
        let what = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        CallError::Broken { endpoint: self.endpoint.to_string(), what }
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(http2::SendRequest<Body>, JoinHandle<()>), String> {
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIME_MAX)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = handshake.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(async move {
        // Whoever waits for an answer is told why there is none.
        let _ended = connection.await;
    });
    Ok((sender, driver))
}

/// The answers of a stream.
pub(super) struct Answers {
    body: Incoming,
    come: BytesMut,
    endpoint: String,
}

impl Answers {
    /// The next answer. Cancel safe.
    pub(super) async fn next<M: Message + Default>(&mut self) -> Result<M, CallError> {
        let broken = |what: String| CallError::Broken { endpoint: self.endpoint.clone(), what };
        loop {
            if let Some(message) = frame::next(&mut self.come)? {
                return Ok(message);
            }
            let Some(frame) = self.body.frame().await else {
                return Err(broken("it ended".to_owned()));
            };
            let frame = frame.map_err(|error| broken(error.to_string()))?;
            if let Some(trailers) = frame.trailers_ref() {
                frame::status(trailers)?;
                return Err(broken("it ended".to_owned()));
            }
            if let Some(data) = frame.data_ref() {
                self.come.put_slice(data);
            }
        }
    }
}
