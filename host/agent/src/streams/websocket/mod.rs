//! WebSockets, as Kubernetes uses them: numbered channels, or one stream of bytes.
//!
//! `form` (pure) writes and reads messages; `session` serves numbered channels; `tunnel` makes a
//! stream of bytes of the messages.

mod form;
mod session;
mod tunnel;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

pub(crate) use form::CLOSE_CHANNEL;
pub use form::Form;
pub(crate) use session::{Wire, send, serve};
pub(crate) use tunnel::tunnel;

/// Most bytes of a message that is taken: clients send pieces of 32 KiB, some a whole file as one.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Bytes read from the connection at a time; the default of 128 KiB is much for a shell.
const READ_BYTES: usize = 16 << 10;

/// Takes up a connection on which the handshake is done.
async fn accept<S: AsyncRead + AsyncWrite + Unpin>(connection: S) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await
}
