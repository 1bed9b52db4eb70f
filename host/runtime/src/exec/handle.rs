//! The end of a command: waiting for it, and bringing it about.

use std::sync::Arc;

use tokio::sync::watch;

use crate::exit::Exit;

/// The size of a client's terminal, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// What the client wants of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Wish {
    size: Option<TerminalSize>,
    is_killed: bool,
}

/// A client's hold on a command. Clones are the same command; when all are dropped, it is ended.
#[derive(Debug, Clone)]
pub struct ExecHandle {
    wish: Arc<watch::Sender<Wish>>,
    exit: watch::Receiver<Option<Exit>>,
}

/// The other side of an [`ExecHandle`]: whoever runs the command.
#[derive(Debug)]
pub struct ExecOwner {
    wish: watch::Receiver<Wish>,
    exit: watch::Sender<Option<Exit>>,
}

impl ExecHandle {
    /// Makes both sides.
    #[must_use]
    pub fn pair() -> (ExecHandle, ExecOwner) {
        let (wish, wished) = watch::channel(Wish::default());
        let (exit, exited) = watch::channel(None);
        let handle = ExecHandle { wish: Arc::new(wish), exit: exited };
        (handle, ExecOwner { wish: wished, exit })
    }

    /// Says how large the client's terminal is now.
    pub fn resize(&self, size: TerminalSize) {
        self.wish.send_modify(|wish| wish.size = Some(size));
    }

    /// Ends the command now; returns at once.
    pub fn kill(&self) {
        self.wish.send_modify(|wish| wish.is_killed = true);
    }

    /// Waits for the command's end. Cancel safe; may be called any number of times.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or_else(|| Exit::killed("killed")),
            Err(_) => Exit::killed("the host is shutting down"),
        }
    }
}

impl ExecOwner {
    /// Resolves when the client wants the command to end, or is gone.
    pub async fn killed(&self) {
        // An error means that every handle was dropped.
        let _ = self.wish.clone().wait_for(|wish| wish.is_killed).await;
    }

    /// The size of the client's terminal, once it was told.
    #[must_use]
    pub fn size(&self) -> Option<TerminalSize> {
        self.wish.borrow().size
    }

    /// Records the end.
    pub fn ended(self, exit: Exit) {
        self.exit.send_replace(Some(exit));
    }
}
