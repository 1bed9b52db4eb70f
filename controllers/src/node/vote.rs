//! What hosts say of each other, and what follows from it: pure.
//!
//! A host watches a few others over the tunnel and says in the annotations of its Lease which of them answer. When a
//! majority of those that watch a host get no answer, the host is asked to renew its Lease at once; if it does not, it
//! is lost, long before its Lease would have ended. One host alone takes nobody out, whatever it says. One that is doubted
//! for long although it answers is asked less and less. Where many are doubted at once, rather the way between hosts is
//! broken than they are: then nobody is asked and nobody is lost before its Lease ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_api::peers::{ANSWER, SILENT};
use k8s_openapi::api::coordination::v1::Lease;

/// Names that are read of an annotation: far more than a host watches.
const NAMED_MAX: usize = 32;
/// Fewer than these take nobody out: one may lie.
const DOUBTS_MIN: usize = 2;
/// A Lease that is not older needs no asking. Doubled each time that a host which answers the server and not its peers
/// is asked in vain, up to [`ASK_AFTER_MAX`].
const ASK_AFTER: Duration = Duration::from_secs(2);
/// Hosts renew their Leases every 10 s by themselves, and the way takes time: one that does is not asked any more.
const ASK_AFTER_MAX: Duration = Duration::from_secs(12);
/// Of this many hosts that are ready one may be doubted; when more are, and more than one, nobody's word is taken.
const DOUBTED_SHARE: usize = 3;
/// When a doubt that is one of too many is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long a host may take to renew its Lease when it is asked to.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// What the hosts say of each other.
#[derive(Debug, Default)]
pub(super) struct Votes {
    /// What each witness says.
    said: BTreeMap<String, Said>,
    /// The same by the host that it is said of: its witnesses, and whether it is silent for them.
    of: BTreeMap<String, BTreeMap<String, bool>>,
}

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
            Some(said) => self.said.insert(witness.to_owned(), said),
            None => self.said.remove(witness),
        };
        let (before, now) = (before.unwrap_or_default(), said.unwrap_or_default());
        let answer = before.answer.symmetric_difference(&now.answer);
        let changed = answer.chain(before.silent.symmetric_difference(&now.silent));
        let changed: BTreeSet<String> = changed.cloned().collect();
        for host in &changed {
            self.note(host, witness, now.is_silent(host));
        }
        changed
    }

    fn note(&mut self, host: &str, witness: &str, is_silent: Option<bool>) {
        let said = self.of.entry(host.to_owned()).or_default();
        match is_silent {
            Some(is_silent) => said.insert(witness.to_owned(), is_silent),
            None => said.remove(witness),
        };
        if said.is_empty() {
            self.of.remove(host);
        }
    }

    /// Whether a majority of the hosts that watch this one, and at least two, get no answer. `counts`: which hosts'
    /// word is taken; asked only for those that watch it.
    pub(super) fn doubt(&self, host: &str, counts: impl Fn(&str) -> bool) -> bool {
        let said = self.of.get(host).into_iter().flatten();
        let others = said.filter(|(witness, _)| *witness != host && counts(witness));
        let (mut silent, mut all) = (0, 0);
        for (_, is_silent) in others {
            silent += usize::from(*is_silent);
            all += 1;
        }
        silent >= DOUBTS_MIN && silent * 2 > all
    }

    /// Whether more than a third of the hosts that are ready, and more than one, are doubted at the same time.
    /// `ready`: how many are; `is_ready`: which are, and so whose word is taken. *Source:* Kubernetes docs, "Nodes: Rate
    /// limits on eviction", which slow down likewise when much of a cluster seems to be gone.
    pub(super) fn is_widespread(&self, ready: usize, is_ready: impl Fn(&str) -> bool) -> bool {
        let doubted = self.of.keys().filter(|host| self.doubt(host, &is_ready) && is_ready(host));
        let enough = (ready / DOUBTED_SHARE).max(1);
        // No more are counted than it takes: each host that is looked at comes here.
        doubted.take(enough + 1).count() > enough
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

    /// Whether a host is silent; `None`: nothing is said of it.
    fn is_silent(&self, host: &str) -> Option<bool> {
        let is_silent = self.silent.contains(host);
        (is_silent || self.answer.contains(host)).then_some(is_silent)
    }
}

