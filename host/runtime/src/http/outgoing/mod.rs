//! Outgoing `wasi:http` requests of guests, in the pod's network namespace.
//!
//! The name is resolved and the address routed as for a socket. Where that leads to an http
//! container of this host, its handler is called without a connection in between; anywhere else a
//! connection is made and HTTP/1.1 spoken over it, or HTTP/2 for gRPC, with TLS for `https`.
//!
//! An edge: it waits for names, connections and responses.

#[cfg(feature = "wasi-p3")]
mod apart;
mod exchange;
mod lingering;
pub(crate) mod open;
mod pace;
mod target;
pub(crate) mod tls;
mod trust;
mod upload;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_telemetry::{RequestId, Span, SpanContext};
use coracle_vnet::{Reached, ResolveError, Traffic, VStream};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use self::exchange::{exchange, is_grpc};
use self::lingering::Lingering;
use self::pace::Paced;
use self::target::Target;
pub(crate) use self::tls::trust_what_the_machine_trusts;
use self::upload::Upload;
use super::HttpContainer;
use super::serve::Door;
use crate::container::Core;

/// How long resolving and connecting may take when the guest does not say.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);

/// How long the response's head may take when the guest does not say.
const FIRST_BYTE_TIME_MAX: Duration = Duration::from_secs(600);

/// A container's way out; one for each instance.
pub(crate) struct Outgoing {
    core: Arc<Core>,
    /// The span that the guest works in.
    pub(crate) within: Option<SpanContext>,
    /// The request that the guest works for: those that it sends have the same id, unless it gives another.
    pub(crate) request: Option<RequestId>,
}

impl Outgoing {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, within: None, request: None }
    }
}

/// What a request comes to.
type Sent = Result<(http::Response<WasiBody>, Work), Error>;

/// What goes on behind a response.
type Work = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Work,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let core = self.core.clone();
        let tracer = core.spec.tracer.as_ref();
        if let Some(id) = &self.request {
            id.write(request.headers_mut());
        }
        let span = tracer.map(|tracer| tracer.send(&mut request, self.within.as_ref()));
        Box::new(async move {
            let sent = send(&core, request, options.unwrap_or_default()).await;
            traced(sent, span)
        })
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        tracing::debug!(container = %self.core.spec.name, %error, "outgoing request failed");
        ErrorCode::HttpProtocolError
    }

    fn p2_error_from_connect(&mut self, error: &io::Error) -> ErrorCode {
        tracing::debug!(container = %self.core.spec.name, %error, "outgoing request not connected");
        ErrorCode::ConnectionRefused
    }

    fn p2_error_from_tls(&mut self, error: &io::Error) -> ErrorCode {
        tracing::debug!(container = %self.core.spec.name, %error, "outgoing request without TLS");
        ErrorCode::TlsProtocolError
    }
}

/// Ends the span of a request with the head of its response.
fn traced(sent: Sent, span: Option<Span>) -> Sent {
    if let Some(mut span) = span {
        match &sent {
            Ok((response, _)) => span.answered(response.status()),
            Err(_) => span.failed("no_answer"),
        }
    }
    sent
}

async fn send(core: &Arc<Core>, request: http::Request<WasiBody>, options: RequestOptions) -> Sent {
    let target = Target::of(request.uri()).ok_or(Error::HttpRequestUriInvalid)?;
    let connect = options.connect_timeout.unwrap_or(CONNECT_TIME_MAX);
    let addresses = timeout(connect, resolve(core, &target));
    let addresses = addresses.await.map_err(|_| Error::DnsTimeout)??;
    if !target.is_tls {
        let reached = timeout(connect, reach(core, &addresses));
        let (request, upload) = Upload::watch(request);
        let (sent, backend) = match reached.await.map_err(|_| Error::ConnectionTimeout)?? {
            Way::Call(http, backend) => (call((core, &http), request, options).await, backend),
            Way::Connection(stream) => {
                let backend = stream.backend();
                (exchange(stream, request, options).await, backend)
            }
        };
        if let Some(backend) = backend
            && let Some(well) = was_well(&sent, &upload, options)
        {
            core.netns.answered(backend, well);
        }
        return sent;
    }
    let stream = timeout(connect, dial(core, &addresses));
    let stream = stream.await.map_err(|_| Error::ConnectionTimeout)??;
    let trusted = trust::config(core).ok_or(Error::ConfigurationError)?;
    let grpc = is_grpc(&request);
    let stream = timeout(connect, tls::connect_by(trusted, stream, &target.host, grpc));
    exchange(stream.await.map_err(|_| Error::ConnectionTimeout)??, request, options).await
}

