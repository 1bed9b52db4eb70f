//! Socket options: kept and given back. Nothing in memory needs keep-alive or hop limits, and a
//! pipe has one size.

use coracle_vnet::PIPE_BYTES_MAX;
use std::io;

const SECOND_NANOS: u64 = 1_000_000_000;

/// The options of one socket, with Linux's defaults. Durations in nanoseconds, sizes in bytes.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) keep_alive: bool,
    pub(super) keep_alive_idle: u64,
    pub(super) keep_alive_interval: u64,
    pub(super) keep_alive_count: u32,
    pub(super) hop_limit: u8,
    pub(super) receive_buffer: u64,
    pub(super) send_buffer: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            keep_alive: false,
            keep_alive_idle: 7200 * SECOND_NANOS,
            keep_alive_interval: 75 * SECOND_NANOS,
            keep_alive_count: 9,
            hop_limit: 64,
            receive_buffer: PIPE_BYTES_MAX as u64,
            send_buffer: PIPE_BYTES_MAX as u64,
        }
    }
}

/// Sets a number that must not be 0.
pub(super) fn set<T: Default + PartialEq>(target: &mut T, value: T) -> io::Result<()> {
    if value == T::default() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    *target = value;
    Ok(())
}
