//! What a staged rollout does next: a pure function of what is there and of the time.

/// One step of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Pods of the new version from this step on.
    pub pods: u64,
    /// Milliseconds to wait once they are ready, before the next step.
    pub pause: u64,
}

/// What is known of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Pods in all.
    pub total: u64,
    /// The step it is at, from 0.
    pub step: usize,
    /// When the pods of this step were ready, in milliseconds of the clock that `now` is of.
    pub since: Option<u64>,
    /// Pods of the new version that are ready.
    pub ready: u64,
    /// Whether there are pods of an old version.
    pub has_old: bool,
}

/// How many pods of each version there are to be, and what to write down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// Pods of the new version.
    pub new: u64,
    /// Pods of the old version.
    pub old: u64,
    /// What changes in the status.
    pub note: Note,
}

/// What is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Nothing: the rollout waits.
    Nothing,
    /// The pods of this step are ready since now.
    Ready,
    /// The next step begins.
    Advance,
    /// The old version can go.
    Done,
}

/// Decides. Waits until the pods of a step are ready, then for its pause, then goes on; with no old
/// version there is nothing to go slowly for.
pub fn next(steps: &[Step], seen: Seen, now: u64) -> Next {
    let step = steps.get(seen.step).filter(|_| seen.has_old);
    let new = step.map_or(seen.total, |step| step.pods.min(seen.total));
    let note = match (step, seen.since) {
        _ if seen.ready < new => Note::Nothing,
        (None, _) => Note::Done,
        (Some(_), None) => Note::Ready,
        (Some(step), Some(since)) if now >= since + step.pause => Note::Advance,
        (Some(_), Some(_)) => Note::Nothing,
    };
    Next { new, old: seen.total - new, note }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a rollout of eight pods on a clock of its own, in steps of one second; pods are ready two
    /// seconds after they were asked for. Gives when the number of new pods changed.
    fn run(steps: &[Step]) -> Vec<(u64, u64)> {
        let mut seen = Seen { total: 8, step: 0, since: None, ready: 0, has_old: true };
        let mut asked = Vec::new();
        for now in (0..1_000_000).step_by(1000) {
            let decided = next(steps, seen, now);
            assert_eq!(decided.new + decided.old, 8, "never more nor fewer pods");
            if asked.last().is_none_or(|(_, new)| *new != decided.new) {
                asked.push((now / 1000, decided.new));
            }
            let last = asked.last().map_or(0, |(at, _)| *at);
            if now / 1000 >= last + 2 {
                seen.ready = decided.new;
            }
            match decided.note {
                Note::Nothing => {}
                Note::Ready => seen.since = Some(now),
                Note::Advance => (seen.step, seen.since) = (seen.step + 1, None),
                Note::Done => return asked,
            }
        }
        panic!("it never ends: {asked:?}");
    }

    #[test]
    fn one_then_five_minutes_then_five_then_almost_four_then_all() {
        let steps = [Step { pods: 1, pause: 300_000 }, Step { pods: 5, pause: 222_000 }];
        let asked = run(&steps);
        let news: Vec<u64> = asked.iter().map(|(_, new)| *new).collect();
        assert_eq!(news, [1, 5, 8]);
        // Two seconds until the pods are ready, one for each look, and the pause.
        let [first, second, third] = asked[..] else { panic!("{asked:?}") };
        assert!((300..=310).contains(&(second.0 - first.0)), "{asked:?}");
        assert!((222..=232).contains(&(third.0 - second.0)), "{asked:?}");
    }

    #[test]
    fn what_is_not_ready_holds_the_rollout() {
        let steps = [Step { pods: 2, pause: 0 }];
        let seen = Seen { total: 4, step: 0, since: None, ready: 1, has_old: true };
        assert_eq!(next(&steps, seen, 1 << 40), Next { new: 2, old: 2, note: Note::Nothing });
    }

    #[test]
    fn the_first_version_goes_at_once() {
        let steps = [Step { pods: 1, pause: 1 << 40 }];
        let seen = Seen { total: 4, step: 0, since: None, ready: 4, has_old: false };
        assert_eq!(next(&steps, seen, 0), Next { new: 4, old: 0, note: Note::Done });
    }
}
