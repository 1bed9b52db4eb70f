//! Calls of the host with arguments that no sound program gives.
use std::io;

use wasip2::clocks::monotonic_clock::{self, subscribe_duration};
use wasip2::http::types::Fields;
use wasip2::io::poll::poll as poll_all;

pub(crate) fn random(bytes: u64) -> String {
    format!("{} bytes", wasip2::random::random::get_random_bytes(bytes).len())
}

pub(crate) fn sleep(nanos: u64) -> String {
    let before = monotonic_clock::now();
    subscribe_duration(nanos).block();
    format!("slept {}", monotonic_clock::now() - before >= nanos)
}

/// Waits for the same thing so many times at once.
pub(crate) fn poll(times: usize) -> String {
    let ready = subscribe_duration(0);
    let list: Vec<_> = std::iter::repeat_n(&ready, times).collect();
    format!("{} ready", poll_all(&list).len())
}

/// Holds timers until there is no room for one more.
pub(crate) fn pollables() -> io::Result<String> {
    let mut held = Vec::new();
    loop {
        held.push(subscribe_duration(u64::MAX));
    }
}

/// Holds header fields with values of so many bytes until there is no room for one more.
pub(crate) fn fields(bytes: usize) -> String {
    let value = vec![b'x'; bytes];
    let mut held = Vec::new();
    loop {
        let fields = Fields::new();
        if fields.append("x-bomb", &value).is_err() {
            return "refused".to_owned();
        }
        held.push(fields);
    }
}

/// Writes more zeros than there are bytes.
pub(crate) fn zeroes() -> String {
    let out = wasip2::cli::stdout::get_stdout();
    let result = out.write_zeroes(u64::MAX);
    format!("{}", result.is_ok())
}

/// Writes so many bytes without having asked whether there is room.
pub(crate) fn unasked(bytes: usize) -> String {
    let out = wasip2::cli::stdout::get_stdout();
    let result = out.write(&vec![b'x'; bytes]);
    format!("{}", result.is_ok())
}
