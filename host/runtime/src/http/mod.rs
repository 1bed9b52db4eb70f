//! http containers: requests in, instances made for them, responses out.
pub(crate) mod outgoing;

use std::sync::Arc;
use std::time::Duration;

use crate::container::Core;
use crate::sandbox::StartError;

/// At most one fault of a container is told in this time.
pub const FAULT_INTERVAL: Duration = Duration::from_secs(10);

/// Requests that a pooled instance serves before a fresh one takes its place.
pub const POOLED_REQUESTS_MAX: u32 = 1000;

pub(crate) struct HttpContainer {
    core: Arc<Core>,
}
impl HttpContainer {
    pub(crate) fn stop(&self) {
        let _ = &self.core;
    }
}
pub(crate) async fn start(core: Arc<Core>) -> Result<Arc<HttpContainer>, StartError> {
    Ok(Arc::new(HttpContainer { core }))
}