/// What is known besides a host's own Lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vote {
    /// A majority of the hosts that watch it, and at least two, get no answer.
    pub doubted: bool,
    /// It is one of too many that are doubted at the same time for that to be believed.
    pub widespread: bool,
    /// How often it did renew its Lease when it was asked to, since it is doubted.
    pub answered: u32,
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
    if vote.widespread {
        return Verdict::Later(LOOK_AGAIN);
    }
    let pause = ask_after(vote.answered);
    match vote.asked_for {
        Some(waited) if waited >= ANSWER_MAX => Verdict::Lost,
        Some(waited) => Verdict::Later(ANSWER_MAX - waited),
        None if silent < pause => Verdict::Later(pause - silent),
        None => Verdict::Ask(ANSWER_MAX),
    }
}

/// How old a Lease may be until its host is asked, when it was asked in vain this often.
fn ask_after(answered: u32) -> Duration {
    ASK_AFTER.saturating_mul(2_u32.saturating_pow(answered)).min(ASK_AFTER_MAX)
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
    fn only_those_that_watch_a_host_are_looked_up() {
        let votes = votes("a: /c\nb: c/\nc: a/b\nd: a,b/");
        let asked = std::cell::RefCell::new(Vec::new());
        let counts = |witness: &str| {
            asked.borrow_mut().push(witness.to_owned());
            true
        };
        assert!(!votes.doubt("c", counts));
        assert_eq!(*asked.borrow(), ["a", "b"]);
    }

    #[test]
    fn what_was_said_before_is_forgotten() {
        let mut votes = votes("a: /c\nb: /c");
        assert!(votes.doubt("c", |_| true));
        votes.set("b", Some(&lease("c", "")));
        assert!(!votes.doubt("c", |_| true));
        votes.set("b", Some(&lease("", "c")));
        assert!(votes.doubt("c", |_| true));
        votes.set("b", None);
        assert!(!votes.doubt("c", |_| true));
        votes.set("a", None);
        assert!(votes.of.is_empty() && votes.said.is_empty());
    }

    #[test]
    fn more_than_a_third_and_more_than_one_are_not_believed() {
        // Witnesses w0 and w1 are silent of the first hosts; nobody doubts the others.
        let check = |doubted: usize, ready: usize, expected: bool| {
            let hosts: Vec<String> = (0..doubted).map(|number| format!("h{number:02}")).collect();
            let votes = votes(&format!("w0: /{0}\nw1: /{0}", hosts.join(",")));
            let found = votes.is_widespread(ready, |_| true);
            assert_eq!(found, expected, "{doubted} of {ready}");
        };
        check(0, 3, false);
        check(1, 2, false);
        check(1, 3, false);
        check(2, 3, true);
        check(2, 5, true);
        check(2, 6, false);
        check(3, 6, true);
        check(3, 9, false);
        check(4, 9, true);
        check(30, 90, false);
        check(31, 90, true);
        check(2, 0, true);
    }

    #[test]
    fn those_that_are_lost_already_are_no_part_of_it() {
        let votes = votes("a: /c,d\nb: /c,d");
        assert!(votes.is_widespread(4, |_| true));
        assert!(!votes.is_widespread(3, |host| host != "d"));
    }

    #[test]
    fn a_host_that_answers_each_time_is_asked_less_and_less() {
        let pauses: Vec<u64> = [0, 1, 2, 3, 4, 40, u32::MAX]
            .into_iter()
            .map(|answered| {
                let vote = Vote { doubted: true, answered, ..Vote::default() };
                let Verdict::Later(pause) = verdict(&vote, Some(Duration::ZERO)) else {
                    panic!("asked at once after {answered}")
                };
                assert_eq!(verdict(&vote, Some(pause)), Verdict::Ask(ANSWER_MAX));
                pause.as_secs()
            })
            .collect();
        assert_eq!(pauses, [2, 4, 8, 12, 12, 12, 12]);
    }

    #[test]
    fn where_many_are_doubted_nobody_is_asked_or_lost() {
        let seconds = Duration::from_secs;
        for (silent, asked) in [(1, None), (30, None), (30, Some(1)), (30, Some(20))] {
            let asked_for = asked.map(seconds);
            let vote = Vote { doubted: true, widespread: true, asked_for, answered: 0 };
            assert_eq!(verdict(&vote, Some(seconds(silent))), Verdict::Later(LOOK_AGAIN));
        }
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
            let vote = Vote { doubted, asked_for, ..Vote::default() };
            verdict(&vote, silent.map(Duration::from_secs))
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
