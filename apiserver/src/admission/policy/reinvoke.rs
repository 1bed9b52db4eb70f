//! Which mutating policies and webhooks are asked once more, because others changed the object after them.
//!
//! *Source:* Kubernetes, "Dynamic Admission Control", "Reinvocation policy": at most once, and only those that want it.

use std::collections::HashMap;

/// The two rounds of one write.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// Changes so far.
    changes: usize,
    /// How many there were when each one had been asked.
    seen: HashMap<String, usize>,
    is_second: bool,
}

impl Rounds {
    /// Whether one is to be asked now; `reinvokes` is whether it wants to be asked again.
    pub(crate) fn wants(&self, key: &str, reinvokes: bool) -> bool {
        let is_behind = self.seen.get(key).is_some_and(|seen| *seen < self.changes);
        !self.is_second || (reinvokes && is_behind)
    }

    /// Notes that one was asked, and whether it changed the object.
    pub(crate) fn asked(&mut self, key: &str, changed: bool) {
        self.changes += usize::from(changed);
        self.seen.insert(key.to_owned(), self.changes);
    }

    /// Begins the second round; `false` when nobody could want it.
    pub(crate) fn again(&mut self) -> bool {
        self.is_second = true;
        self.seen.values().any(|seen| *seen < self.changes)
    }

    /// Whether the object was changed.
    pub(crate) fn changed(&self) -> bool {
        self.changes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_before_a_change_are_asked_again() {
        let mut rounds = Rounds::default();
        for (key, changes) in [("a", true), ("b", false), ("c", true), ("d", false)] {
            assert!(rounds.wants(key, false), "{key}");
            rounds.asked(key, changes);
        }
        assert!(rounds.again());
        let again: Vec<&str> =
            ["a", "b", "c", "d"].into_iter().filter(|key| rounds.wants(key, true)).collect();
        assert_eq!(again, ["a", "b"]);
        assert!(!rounds.wants("a", false));
        let mut quiet = Rounds::default();
        quiet.asked("a", false);
        quiet.asked("b", true);
        assert!(quiet.again() && quiet.changed());
        let mut last = Rounds::default();
        last.asked("a", true);
        assert!(!last.again());
    }
}
