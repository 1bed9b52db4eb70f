//! What hosts say of each other, and what follows from it: pure.
//!
//! A host watches a few others over the tunnel and says in the annotations of its Lease which of them answer. When a
//! majority of those that watch a host get no answer, the host is asked to renew its Lease at once; if it does not, it
//! is lost, long before its Lease would have ended. One host alone takes nobody out, whatever it says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;

/// The annotation of a host's Lease with the hosts that answer it, joined by commas; `network::tunnel` writes it.
const ANSWER: &str = "coracle.dev/peers-answer";
/// The annotation with the hosts that it watches and that do not answer.
const SILENT: &str = "coracle.dev/peers-silent";
/// The annotation of a Node by which its host is asked to renew its Lease at once.
pub(super) const RENEW: &str = "coracle.dev/renew-asked";

/// Names that are read of an annotation: far more than a host watches.
const NAMED_MAX: usize = 32;
/// Fewer than these take nobody out: one may lie.
const DOUBTS_MIN: usize = 2;
/// A Lease that is not older needs no asking: also the pause between two times that a host is asked which answers the
/// server and not its peers.
const ASK_AFTER: Duration = Duration::from_secs(2);
/// How long a host may take to renew its Lease when it is asked to.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// What the hosts say of each other.
#[derive(Debug, Default)]
pub(super) struct Votes(BTreeMap<String, Said>);

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Said {
    answer: BTreeSet<String>,
    silent: BTreeSet<String>,
}

impl Votes {
    /// Takes in a host's Lease, `None` when it is deleted; gives the hosts of which it says something new.
    pub(super) fn set(&mut self, witness: &str, lease: Option<&Lease>) -> BTreeSet<String> {
        let said = lease.map(Said::of).filter(|said| *said != Said::default());
        let before = match said.clone() {
            Some(said) => self.0.insert(witness.to_owned(), said),
            None => self.0.remove(witness),
        };
        let (before, now) = (before.unwrap_or_default(), said.unwrap_or_default());
        let answer = before.answer.symmetric_difference(&now.answer);
        answer.chain(before.silent.symmetric_difference(&now.silent)).cloned().collect()
    }

    /// Whether a majority of the hosts that watch this one, and at least two, get no answer. `counts`: which hosts'
    /// word is taken.
    pub(super) fn doubt(&self, host: &str, counts: impl Fn(&str) -> bool) -> bool {
        let others = self.0.iter().filter(|(witness, _)| *witness != host && counts(witness));
        let (mut silent, mut all) = (0, 0);
        for (_, said) in others {
            let is_silent = said.silent.contains(host);
            silent += usize::from(is_silent);
            all += usize::from(is_silent || said.answer.contains(host));
        }
        silent >= DOUBTS_MIN && silent * 2 > all
    }
}

impl Said {
    fn of(lease: &Lease) -> Self {
        let names = |key: &str| -> BTreeSet<String> {
            let annotations = lease.metadata.annotations.as_ref();
            let text = annotations.and_then(|all| all.get(key)).map_or("", String::as_str);
            let named = text.split(',').filter(|name| !name.is_empty());
            named.take(NAMED_MAX).map(str::to_owned).collect()
        };
        Self { answer: names(ANSWER), silent: names(SILENT) }
    }
}

/// What is known besides a host's own Lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vote {
    /// A majority of the hosts that watch it, and at least two, get no answer.
    pub doubted: bool,
    /// How long ago it was asked to renew its Lease; `None`: it was not since it last did.
    pub asked_for: Option<Duration>,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Trusted,
    /// Nothing yet: look again after this time.
    Later(Duration),
    /// It is to be asked, and looked at again after this time.
    Ask(Duration),
    /// Its peers and its Lease agree.
    Lost,
}

