//! Guests' output, as CRI log files.
//!
//! Bytes of stdout and stderr come in, lines with a time, a stream and a tag go out to a file that
//! is rotated. A slow disk makes the guest wait, and nothing else: lines queue up to a bound, and a
//! guest's write is not ready while the queue is full. An idle log holds no descriptor and no task.
//! Where a collector wants them, lines go there too, and are dropped rather than waited for. Lines that were written for
//! a request go to whoever keeps such ([`crate::LogSpec::request_lines`]) with its id, which files do not have.

mod cri;
mod file;
mod queue;
mod ship;
mod stream;
mod tags;

pub(crate) use cri::Output;
pub(crate) use queue::{Log, Sink};
pub(crate) use ship::{Shipper, Within, ship_written};
pub(crate) use stream::LogStream;
