//! Ports for the processes of tests.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that systems give to outgoing connections, any of which may take one in between, and
/// below the node ports of the tests' clusters.
const FIRST: u32 = 11_000;
const COUNT: u32 = 18_000;

/// Gives a port that nobody has, on loopback or any other address, for TCP or UDP; and gives it once in
/// this process. Processes of parallel tests begin at different places.
///
/// # Panics
/// When no port is free.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(7919) % COUNT;
    for _ in 0..COUNT {
        let offset = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let Ok(port) = u16::try_from(FIRST + offset) else { continue };
        let address = ("0.0.0.0", port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
    panic!("no port is free between {FIRST} and {}", FIRST + COUNT);
}
