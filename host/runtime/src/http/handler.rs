//! One request on an instance of `wasi:http/handler`, WASI 0.3.
//!
//! An edge: it awaits the guest.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Uri;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use wasmtime_wasi_http::p3::Request;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

use super::instance::Slot;
use crate::store::Store;

/// Gives a guest a request; the response goes into `slot`. Returns when the response has been read
/// or given up, and nothing that the guest began is still on its way.
pub(super) async fn serve<B>(
    service: &Service,
    store: &mut Store,
    request: http::Request<B>,
    slot: &Slot,
) -> wasmtime::Result<()>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Error>,
{
    let request = absolute(request);
    let (request, taken) = Request::from_http(store.data_mut().http().hooks, request);
    let served = store.run_concurrent(async |accessor| {
        let response = match service.handle(accessor, request).await? {
            Ok(response) => response,
            Err(code) => {
                *slot.lock() = Some(Err(format!("{code:?}")));
                return Ok(());
            }
        };
        let response = accessor.with(|mut access| response.into_http(&mut access, taken))?;
        let (guard, over) = oneshot::channel::<()>();
        *slot.lock() = Some(Ok(response.map(|body| Watched::wrap(body, guard))));
        // Whatever feeds the body lives in this store, and moves only while this waits. Nothing is
        // ever sent: the other end goes away.
        let _ = over.await;
        poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
        Ok(())
    });
    served.await?
}

/// Puts the authority into the URI, where 0.3 looks for it.
fn absolute<B>(mut request: http::Request<B>) -> http::Request<B> {
    let mut parts = request.uri().clone().into_parts();
    if parts.authority.is_none() {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        parts.authority = host.and_then(|host| Authority::try_from(host).ok());
    }
    if parts.authority.is_some() {
        parts.scheme = parts.scheme.or(Some(Scheme::HTTP));
        parts.path_and_query =
            parts.path_and_query.or_else(|| Some(PathAndQuery::from_static("/")));
    }
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// A body that lets go of its guard when it has ended or is dropped.
struct Watched {
    body: WasiBody,
    guard: Option<oneshot::Sender<()>>,
}

impl Watched {
    fn wrap(body: WasiBody, guard: oneshot::Sender<()>) -> WasiBody {
        Self { body, guard: Some(guard) }.boxed_unsync()
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.guard = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
