//! A connection of a pod's for a protocol that the host speaks on its behalf, such as that of a store.
//!
//! It goes where the pod's own would, by the same names, grants and policies, and TLS trusts whom the
//! container trusts.
//!
//! An edge: it waits for names and connections.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::target::Target;
use super::{dial, resolve, tls, trust};
use crate::container::Core;

/// Time for the name, the connection and the handshake together.
const OPEN_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Connects to a port of a host, secured if `is_tls`.
///
/// # Errors
/// In words: which step failed. Cancel safe.
pub(crate) async fn open(
    core: &Core,
    host: &str,
    port: u16,
    is_tls: bool,
) -> Result<Box<dyn Duplex>, String> {
    let target = Target { host: host.to_owned(), port, is_tls };
    let opening = timeout(OPEN_TIME_MAX, connect(core, &target)).await;
    opening.unwrap_or_else(|_| Err(format!("no answer within {} s", OPEN_TIME_MAX.as_secs())))
}

async fn connect(core: &Core, target: &Target) -> Result<Box<dyn Duplex>, String> {
    let said = |error: wasmtime_wasi_http::Error| format!("{error:?}");
    let addresses = resolve(core, target).await.map_err(said)?;
    let stream = dial(core, &addresses).await.map_err(said)?;
    if !target.is_tls {
        return Ok(Box::new(stream));
    }
    let trusted = trust::config(core).ok_or("this machine has no CA certificates")?;
    let secured = tls::connect_by(trusted, stream, &target.host, false).await.map_err(said)?;
    Ok(Box::new(secured))
}
