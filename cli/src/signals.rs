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

/// SIGHUP's place in the masks of signals.
const HANG_UP: u32 = 1;

/// Waits for SIGINT or SIGTERM, and for SIGHUP if it was asked to.
#[derive(Debug)]
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
    told: bool,
}

impl Stop {
    /// From now on the signals no longer end the process by themselves.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            hang_up: None,
            told: false,
        })
    }

    /// The same for a program that takes others with it when its terminal is closed: SIGHUP stops it as well, unless
    /// whoever started it lets it be ignored, as `nohup` does.
    pub(crate) fn listen_with_terminal() -> anyhow::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut stop = Self::listen()?;
        if !ignores(&status, HANG_UP) {
            stop.hang_up = Some(signal(SignalKind::hangup()).context("listen for SIGHUP")?);
        }
        Ok(stop)
    }

    /// Returns once one of the signals came. Cancel safe.
    pub(crate) async fn wait(&mut self) {
        let Self { interrupt, terminate, hang_up, told } = self;
        let hung_up = async {
            match hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hung_up => {}
        }
        *told = true;
    }

    /// Whether [`Stop::wait`] has returned.
    pub(crate) fn was_told(&self) -> bool {
        self.told
    }
}

/// Whether a process ignores a signal, by its `/proc/PID/status`. *Source:* proc(5), `SigIgn`.
fn ignores(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_has_set_is_read() {
        for (status, expected) in [
            ("Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n", true),
            ("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n", false),
            ("SigIgn:\tnothing\n", false),
            ("", false),
        ] {
            assert_eq!(ignores(status, HANG_UP), expected, "{status}");
        }
    }
}