/// Judges a host whose Lease has stood still for `silent`; `None`: not known.
pub(super) fn verdict(vote: &Vote, silent: Option<Duration>) -> Verdict {
    let Some(silent) = silent.filter(|_| vote.doubted) else { return Verdict::Trusted };
    match vote.asked_for {
        Some(waited) if waited >= ANSWER_MAX => Verdict::Lost,
        Some(waited) => Verdict::Later(ANSWER_MAX - waited),
        None if silent < ASK_AFTER => Verdict::Later(ASK_AFTER - silent),
        None => Verdict::Ask(ANSWER_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(answer: &str, silent: &str) -> Lease {
        serde_json::from_value(
            json!({"metadata": {"annotations": {ANSWER: answer, SILENT: silent}}}),
        )
        .unwrap()
    }

    /// `said`: a line for each host, `NAME: those that answer / those that do not`.
    fn votes(said: &str) -> Votes {
        let mut votes = Votes::default();
        for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (witness, lists) = line.split_once(": ").unwrap();
            let (answer, silent) = lists.split_once('/').unwrap();
            votes.set(witness, Some(&lease(answer, silent)));
        }
        votes
    }

    fn check(said: &str, lost: &[&str]) {
        let votes = votes(said);
        let found: Vec<&str> =
            ["a", "b", "c", "d"].into_iter().filter(|host| votes.doubt(host, |_| true)).collect();
        assert_eq!(found, lost, "{said}");
    }

    #[test]
    fn a_majority_of_at_least_two_takes_a_host_out_and_one_liar_nobody() {
        check("a: b,c/\nb: a,c/\nc: a,b/", &[]);
        check("a: b/c\nb: a/c\nc: /a,b", &["c"]);
        // One that says it of all is alone with it.
        check("a: /b,c\nb: a,c/\nc: a,b/", &[]);
        // Of two hosts neither takes the other out.
        check("a: /b\nb: a/", &[]);
        check("a: /d\nb: d/\nc: /d\nd: a,b,c/", &["d"]);
        check("a: /d\nb: /d\nc: d/\nd: a,b,c/", &["d"]);
        check("a: /d\nb: d/\nc: d/", &[]);
        // Half is no majority, and nobody's own word counts.
        check("a: /d\nb: /d\nc: d/\ne: d/", &[]);
        check("a: /d\nd: /d", &[]);
    }

    #[test]
    fn only_the_word_of_hosts_that_are_there_counts() {
        let votes = votes("a: /c\nb: /c\nd: c/");
        assert!(votes.doubt("c", |_| true));
        assert!(!votes.doubt("c", |witness| witness != "b"));
    }

    #[test]
    fn news_are_told_once() {
        let mut votes = Votes::default();
        let mut set = |lease: Option<&Lease>| {
            votes.set("a", lease).into_iter().collect::<Vec<String>>().join(" ")
        };
        assert_eq!(set(Some(&lease("b,c", ""))), "b c");
        assert_eq!(set(Some(&lease("c,b", ""))), "");
        assert_eq!(set(Some(&lease("b", "c"))), "c");
        assert_eq!(set(None), "b c");
        assert_eq!(set(None), "");
        let many: Vec<String> = (0..=NAMED_MAX).map(|number| number.to_string()).collect();
        assert_eq!(votes.set("a", Some(&lease("", &many.join(",")))).len(), NAMED_MAX);
    }

    #[test]
    fn a_doubted_host_is_asked_and_lost_only_without_an_answer() {
        let judge = |doubted, silent: Option<u64>, asked: Option<u64>| {
            let asked_for = asked.map(Duration::from_secs);
            verdict(&Vote { doubted, asked_for }, silent.map(Duration::from_secs))
        };
        let seconds = Duration::from_secs;
        assert_eq!(judge(false, Some(30), Some(30)), Verdict::Trusted);
        assert_eq!(judge(true, None, None), Verdict::Trusted);
        assert_eq!(judge(true, Some(1), None), Verdict::Later(seconds(1)));
        assert_eq!(judge(true, Some(2), None), Verdict::Ask(seconds(3)));
        assert_eq!(judge(true, Some(4), Some(2)), Verdict::Later(seconds(1)));
        assert_eq!(judge(true, Some(5), Some(3)), Verdict::Lost);
    }
}
