//! Listens on the agent's socket.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::routes::answer;
use crate::effects::Shared;
use crate::run::AgentError;

/// Connections at once; the API server uses one for each log that is followed, and for each stream.
const CONNECTIONS_MAX: usize = 1024;

/// The place of a connection among [`CONNECTIONS_MAX`], in the extensions of each request: a stream
/// keeps it after hyper has let go of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Slot(
    #[expect(dead_code, reason = "held for its drop")] Arc<OwnedSemaphorePermit>,
);

/// Binds the socket and serves until `end` is cancelled.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) async fn listen(
    shared: Arc<Shared>,
    end: CancellationToken,
) -> Result<JoinHandle<()>, AgentError> {
    let path = shared.config.socket();
    let failed = |source| AgentError::Io { what: "listen on socket", path: path.clone(), source };
    // What an agent that was killed has left; whoever runs has the lock of the data directory.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(failed)?;
    let owner_only = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, owner_only).map_err(failed)?;
    Ok(tokio::spawn(async move {
        tokio::select! {
            () = end.cancelled() => {}
            () = accept(shared, listener) => {}
        }
    }))
}

async fn accept(shared: Arc<Shared>, listener: UnixListener) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(serve(shared, stream, Slot(Arc::new(slot))));
            }
            Err(error) => tracing::warn!(%error, "cannot accept on the agent's socket"),
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: UnixStream, slot: Slot) {
    let service = service_fn(move |mut request| {
        let shared = shared.clone();
        request.extensions_mut().insert(slot.clone());
        async move { Ok::<_, Infallible>(answer(shared, request).await) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.with_upgrades().await {
        tracing::debug!(%error, "connection to the agent's socket ended");
    }
}