/// Whether a backend of a Service answered without a failure of its own. `None` where that is not known: what the
/// guest did wrong, or did not want to wait for, says nothing of the backend, neither good nor bad.
fn was_well(sent: &Sent, upload: &Upload, options: RequestOptions) -> Option<bool> {
    let failed = match sent {
        Ok((response, _)) if !response.status().is_server_error() => return Some(true),
        Ok(_) => !upload.is_broken(),
        Err(Error::Hyper(error)) => !error.is_user() && !upload.is_broken(),
        Err(Error::ConnectionReadTimeout) => {
            options.first_byte_timeout.is_none() && upload.has_ended()
        }
        Err(_) => false,
    };
    failed.then_some(false)
}

async fn resolve(core: &Core, target: &Target) -> Result<Vec<SocketAddr>, Error> {
    let ips = core.netns.resolve(&target.host).await.map_err(|error| match error {
        ResolveError::NotFound(_) => {
            Error::DnsError { rcode: Some("NXDOMAIN".to_owned()), info_code: None }
        }
        ResolveError::Refused { .. } => Error::HttpRequestDenied,
        error @ (ResolveError::Temporary { .. } | ResolveError::Invalid(_) | _) => {
            Error::DnsError { rcode: Some(error.to_string()), info_code: None }
        }
    })?;
    if ips.is_empty() {
        return Err(Error::DestinationNotFound);
    }
    Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, target.port)).collect())
}

/// How a request is sent.
enum Way {
    /// To an http container of this host, and which backend of a Service it is.
    Call(Arc<HttpContainer>, Option<SocketAddr>),
    /// Over a connection.
    Connection(VStream),
}

/// Finds the first address that answers. The backend of a Service is picked once, whichever way the
/// request then goes: requests are spread evenly over the pods of this host and of others.
async fn reach(core: &Core, addresses: &[SocketAddr]) -> Result<Way, Error> {
    let mut last = Error::DestinationNotFound;
    for address in addresses {
        let reached = match core.netns.reach(*address).await {
            Ok(reached) => reached,
            Err(error) => {
                last = connect_error(&error);
                continue;
            }
        };
        match reached {
            Reached::Stream(stream) => return Ok(Way::Connection(stream)),
            Reached::Callback(accept, at) => match accept.as_any().downcast_ref::<Door>() {
                Some(door) => return Ok(Way::Call(door.container().clone(), at)),
                // It takes connections, but is no http container.
                None => return dial(core, &[*address]).await.map(Way::Connection),
            },
        }
    }
    Err(last)
}

/// Calls a container's handler in place of a connection to it. The bodies count as if they had gone
/// over one.
async fn call(
    (core, http): (&Core, &Arc<HttpContainer>),
    request: http::Request<WasiBody>,
    options: RequestOptions,
) -> Sent {
    let (near, far) = (core.netns.traffic(), http.core.netns.traffic());
    let request = request.map(|body| counted(body, near, far).boxed_unsync());
    let first_byte = options.first_byte_timeout.unwrap_or(FIRST_BYTE_TIME_MAX);
    let response = timeout(first_byte, answer(http, request.map(Lingering::new))).await;
    let response = response.map_err(|_| Error::ConnectionReadTimeout)??;
    let response =
        response.map(|body| Paced::wrap(counted(body, far, near), options.between_bytes_timeout));
    Ok((response, Box::new(async { Ok(()) })))
}

/// Lets a container answer: within this task, unless its guest is of WASI 0.3.
async fn answer(
    http: &Arc<HttpContainer>,
    request: http::Request<Lingering>,
) -> Result<http::Response<WasiBody>, Error> {
    #[cfg(feature = "wasi-p3")]
    if http.core.spec.image.is_concurrent() {
        return apart::call(http.clone(), request).await;
    }
    Ok(http.call(request).await.map(BodyExt::boxed_unsync))
}

/// A body that counts as sent and received when a piece of it is taken.
fn counted<B>(
    body: B,
    from: &Arc<Traffic>,
    to: &Arc<Traffic>,
) -> impl Body<Data = Bytes, Error = B::Error> + Unpin + Send + 'static
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    let (from, to) = (from.clone(), to.clone());
    body.map_frame(move |frame| {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        from.send(bytes);
        to.receive(bytes);
        frame
    })
}

/// Connects to the first address that answers.
async fn dial(core: &Core, addresses: &[SocketAddr]) -> Result<VStream, Error> {
    let mut last = Error::DestinationNotFound;
    for address in addresses {
        match core.netns.connect_tcp(*address, None).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = connect_error(&error),
        }
    }
    Err(last)
}

fn connect_error(error: &io::Error) -> Error {
    use io::ErrorKind::{
        HostUnreachable, InvalidInput, NetworkUnreachable, QuotaExceeded, TimedOut,
    };
    let kind = error.kind();
    if kind == TimedOut {
        Error::ConnectionTimeout
    } else if kind == QuotaExceeded {
        Error::ConnectionLimitReached
    } else if matches!(kind, HostUnreachable | NetworkUnreachable) {
        Error::DestinationIpUnroutable
    } else if kind == InvalidInput {
        Error::DestinationIpProhibited
    } else {
        Error::ConnectionRefused
    }
}

#[cfg(test)]
mod tests;
