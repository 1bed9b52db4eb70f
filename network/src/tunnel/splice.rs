//! Copies between a stream of the tunnel and one of the fabric.

use coracle_vnet::VStream;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

/// Bytes that are moved at a time, in each direction: a few TLS records.
const BUFFER_BYTES: usize = 64 * 1024;

/// Copies in both directions until both are at their end or one is cut; a cut is passed on as one.
pub(super) async fn splice(upgraded: Upgraded, mut stream: VStream) {
    let mut io = TokioIo::new(upgraded);
    let copied =
        tokio::io::copy_bidirectional_with_sizes(&mut io, &mut stream, BUFFER_BYTES, BUFFER_BYTES);
    if let Err(error) = copied.await {
        tracing::trace!(%error, "a stream of the tunnel was cut");
        stream.reset();
    }
}
