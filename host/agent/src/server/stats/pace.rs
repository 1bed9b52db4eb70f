//! When what is on disk is measured again, and what is known of it meanwhile. Pure.
//!
//! A measure is a walk through all that pods have written. Times are since the agent's start, by a clock that nobody sets.

use std::sync::Arc;
use std::time::Duration;

use super::space::DiskSample;

/// The shortest pause after a walk: disks are measured no more often, however many ask.
const PAUSE_MIN: Duration = Duration::from_secs(10);

/// The pause after a walk, in times of what the walk took: a long walk must not become all that a host does.
const PAUSE_WALKS: u32 = 10;

/// A walk that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walked {
    pub(super) sample: DiskSample,
    pub(super) took: Duration,
}

/// What is known, and whether a walk finds out more.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// What the last walk found; nothing before there was one.
    pub(super) last: Arc<DiskSample>,
    turn: Turn,
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    /// Nobody walks; a walk may begin at `from`.
    Rests { from: Duration },
    /// Somebody walks.
    Walks { since: Duration },
}

impl Default for Turn {
    fn default() -> Self {
        Self::Rests { from: Duration::ZERO }
    }
}

impl Known {
    /// Somebody wants to know: says whether a walk is to begin, and takes it for begun.
    pub(super) fn ask(&mut self, now: Duration) -> bool {
        let is_due = match self.turn {
            Turn::Rests { from } => now >= from,
            Turn::Walks { .. } => false,
        };
        if is_due {
            self.turn = Turn::Walks { since: now };
        }
        is_due
    }

    /// The walk is over; one that failed leaves what was known before.
    pub(super) fn end(&mut self, walked: Option<Walked>, now: Duration) {
        let took = walked.as_ref().map_or(Duration::ZERO, |walked| walked.took);
        let pause = took.saturating_mul(PAUSE_WALKS).max(PAUSE_MIN);
        self.turn = Turn::Rests { from: now.saturating_add(pause) };
        if let Some(walked) = walked {
            self.last = Arc::new(walked.sample);
        }
    }

    /// When the walk began that is under way.
    pub(super) fn walks_since(&self) -> Option<Duration> {
        match self.turn {
            Turn::Rests { .. } => None,
            Turn::Walks { since } => Some(since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use jiff::Timestamp;

    /// Each step is a second and what happens then: `ask`, `fail`, or `end` with the seconds that the walk took.
    fn check(steps: &[&str], want: Expect) {
        let mut known = Known::default();
        let mut lines = String::new();
        for step in steps {
            let words: Vec<&str> = step.split(' ').collect();
            let second: u64 = words[0].parse().unwrap();
            let now = Duration::from_secs(second);
            let begins = match words[1..] {
                ["ask"] => known.ask(now),
                ["fail"] => {
                    known.end(None, now);
                    false
                }
                ["end", took] => {
                    let took = Duration::from_secs(took.parse().unwrap());
                    let at = Timestamp::from_second(second.try_into().unwrap()).unwrap();
                    known.end(
                        Some(Walked { sample: DiskSample { at, ..Default::default() }, took }),
                        now,
                    );
                    false
                }
                _ => panic!("{step}"),
            };
            let begins = if begins { ", a walk begins" } else { "" };
            let since = known.walks_since().map(|since| format!(", walks since {since:?}"));
            let (since, of) = (since.unwrap_or_default(), known.last.at.as_second());
            lines.push_str(&format!("{step}: knows of {of}{begins}{since}\n"));
        }
        want.assert_eq(&lines);
    }

    #[test]
    fn a_short_walk_rests_ten_seconds() {
        check(
            &["0 ask", "1 ask", "1 end 1", "2 ask", "10 ask", "11 ask", "11 ask"],
            expect![[r#"
                0 ask: knows of 0, a walk begins, walks since 0ns
                1 ask: knows of 0, walks since 0ns
                1 end 1: knows of 1
                2 ask: knows of 1
                10 ask: knows of 1
                11 ask: knows of 1, a walk begins, walks since 11s
                11 ask: knows of 1, walks since 11s
            "#]],
        );
    }

    #[test]
    fn a_long_walk_is_new_when_it_ends_and_rests_ten_times_as_long() {
        check(
            &["5 ask", "45 ask", "65 end 60", "65 ask", "100 ask", "664 ask", "665 ask"],
            expect![[r#"
                5 ask: knows of 0, a walk begins, walks since 5s
                45 ask: knows of 0, walks since 5s
                65 end 60: knows of 65
                65 ask: knows of 65
                100 ask: knows of 65
                664 ask: knows of 65
                665 ask: knows of 65, a walk begins, walks since 665s
            "#]],
        );
    }

    #[test]
    fn a_walk_that_fails_leaves_what_was_known() {
        check(
            &["0 ask", "1 end 0", "20 ask", "21 fail", "22 ask", "31 ask"],
            expect![[r#"
                0 ask: knows of 0, a walk begins, walks since 0ns
                1 end 0: knows of 1
                20 ask: knows of 1, a walk begins, walks since 20s
                21 fail: knows of 1
                22 ask: knows of 1
                31 ask: knows of 1, a walk begins, walks since 31s
            "#]],
        );
    }
}
