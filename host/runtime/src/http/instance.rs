//! One instance, and one request on it.
//!
//! An edge: it awaits the guest.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use parking_lot::Mutex;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

use crate::container::Core;
use crate::image::Pre;
use crate::store::{self, Store};

/// Where the guest leaves its response. Filled during a poll of the guest, by the same task that
/// looks into it afterwards, so that nobody need be woken.
pub(super) type Slot = Arc<Mutex<Option<Result<http::Response<WasiBody>, ErrorCode>>>>;

/// A guest in memory.
pub(super) struct Instance {
    pub(super) store: Store,
    proxy: Proxy,
    /// Requests that it has begun.
    pub(super) requests: u32,
}

impl Instance {
    /// Makes a fresh one.
    pub(super) async fn make(core: &Arc<Core>) -> wasmtime::Result<Self> {
        let Pre::Http(pre) = core.pre() else {
            return Err(wasmtime::Error::msg("not an http component"));
        };
        let mut store = store::store(core);
        let proxy = pre.instantiate_async(&mut store).await?;
        Ok(Self { store, proxy, requests: 0 })
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
        let mut view = self.store.data_mut().http();
        let request = view.new_incoming_request(Scheme::Http, request)?;
        let filled = slot.clone();
        let out = view.new_response_outparam_from_callback(move |response| {
            *filled.lock() = Some(response);
        })?;
        self.proxy.wasi_http_incoming_handler().call_handle(&mut self.store, request, out).await
    }

    /// The memory limit that it was refused memory for, in bytes.
    pub(super) fn refused_at_bytes(&self) -> Option<u64> {
        self.store.data().memory.refused_at_bytes()
    }
}
