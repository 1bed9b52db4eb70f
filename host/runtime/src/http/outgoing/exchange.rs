//! One request and its response over a connection of their own: HTTP/1.1, or HTTP/2 for gRPC, whose
//! status comes in the trailers after the body.
//!
//! An edge: it waits for the other end.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST, HeaderValue, TE};
use http::{Request, Response, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::lingering::Lingering;
use super::pace::Paced;
use super::{FIRST_BYTE_TIME_MAX, Sent};

/// Says whether a request is a gRPC call, by the type of its body.
///
/// *Source:* gRPC over HTTP/2, Requests: `application/grpc`, then nothing, `+` or `;`.
pub(super) fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let rest = kind.and_then(|kind| kind.strip_prefix("application/grpc"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// Sends a request over `stream`.
pub(super) async fn exchange<I>(
    stream: I,
    request: Request<WasiBody>,
    options: RequestOptions,
) -> Sent
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if is_grpc(&request) {
        over_http2(stream, request, options).await
    } else {
        over_http1(stream, request, options).await
    }
}

async fn over_http1<I>(stream: I, mut request: Request<WasiBody>, options: RequestOptions) -> Sent
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    origin_form(&mut request)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(Error::Hyper)?;
    let connection = wasmtime_wasi::runtime::spawn(connection);
    let response = sender.send_request(request.map(Lingering::new));
    let response = first_byte(response, options).await?;
    let work = async move { connection.await.map_err(Error::Hyper) };
    Ok((paced(response, options), Box::new(work)))
}

async fn over_http2<I>(stream: I, mut request: Request<WasiBody>, options: RequestOptions) -> Sent
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The URI says whom it is for; a gRPC server wants to hear that trailers are read.
    request.headers_mut().remove(HOST);
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    *request.version_mut() = Version::HTTP_2;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(Error::Hyper)?;
    let connection = wasmtime_wasi::runtime::spawn(connection);
    let response = sender.send_request(request.map(Lingering::new));
    let response = first_byte(response, options).await?;
    let work = async move { connection.await.map_err(Error::Hyper) };
    Ok((paced(response, options), Box::new(work)))
}

/// Waits for the response's head as long as the guest wants to.
async fn first_byte(
    response: impl Future<Output = hyper::Result<Response<Incoming>>>,
    options: RequestOptions,
) -> Result<Response<Incoming>, Error> {
    let time_max: Duration = options.first_byte_timeout.unwrap_or(FIRST_BYTE_TIME_MAX);
    let response = timeout(time_max, response).await;
    response.map_err(|_| Error::ConnectionReadTimeout)?.map_err(Error::Hyper)
}

fn paced(response: Response<Incoming>, options: RequestOptions) -> Response<WasiBody> {
    response.map(|body| Paced::wrap(body.map_err(Error::Hyper), options.between_bytes_timeout))
}

/// Leaves of the URI what HTTP/1.1 sends to an origin server.
///
/// *Source:* RFC 9112 §3.2.1.
fn origin_form(request: &mut Request<WasiBody>) -> Result<(), Error> {
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let uri: Uri = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_known_by_the_type_of_its_body() {
        let check = |kind: &str, want: bool| {
            let request = Request::post("/").header(CONTENT_TYPE, kind).body(()).unwrap();
            assert_eq!(is_grpc(&request), want, "{kind}");
        };
        check("application/grpc", true);
        check("application/grpc+proto", true);
        check("application/grpc;charset=utf-8", true);
        check("application/grpc-web", false);
        check("application/json", false);
        assert!(!is_grpc(&Request::new(())));
    }
}
