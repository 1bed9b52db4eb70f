//! What a machine has left, and which of its thresholds that crosses: pure.

use jiff::{SignedDuration, Timestamp};

use super::thresholds::{Signal, Thresholds};

/// One amount: how much there is in all, and how much is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) capacity: u64,
    pub(crate) available: u64,
}

/// What the machine has. A level that could not be read is absent and crosses nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Levels {
    pub(crate) memory: Option<Level>,
    pub(crate) disk: Option<Level>,
    pub(crate) inodes: Option<Level>,
    pub(crate) pids: Option<Level>,
}

impl Levels {
    fn of(&self, signal: Signal) -> Option<Level> {
        match signal {
            Signal::Memory => self.memory,
            Signal::Disk => self.disk,
            Signal::Inodes => self.inodes,
            Signal::Pids => self.pids,
        }
    }
}

/// A threshold that is crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crossing {
    pub(crate) signal: Signal,
    pub(crate) threshold: u64,
    pub(crate) available: u64,
}

/// Lists what is crossed, the most urgent first: memory, disk, inodes, process identifiers.
pub(crate) fn crossings(levels: &Levels, thresholds: &Thresholds) -> Vec<Crossing> {
    let one = |(signal, amount): &(Signal, super::thresholds::Amount)| {
        let level = levels.of(*signal)?;
        let threshold = amount.of(level.capacity);
        let crossing = Crossing { signal: *signal, threshold, available: level.available };
        (level.available < threshold).then_some(crossing)
    };
    let mut all: Vec<Crossing> = thresholds.0.iter().filter_map(one).collect();
    all.sort_by_key(|crossing| crossing.signal);
    all
}

/// Which pressures the node shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) memory: bool,
    pub(crate) disk: bool,
    pub(crate) pids: bool,
}

/// When each pressure was last there: a condition stays for a while, so that it does not flap.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    memory: Option<Timestamp>,
    disk: Option<Timestamp>,
    pids: Option<Timestamp>,
}

impl Seen {
    /// Takes note of what is crossed at `now`; gives what the node shows.
    pub(crate) fn note(
        &mut self,
        crossings: &[Crossing],
        transition: SignedDuration,
        now: Timestamp,
    ) -> Shown {
        for crossing in crossings {
            let seen = match crossing.signal {
                Signal::Memory => &mut self.memory,
                Signal::Disk | Signal::Inodes => &mut self.disk,
                Signal::Pids => &mut self.pids,
            };
            *seen = Some(now);
        }
        let lasts = |seen: Option<Timestamp>| {
            seen.is_some_and(|seen| seen == now || now.duration_since(seen) < transition)
        };
        Shown { memory: lasts(self.memory), disk: lasts(self.disk), pids: lasts(self.pids) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossing_shows_at_once_and_for_the_transition_time() {
        let level = |available| Some(Level { capacity: 1000, available });
        let thresholds: Thresholds = "memory.available<10%,nodefs.available<10%".parse().unwrap();
        let low = Levels { memory: level(99), disk: level(100), inodes: level(1), pids: None };
        let found = crossings(&low, &thresholds);
        let signals: Vec<_> = found.iter().map(|crossing| crossing.signal).collect();
        assert_eq!(signals, [Signal::Memory, Signal::Inodes]);
        assert_eq!((found[0].threshold, found[0].available), (100, 99));
        let mut seen = Seen::default();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let minute = SignedDuration::from_secs(60);
        let both = Shown { memory: true, disk: true, pids: false };
        assert_eq!(seen.note(&found, minute, at(0)), both);
        assert_eq!(seen.note(&[], minute, at(59)), both);
        assert_eq!(seen.note(&[], minute, at(60)), Shown::default());
    }
}
