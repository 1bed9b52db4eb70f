//! Packets over a Unix socket, each with the open files that it carries.
//!
//! An edge: it waits for the socket, or blocks on it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use tokio::io::unix::AsyncFd;

/// Bytes of one packet: the largest datagram with its addresses, and less than the half of a Unix
/// socket's usual buffer.
pub(crate) const PACKET_BYTES_MAX: usize = 80 << 10;

/// Open files that one packet carries.
const FILES_MAX: usize = 4;

/// One packet.
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) files: Vec<OwnedFd>,
}

/// Makes both ends of a socket that keeps packets apart.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends one packet.
pub(crate) fn send(socket: impl AsFd, packet: &Packet) -> io::Result<()> {
    let files: Vec<_> = packet.files.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many files in one packet"));
    }
    let bytes = [IoSlice::new(&packet.bytes)];
    rustix::net::sendmsg(socket, &bytes, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet into `buffer`; gives its length, 0 at the end, and its files.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(socket, &mut slices, &mut control, flags)?;
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet was cut short"));
    }
    Ok((received.bytes, files))
}

/// One end of a socket whose user is a task.
pub(crate) struct Packets(AsyncFd<OwnedFd>);

impl Packets {
    /// Takes an end over. Must be called on a tokio runtime.
    #[expect(unsafe_code, reason = "the only way to wait for a socket that is no stream")]
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        // SAFETY: an `OwnedFd` gives the same descriptor each time, and closes it when it is
        // dropped, which `AsyncFd` does after it has deregistered it.
        Ok(Self(unsafe { AsyncFd::register(socket) }?))
    }

    /// Sends one packet, as soon as the socket takes it. Cancel safe.
    pub(crate) async fn send(&self, packet: &Packet) -> io::Result<()> {
        loop {
            let mut ready = self.0.writable().await?;
            if let Ok(sent) = ready.try_io(|socket| send(socket.get_ref(), packet)) {
                return sent;
            }
        }
    }

    /// Receives the next packet as [`receive`] does. Cancel safe.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(received) = ready.try_io(|socket| receive(socket.get_ref(), buffer)) {
                return received;
            }
        }
    }
}
