//! Clients that look at what a container's guests write.
//!
//! An edge: a guest waits for clients that read slowly, for a bounded time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coracle_vnet::{PIPE_BYTES_MAX, VStream};
use parking_lot::Mutex;

use super::{pipe, terminal};
use crate::exec::ATTACHED_MAX;
use crate::logs::Output;

/// How long a client may take nothing while a guest waits for it, before it is cut off.
pub const STALL_MAX: Duration = Duration::from_secs(10);

/// The clients of one container.
pub(crate) struct Taps {
    /// Nothing is attached: the usual case costs one look.
    is_empty: AtomicBool,
    tty: bool,
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    stdout: Vec<Arc<VStream>>,
    stderr: Vec<Arc<VStream>>,
    ended: bool,
}

impl Clients {
    fn of(&mut self, output: Output) -> &mut Vec<Arc<VStream>> {
        match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }
}

impl Taps {
    pub(crate) fn new(tty: bool) -> Arc<Self> {
        let is_empty = AtomicBool::new(true);
        Arc::new(Self { is_empty, tty, clients: Mutex::default() })
    }

    /// Says whether the container has a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.tty
    }

    /// Attaches a client: its stdout, then its stderr. `None` when there are too many. At a
    /// terminal stderr comes with stdout, and the second one ends at once.
    pub(crate) fn attach(&self) -> Option<(VStream, VStream)> {
        let ((out, stdout), (err, stderr)) = (pipe(), pipe());
        let mut clients = self.clients.lock();
        clients.stdout.retain(is_read);
        clients.stderr.retain(is_read);
        if clients.stdout.len() >= ATTACHED_MAX {
            return None;
        }
        if !clients.ended {
            clients.stdout.push(Arc::new(out));
            if !self.tty {
                clients.stderr.push(Arc::new(err));
            }
            self.is_empty.store(false, Ordering::Release);
        }
        Some((stdout, stderr))
    }

    /// Gives every client what a guest wrote.
    pub(crate) fn put(&self, output: Output, bytes: &[u8]) {
        if self.is_empty.load(Ordering::Acquire) {
            return;
        }
        let bytes = if self.tty { terminal::shown(bytes) } else { Bytes::copy_from_slice(bytes) };
        let mut clients = self.clients.lock();
        clients.of(self.side(output)).retain(|client| client.write(bytes.clone()).is_ok());
        let is_empty = clients.stdout.is_empty() && clients.stderr.is_empty();
        self.is_empty.store(is_empty, Ordering::Release);
    }

    /// Shows all clients of a terminal what one of them types; one that has no room for it does not see it.
    pub(crate) fn echo(&self, bytes: &Bytes) {
        let clients = self.clients.lock();
        for client in &clients.stdout {
            if !bytes.is_empty() && client.room().is_ok_and(|room| room >= bytes.len()) {
                // One that is gone is forgotten with the guest's next output.
                let _ = client.write(bytes.clone());
            }
        }
    }

    /// Bytes that every client has room for.
    pub(crate) fn room(&self, output: Output) -> usize {
        if self.is_empty.load(Ordering::Acquire) {
            return PIPE_BYTES_MAX;
        }
        let mut clients = self.clients.lock();
        let rooms = clients.of(self.side(output)).iter().filter_map(|client| client.room().ok());
        rooms.min().unwrap_or(PIPE_BYTES_MAX)
    }

    /// Resolves when every client has room; those that take nothing for [`STALL_MAX`] are cut off.
    pub(crate) async fn ready(&self, output: Output) {
        if self.is_empty.load(Ordering::Acquire) {
            return;
        }
        let clients = self.clients.lock().of(self.side(output)).clone();
        for client in clients {
            let room = std::future::poll_fn(|cx| client.poll_writable(cx));
            if tokio::time::timeout(STALL_MAX, room).await.is_err() {
                client.reset();
            }
        }
    }

    /// The container has ended: so do its clients' streams.
    pub(crate) fn end(&self) {
        let mut clients = self.clients.lock();
        clients.ended = true;
        clients.stdout.clear();
        clients.stderr.clear();
        self.is_empty.store(true, Ordering::Release);
    }

    fn side(&self, output: Output) -> Output {
        if self.tty { Output::Stdout } else { output }
    }
}

/// Whether anybody still reads from the pipe.
fn is_read(client: &Arc<VStream>) -> bool {
    client.room().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(client: &VStream) -> String {
        let bytes = client.try_read(100).unwrap().unwrap_or_default();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn all_clients_hear_all_and_the_gone_are_forgotten() {
        let taps = Taps::new(false);
        taps.put(Output::Stdout, b"nobody");
        let (first, first_errors) = taps.attach().unwrap();
        let (second, _) = taps.attach().unwrap();
        taps.put(Output::Stdout, b"one");
        drop(second);
        taps.put(Output::Stdout, b"two");
        taps.put(Output::Stderr, b"bad");
        assert_eq!((read(&first), read(&first_errors)), ("onetwo".into(), "bad".into()));
        taps.end();
        assert_eq!(first.try_read(1).unwrap(), Some(Bytes::new()));
    }

    #[test]
    fn one_client_too_many_is_refused_and_a_gone_one_makes_room() {
        let taps = Taps::new(false);
        let mut clients: Vec<_> = (0..ATTACHED_MAX).map(|_| taps.attach().unwrap()).collect();
        assert!(taps.attach().is_none());
        clients.pop();
        assert!(taps.attach().is_some());
    }

    #[test]
    fn a_terminal_has_one_output() {
        let taps = Taps::new(true);
        let (out, errors) = taps.attach().unwrap();
        taps.put(Output::Stderr, b"bad\n");
        assert_eq!(read(&out), "bad\r\n");
        assert_eq!(errors.try_read(1).unwrap(), Some(Bytes::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_cut_off() {
        let taps = Taps::new(false);
        let (stuck, _) = taps.attach().unwrap();
        taps.put(Output::Stdout, &vec![b'x'; PIPE_BYTES_MAX]);
        assert_eq!(taps.room(Output::Stdout), 0);
        taps.ready(Output::Stdout).await;
        assert_eq!(taps.room(Output::Stdout), PIPE_BYTES_MAX);
        drop(stuck);
    }
}
