//! Which other hosts a host watches, and which of them it doubts: pure.
//!
//! Every host is watched by a few others, whatever the size of the cluster: each watches those that come next after
//! its own name, as in a ring. What it says goes into the annotations of its Lease, where the node controller counts
//! (`controllers/node/vote`).

use std::collections::BTreeMap;

/// Hosts that one host watches, and by which it is watched: a majority of them is three.
const WATCHED_MAX: usize = 5;
/// Questions without an answer, one after another, until a host is doubted: one may get lost.
const MISSES_MAX: u32 = 2;

/// The hosts that `own` watches, of all that can be reached; `nodes`: their names in order.
pub(super) fn watched<'a>(own: &str, nodes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let (before, after): (Vec<&str>, Vec<&str>) =
        nodes.filter(|node| *node != own).partition(|node| *node < own);
    after.into_iter().chain(before).take(WATCHED_MAX).map(str::to_owned).collect()
}

/// What a host has seen of those that it watches.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Questions without an answer since the last that had one; `None`: it was never asked.
    misses: BTreeMap<String, Option<u32>>,
}

/// What a host says of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// For [`coracle_api::peers::ANSWER`].
    pub(super) answer: String,
    /// For [`coracle_api::peers::SILENT`].
    pub(super) silent: String,
}

impl Doubts {
    /// Says which hosts are watched from now on; what is known of others is forgotten.
    pub(super) fn follow(&mut self, watched: &[String]) {
        self.misses.retain(|node, _| watched.contains(node));
        for node in watched {
            self.misses.entry(node.clone()).or_default();
        }
    }

    /// Takes in whether a host answered.
    pub(super) fn asked(&mut self, node: &str, answered: bool) {
        let Some(misses) = self.misses.get_mut(node) else { return };
        *misses = Some(if answered { 0 } else { misses.unwrap_or(0).saturating_add(1) });
    }

    /// Whether one of them is about to be doubted, or is.
    pub(super) fn is_uneasy(&self) -> bool {
        self.misses.values().flatten().any(|misses| *misses > 0)
    }

    /// What is to be said. A host that was asked and has not answered yet still answers, until it is doubted.
    pub(super) fn report(&self) -> Report {
        let those = |silent: bool| {
            let asked = self.misses.iter().filter_map(|(node, misses)| Some((node, (*misses)?)));
            let of = asked.filter(|(_, misses)| (*misses >= MISSES_MAX) == silent);
            of.map(|(node, _)| node.as_str()).collect::<Vec<&str>>().join(",")
        };
        Report { answer: those(false), silent: those(true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watches(own: &str, nodes: &[&str]) -> String {
        watched(own, nodes.iter().copied()).join(" ")
    }

    #[test]
    fn every_host_is_watched_by_as_many_as_it_watches() {
        assert_eq!(watches("a", &["a"]), "");
        assert_eq!(watches("b", &["a", "b", "c"]), "c a");
        // One that is not in the list yet finds its place.
        assert_eq!(watches("b", &["a", "c"]), "c a");
        let many: Vec<String> = (0..20).map(|number| format!("host-{number:02}")).collect();
        let all: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut counts = BTreeMap::new();
        for own in &all {
            let seen = watched(own, all.iter().copied());
            assert_eq!(seen.len(), WATCHED_MAX);
            for node in seen {
                *counts.entry(node).or_insert(0) += 1;
            }
        }
        assert!(counts.len() == 20 && counts.values().all(|count| *count == WATCHED_MAX));
    }

    #[test]
    fn a_host_is_doubted_after_two_misses_and_trusted_after_one_answer() {
        let mut doubts = Doubts::default();
        let said = |doubts: &Doubts| {
            let Report { answer, silent } = doubts.report();
            format!("{answer} / {silent}")
        };
        doubts.follow(&["a".into(), "b".into()]);
        // Nothing is said of those that were never asked.
        assert_eq!((said(&doubts).as_str(), doubts.is_uneasy()), (" / ", false));
        doubts.asked("a", true);
        doubts.asked("b", false);
        assert_eq!((said(&doubts).as_str(), doubts.is_uneasy()), ("a,b / ", true));
        doubts.asked("b", false);
        doubts.asked("stranger", false);
        assert_eq!(said(&doubts), "a / b");
        doubts.follow(&["b".into()]);
        assert_eq!(said(&doubts), " / b");
        doubts.asked("b", true);
        assert_eq!((said(&doubts).as_str(), doubts.is_uneasy()), ("b / ", false));
    }
}
