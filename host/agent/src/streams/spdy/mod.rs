//! SPDY/3.1, which older clients speak for every stream, and the newest still for port-forward.
//!
//! `dictionary`, `block` and `frame` are the wire format, pure; `session` serves one connection.

mod block;
mod dictionary;
mod frame;
mod session;

pub use block::{BLOCK_BYTES_MAX, BlockReader, BlockWriter, Headers};
pub use frame::{Codec, FRAME_BYTES_MAX, Frame, FrameError, ResetCode};
pub(crate) use session::{Opened, serve};
