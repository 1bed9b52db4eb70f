//! What an answer, or none, says of a backend.

use super::*;
use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{Empty, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;

/// What a backend does with a request.
#[derive(Clone, Copy)]
enum Backend {
    Answers(u16),
    Hangs,
    HangsUp,
}

/// What follows the first piece of a request's body.
#[derive(Clone, Copy)]
enum Rest {
    Nothing,
    Pause,
    Break,
}

async fn serve(stream: tokio::io::DuplexStream, backend: Backend) {
    let service = service_fn(move |_: Request<Incoming>| async move {
        match backend {
            Backend::Answers(status) => {
                let mut response = Response::new(Empty::<Bytes>::new());
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                Ok::<_, io::Error>(response)
            }
            Backend::Hangs => std::future::pending().await,
            Backend::HangsUp => Err(io::ErrorKind::Other.into()),
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
}

fn body(rest: Rest) -> WasiBody {
    let first = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"piece")))]);
    let rest = match rest {
        Rest::Nothing => futures::stream::empty().boxed(),
        Rest::Pause => futures::stream::pending().boxed(),
        Rest::Break => futures::stream::iter([Err(Error::HttpProtocolError)]).boxed(),
    };
    StreamBody::new(first.chain(rest)).boxed_unsync()
}

/// What one request over HTTP/1.1, and one over HTTP/2, say of a backend.
async fn check(backend: Backend, rest: Rest, first_byte: Option<Duration>, wanted: Option<bool>) {
    for kind in ["text/plain", "application/grpc"] {
        let (near, far) = tokio::io::duplex(64 << 10);
        let serving = tokio::spawn(serve(far, backend));
        let request = Request::post("http://web/").header("content-type", kind).body(body(rest));
        let (request, upload) = Upload::watch(request.unwrap());
        let options =
            RequestOptions { first_byte_timeout: first_byte, ..RequestOptions::default() };
        let sent = exchange(near, request, options).await;
        assert_eq!(was_well(&sent, &upload, options), wanted, "{kind}");
        serving.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_backend_does_says_something_of_it() {
    check(Backend::Answers(200), Rest::Nothing, None, Some(true)).await;
    check(Backend::Answers(404), Rest::Nothing, None, Some(true)).await;
    check(Backend::Answers(503), Rest::Nothing, None, Some(false)).await;
    check(Backend::HangsUp, Rest::Nothing, None, Some(false)).await;
    check(Backend::Hangs, Rest::Nothing, None, Some(false)).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_guest_does_says_nothing_of_a_backend() {
    check(Backend::Hangs, Rest::Break, None, None).await;
    check(Backend::Hangs, Rest::Pause, None, None).await;
    for time in [Duration::from_nanos(1), Duration::from_secs(5)] {
        check(Backend::Hangs, Rest::Nothing, Some(time), None).await;
    }
    let (_, upload) = Upload::watch(Request::new(body(Rest::Nothing)));
    for error in [Error::ConnectionTerminated, Error::HttpRequestDenied] {
        assert_eq!(was_well(&Err(error), &upload, RequestOptions::default()), None);
    }
}
