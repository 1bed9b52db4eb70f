//! Requests that ended their instance: counted all, told seldom.

use std::time::Instant;

use parking_lot::Mutex;

use super::FAULT_INTERVAL;
use crate::spec::{Fault, FaultKind};

/// Lets one fault through in each [`FAULT_INTERVAL`], and counts the others.
#[derive(Default)]
pub(super) struct Faults {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_told: Option<Instant>,
    suppressed: u64,
}

impl Faults {
    /// Gives the fault that is to be told now, if it is time for one.
    pub(super) fn take(&self, kind: FaultKind, message: &str, now: Instant) -> Option<Fault> {
        let mut state = self.state.lock();
        let too_soon = state
            .last_told
            .is_some_and(|last| now.saturating_duration_since(last) < FAULT_INTERVAL);
        if too_soon {
            state.suppressed += 1;
            return None;
        }
        state.last_told = Some(now);
        let suppressed = std::mem::take(&mut state.suppressed);
        Some(Fault { kind, message: message.to_owned(), suppressed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter;

    #[test]
    fn one_in_an_interval_with_the_count_of_the_others() {
        let faults = Faults::default();
        let start = meter::now();
        let suppressed = |at| {
            let fault = faults.take(FaultKind::Trap, "boom", at);
            fault.map(|fault| fault.suppressed)
        };
        assert_eq!(suppressed(start), Some(0));
        assert_eq!(suppressed(start + FAULT_INTERVAL / 2), None);
        assert_eq!(suppressed(start + FAULT_INTERVAL / 2), None);
        assert_eq!(suppressed(start + FAULT_INTERVAL), Some(2));
    }
}
