//! Being told to stop.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// By which a supervisor and its host are told that the machine goes down: SIGPWR, which nothing
/// else sends to a process of ours. Stopping or upgrading a host sends SIGTERM and keeps its pods.
pub(crate) const MACHINE_GOES_DOWN: rustix::process::Signal = rustix::process::Signal::POWER;

/// Waits for SIGPWR.
#[derive(Debug)]
pub(crate) struct PowerOff(Signal);

impl PowerOff {
    /// From now on the signal no longer ends the process by itself.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let kind = SignalKind::from_raw(MACHINE_GOES_DOWN.as_raw());
        Ok(Self(signal(kind).context("listen for SIGPWR")?))
    }

    /// Returns once the signal came. Cancel safe.
    pub(crate) async fn wait(&mut self) {
        self.0.recv().await;
    }
}

/// Waits for SIGINT or SIGTERM.
#[derive(Debug)]
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    told: bool,
}

impl Stop {
    /// From now on the signals no longer end the process by themselves.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            told: false,
        })
    }

    /// Returns once one of the signals came. Cancel safe.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.told = true;
    }

    /// Whether [`Stop::wait`] has returned.
    pub(crate) fn was_told(&self) -> bool {
        self.told
    }
}
