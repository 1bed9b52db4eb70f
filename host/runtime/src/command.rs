//! A command container: one task, one instance, and its end.
//!
//! An edge: it waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::container::{Core, Phase};
use crate::exit::{self, CODE_INTERRUPTED, Circumstance, EndedBy, Exit};
use crate::image::Pre;
use crate::meter::{self, Metered};
use crate::stdio::broken;
use crate::store;

/// How often a stop looks whether connections are done.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Runs a command container to its end, and records it.
pub(crate) async fn run(core: Arc<Core>) {
    let engine = core.spec.image.engine.clone();
    let guest = Metered::new(Box::pin(guest(core.clone())), engine, core.cpu.clone());
    let exit = tokio::select! {
        biased;
        ended_by = ended(&core) => Exit::of_ended(ended_by),
        () = broken(core.stdio.input.as_ref(), core.spec.image.takes_interrupts()) => {
            Exit::of_code(CODE_INTERRUPTED)
        }
        exit = guest => exit,
    };
    core.scope.drain();
    if let Some(log) = &core.log {
        log.flushed().await;
    }
    core.ended(exit);
}

/// Runs the guest itself.
pub(crate) async fn guest(core: Arc<Core>) -> Exit {
    let mut store = store::store(&core);
    let result = match core.pre() {
        Pre::Command(pre) => match pre.instantiate_async(&mut store).await {
            Ok(command) => command.wasi_cli_run().call_run(&mut store).await,
            Err(error) => Err(error),
        },
        #[cfg(feature = "wasi-p3")]
        Pre::CommandP3(pre) => crate::p3::run(pre, &mut store).await,
        Pre::Http(_) | Pre::Library(_) => return Exit::killed("not a command"),
        #[cfg(feature = "wasi-p3")]
        Pre::HttpP3(_) => return Exit::killed("not a command"),
    };
    let refused_at_bytes = store.data().memory.refused_at_bytes();
    exit::exit_of(result, Circumstance { ended_by: None, refused_at_bytes })
}

/// Resolves when the guest must be cut off, and says for what.
async fn ended(core: &Core) -> EndedBy {
    let mut phase = core.phase();
    loop {
        let wanted = *phase.borrow_and_update();
        match wanted {
            Phase::Running => {}
            Phase::Killed => return EndedBy::Kill,
            Phase::Stopping(deadline) => {
                core.scope.drain();
                core.notice.raise(deadline);
                tokio::select! {
                    biased;
                    _ = phase.changed() => continue,
                    () = tokio::time::sleep_until(deadline.into()) => return EndedBy::Deadline,
                    () = drained(core) => return EndedBy::Stop,
                }
            }
        }
        if phase.changed().await.is_err() {
            // Nobody is left who could ask for the end; the sender lives in `core`.
            std::future::pending::<()>().await;
        }
    }
}

/// Resolves when a guest that does not take the notice itself serves nothing any more.
async fn drained(core: &Core) {
    if core.spec.image.takes_stop_notice() {
        return std::future::pending().await;
    }
    let mut quiet = Quiet::new(core.spec.quiet_max, core.scope.bytes(), meter::now());
    while core.scope.connections() > 0 && !quiet.is_over(core.scope.bytes(), meter::now()) {
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

/// Looks without a byte that make a quiet: on a machine that lets nobody run, time alone says nothing of a client.
const QUIET_LOOKS: u32 = 40;

/// Tells when nothing has moved for `max`.
struct Quiet {
    max: Duration,
    bytes: u64,
    since: Instant,
    looks: u32,
}

impl Quiet {
    fn new(max: Duration, bytes: u64, now: Instant) -> Self {
        Self { max, bytes, since: now, looks: 0 }
    }

    fn is_over(&mut self, bytes: u64, now: Instant) -> bool {
        if bytes != self.bytes {
            *self = Self::new(self.max, bytes, now);
        }
        self.looks = self.looks.saturating_add(1);
        self.looks >= QUIET_LOOKS && now.saturating_duration_since(self.since) >= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::QUIET_MAX;

    #[test]
    fn quiet_starts_anew_with_every_byte() {
        let start = meter::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut quiet = Quiet::new(QUIET_MAX, 5, start);
        (0..QUIET_LOOKS).for_each(|_| assert!(!quiet.is_over(5, at(999))));
        (0..QUIET_LOOKS).for_each(|_| assert!(!quiet.is_over(6, at(1000))));
        assert!(!quiet.is_over(6, at(1999)));
        assert!(quiet.is_over(6, at(2000)));
    }

    #[test]
    fn a_quiet_is_as_long_as_the_specification_says() {
        let start = meter::now();
        let minute = Duration::from_secs(60);
        let mut quiet = Quiet::new(minute, 5, start);
        (0..QUIET_LOOKS).for_each(|_| assert!(!quiet.is_over(5, start + 59 * QUIET_MAX)));
        assert!(quiet.is_over(5, start + minute));
    }

    #[test]
    fn a_machine_that_stood_still_is_not_a_client_that_is_quiet() {
        let start = meter::now();
        let mut quiet = Quiet::new(QUIET_MAX, 5, start);
        let late = start + 10 * QUIET_MAX;
        (1..QUIET_LOOKS).for_each(|_| assert!(!quiet.is_over(5, late)));
        assert!(quiet.is_over(5, late));
    }
}
