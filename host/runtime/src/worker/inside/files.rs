//! Calls on files, which the host carries out: over a socket of their own, one at a time, because
//! the guest's thread waits for them.
//!
//! An edge: it blocks.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::mounts::{Answer, Ask, Lender};
use crate::worker::link::{self, PACKET_BYTES_MAX, Packet};
use crate::worker::wire::FileCall;

/// The socket for calls on files.
pub(super) struct FileSocket(Mutex<OwnedFd>);

impl FileSocket {
    pub(super) fn new(socket: OwnedFd) -> Arc<Self> {
        Arc::new(Self(Mutex::new(socket)))
    }

    fn call(&self, call: &FileCall) -> std::io::Result<(Answer, Option<File>)> {
        let bytes = serde_json::to_vec(call)?;
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let (length, files) = {
            let socket = self.0.lock();
            link::send(&*socket, &Packet { bytes, files: Vec::new() })?;
            link::receive(&*socket, &mut buffer)?
        };
        let mut files = files.into_iter().map(File::from);
        // A packet of one byte: the answer was too large and is in the file.
        if length == 1 {
            let mut text = Vec::new();
            if let Some(mut file) = files.next() {
                file.read_to_end(&mut text)?;
            }
            return Ok((serde_json::from_slice(&text)?, None));
        }
        let text = buffer.get(..length).unwrap_or_default();
        Ok((serde_json::from_slice(text)?, files.next()))
    }
}

/// The files of one container.
pub(super) struct ContainerFiles {
    pub(super) socket: Arc<FileSocket>,
    pub(super) container: u32,
}

impl fmt::Debug for ContainerFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerFiles({})", self.container)
    }
}

impl Lender for ContainerFiles {
    fn ask(&self, mount: Option<usize>, ask: &Ask) -> Result<(Answer, Option<File>), Errno> {
        let call = FileCall { container: self.container, mount, ask: ask.clone() };
        self.socket.call(&call).map_err(|_| Errno::IO)
    }
}
