//! How long each step of a start took, for whoever sat before it. Pure: the clock is the caller's.

use std::time::Duration;

/// The steps that are done, in their order.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// What each is called, and when it was done, since the beginning.
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// One more is done, `since` the beginning.
    pub(super) fn done(&mut self, what: &'static str, since: Duration) {
        self.done.push((what, since));
    }

    /// `ready after 3.2 s: build 1.9 s, server 0.3 s, pods 1.0 s`
    pub(super) fn told(&self) -> String {
        let ends = self.done.iter().map(|(_, end)| *end);
        let begins = std::iter::once(Duration::ZERO).chain(ends);
        let each = self.done.iter().zip(begins).map(|((what, end), begin)| {
            format!("{what} {:.1} s", end.saturating_sub(begin).as_secs_f64())
        });
        let all = self.done.last().map_or(Duration::ZERO, |(_, end)| *end);
        let each = each.collect::<Vec<_>>().join(", ");
        format!("ready after {:.1} s: {each}", all.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_own_share() {
        let mut steps = Steps::default();
        for (what, end) in [("build", 1900), ("server", 2240), ("pods", 12_250)] {
            steps.done(what, Duration::from_millis(end));
        }
        assert_eq!(steps.told(), "ready after 12.2 s: build 1.9 s, server 0.3 s, pods 10.0 s");
    }
}
