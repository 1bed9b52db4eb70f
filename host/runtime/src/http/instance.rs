//! One instance, and one request on it.
//!
//! An edge: it awaits the guest.

use std::sync::Arc;

use bytes::Bytes;
use coracle_telemetry::{RequestId, SpanContext};
use http_body::Body;
use parking_lot::Mutex;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

use crate::container::Core;
use crate::image::Pre;
use crate::store::{self, Store};

/// Where the guest leaves its response. Filled during a poll of the guest, by the same task that
/// looks into it afterwards, so that nobody need be woken. An error is the guest's own word for it.
pub(super) type Slot = Arc<Mutex<Option<Result<http::Response<WasiBody>, String>>>>;

/// How requests are handed over.
enum Guest {
    P2(Proxy),
    #[cfg(feature = "wasi-p3")]
    P3(wasmtime_wasi_http::p3::bindings::Service),
}

/// A guest in memory.
pub(super) struct Instance {
    pub(super) store: Store,
    guest: Guest,
    /// Requests that it has begun.
    pub(super) requests: u32,
}

impl Instance {
    /// Makes a fresh one.
    pub(super) async fn make(core: &Arc<Core>) -> wasmtime::Result<Self> {
        let mut store = store::store(core);
        let guest = match core.pre() {
            Pre::Http(pre) => Guest::P2(pre.instantiate_async(&mut store).await?),
            #[cfg(feature = "wasi-p3")]
            Pre::HttpP3(pre) => Guest::P3(pre.instantiate_async(&mut store).await?),
            Pre::Command(_) | Pre::Library(_) => return Err(wasmtime::Error::msg(NOT_HTTP)),
            #[cfg(feature = "wasi-p3")]
            Pre::CommandP3(_) => return Err(wasmtime::Error::msg(NOT_HTTP)),
        };
        Ok(Self { store, guest, requests: 0 })
    }

    /// Gives it a request; the response goes into `slot` before this returns, and its body may
    /// follow for as long as this runs.
    pub(super) async fn serve<B>(
        &mut self,
        request: http::Request<B>,
        slot: &Slot,
    ) -> wasmtime::Result<()>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Error>,
    {
        self.requests += 1;
        let span = request.extensions().get::<SpanContext>().cloned();
        let id = request.extensions().get::<RequestId>().cloned();
        self.store.data_mut().works_within(span, id);
        let Self { store, guest, .. } = self;
        match guest {
            Guest::P2(proxy) => handle(proxy, store, request, slot).await,
            #[cfg(feature = "wasi-p3")]
            Guest::P3(service) => super::handler::serve(service, store, request, slot).await,
        }
    }

    /// The memory limit that it was refused memory for, in bytes.
    pub(super) fn refused_at_bytes(&self) -> Option<u64> {
        self.store.data().memory.refused_at_bytes()
    }
}

/// Why there is no instance of another kind of component.
const NOT_HTTP: &str = "not an http component";

/// Gives a guest of WASI 0.2 a request.
async fn handle<B>(
    proxy: &Proxy,
    store: &mut Store,
    request: http::Request<B>,
    slot: &Slot,
) -> wasmtime::Result<()>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Error>,
{
    let mut view = store.data_mut().http();
    let request = view.new_incoming_request(Scheme::Http, request)?;
    let filled = slot.clone();
    let out = view.new_response_outparam_from_callback(move |response| {
        *filled.lock() = Some(response.map_err(|code| format!("{code:?}")));
    })?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
}
