//! A client's keyboard in front of a guest's input: the terminal's edge.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use coracle_vnet::VStream;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;

use super::terminal::{Discipline, Step};
use super::{Input, Taps};

/// How soon an interrupted guest must wait for input to count as idle: it may have shown its prompt and be on its way
/// to read the answer.
const IDLE_WITHIN: Duration = Duration::from_millis(50);

/// Where the echo appears, for as long as there is somebody who writes there.
pub(crate) enum Screen {
    /// At the one client of a command.
    Pipe(Weak<VStream>),
    /// At all clients of a container.
    Taps(Weak<Taps>),
}

impl Screen {
    /// Shows an echo. A screen that is full or gone shows nothing, as a terminal does.
    fn show(&self, bytes: Bytes) {
        match self {
            Self::Pipe(pipe) => {
                let Some(pipe) = pipe.upgrade() else { return };
                if !bytes.is_empty() && pipe.room().is_ok_and(|room| room >= bytes.len()) {
                    let _ = pipe.write(bytes);
                }
            }
            Self::Taps(taps) => {
                if let Some(taps) = taps.upgrade() {
                    taps.echo(&bytes);
                }
            }
        }
    }
}

/// One terminal: the line that is typed at it, whoever types, the input that lines go to, and the screen.
pub(crate) struct Terminal {
    input: Arc<Input>,
    screen: Screen,
    discipline: Mutex<Discipline>,
}

impl Terminal {
    pub(crate) fn new(input: Arc<Input>, screen: Screen) -> Arc<Self> {
        Arc::new(Self { input, screen, discipline: Mutex::default() })
    }

    /// A client's way to type.
    pub(crate) fn typing(self: &Arc<Self>) -> Typing {
        Typing { terminal: self.clone() }
    }

    fn take(&self, bytes: &[u8]) -> io::Result<()> {
        let mut discipline = self.discipline.lock();
        let steps = bytes.iter().flat_map(|byte| discipline.take(*byte)).collect::<Vec<_>>();
        steps.into_iter().try_for_each(|step| self.carry_out(step))
    }

    fn carry_out(&self, step: Step) -> io::Result<()> {
        match step {
            Step::Line(line) => return self.input.write(line),
            Step::Echo(bytes) => self.screen.show(bytes),
            Step::End => self.input.end_once(),
            Step::Interrupt => {
                // What was typed before is for nobody any more; what follows is for whoever goes on.
                self.input.forget();
                self.input.interrupts.notify_one();
            }
        }
        Ok(())
    }
}

/// Takes what one client types, echoes it to the screen, and gives the guest whole lines.
pub(crate) struct Typing {
    terminal: Arc<Terminal>,
}

impl AsyncWrite for Typing {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let terminal = &self.terminal;
        std::task::ready!(terminal.input.poll_writable(cx));
        // A client that pastes a lot is not let past the room that there is; one key always is.
        let length = terminal.input.room().max(1).min(bytes.len());
        terminal.take(bytes.get(..length).unwrap_or_default())?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.terminal.input.left();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        self.terminal.input.left();
    }
}

/// Resolves when a guest is to be ended for an interrupt. One that takes interrupts itself is told, and ended when it
/// leaves one be; another that waits for a line gets an empty one, by which a prompt appears anew.
pub(crate) async fn broken(input: Option<&Arc<Input>>, takes_interrupts: bool) {
    let Some(input) = input else { return std::future::pending().await };
    loop {
        input.interrupts.notified().await;
        let goes_on = if takes_interrupts {
            input.interrupt()
        } else {
            let idle = tokio::time::timeout(IDLE_WITHIN, input.awaited()).await.is_ok();
            idle && input.write(Bytes::from_static(b"\n")).is_ok()
        };
        if !goes_on {
            return;
        }
    }
}
