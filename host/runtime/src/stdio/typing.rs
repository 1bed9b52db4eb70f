//! A client's keyboard in front of a guest's input: the terminal's edge.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use coracle_vnet::VStream;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

use super::Input;
use super::terminal::{Discipline, Step};

/// Takes what is typed, echoes it to the screen, and gives the guest whole lines.
pub(crate) struct Typing {
    input: Arc<Input>,
    /// The output that the echo appears in, for as long as the command writes to it.
    screen: Weak<VStream>,
    discipline: Discipline,
    /// Is notified when the guest is to be interrupted.
    interrupted: Arc<Notify>,
}

impl Typing {
    pub(crate) fn new(input: Arc<Input>, screen: &Arc<VStream>, interrupted: Arc<Notify>) -> Self {
        let screen = Arc::downgrade(screen);
        Self { input, screen, discipline: Discipline::default(), interrupted }
    }

    fn carry_out(&self, step: Step) -> io::Result<()> {
        match step {
            Step::Line(line) => self.input.write(line),
            Step::Echo(bytes) => {
                self.echo(bytes);
                Ok(())
            }
            Step::End => {
                self.input.finish();
                Ok(())
            }
            Step::Interrupt => {
                self.interrupted.notify_one();
                Ok(())
            }
        }
    }

    /// A screen that is full or gone shows nothing, as a terminal does.
    fn echo(&self, bytes: Bytes) {
        let Some(screen) = self.screen.upgrade() else { return };
        if !bytes.is_empty() && screen.room().is_ok_and(|room| room >= bytes.len()) {
            let _ = screen.write(bytes);
        }
    }
}

impl AsyncWrite for Typing {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        std::task::ready!(this.input.poll_writable(cx));
        let length = this.input.room()?.min(bytes.len());
        for byte in bytes.get(..length).unwrap_or_default() {
            for step in this.discipline.take(*byte) {
                this.carry_out(step)?;
            }
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        self.input.finish();
    }
}
