//! Outgoing requests of guests.
use std::sync::Arc;

use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::container::Core;

pub(crate) struct Outgoing {
    core: Arc<Core>,
}

impl Outgoing {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}
type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _fut: Io,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send> {
        let _ = &self.core;
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
