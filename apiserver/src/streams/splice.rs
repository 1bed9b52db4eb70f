//! Joins two connections, byte for byte.
//!
//! An edge: it copies until both are done.

use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};

/// Bytes that are moved at a time, in each direction.
const BUFFER_BYTES: usize = 32 << 10;

/// How long a client has to close its connection after the node has closed the other one. To close
/// at once would take away what the client has not read yet.
const LINGER_MAX: Duration = Duration::from_secs(10);

/// Copies in both directions. Half-closing is passed on; after the node's end the client has
/// [`LINGER_MAX`] to end as well.
pub(super) async fn join(client: TokioIo<Upgraded>, node: TokioIo<Upgraded>) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_node, to_node) = tokio::io::split(node);
    let up = copy(from_client, to_node);
    let down = copy(from_node, to_client);
    tokio::pin!(up, down);
    tokio::select! {
        () = &mut down => {
            let _elapsed = tokio::time::timeout(LINGER_MAX, up).await;
        }
        () = &mut up => down.await,
    }
}

/// Copies to the end of `from`, or until either breaks off, and then closes `to`.
async fn copy(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut from = BufReader::with_capacity(BUFFER_BYTES, from);
    // Whoever is at the other end learns of a break by the end.
    let _broken = tokio::io::copy_buf(&mut from, &mut to).await;
    let _gone = to.shutdown().await;
}
