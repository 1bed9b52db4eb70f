//! Why no node takes a pod, counted over the nodes, in upstream's words.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::filters::{Cause, Refusal};

/// What displacing other pods would bring, per node.
const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
pub(crate) const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// Why no node takes a pod.
///
/// `Display` gives the message of the `FailedScheduling` event.
/// *Source:* `framework.FitError`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FitError {
    /// Number of known nodes.
    pub nodes: usize,
    /// How many nodes gave each reason.
    pub reasons: BTreeMap<String, usize>,
    /// Which filters refused.
    pub causes: BTreeSet<Cause>,
    /// How many nodes gave each reason why displacing pods does not help; empty when it does.
    pub preemption: BTreeMap<String, usize>,
    /// Whether the pod may displace others at all.
    pub may_preempt: bool,
    /// What is wrong with the group that it is placed together with, if that is it.
    pub group: Option<String>,
}

impl FitError {
    /// Begins to count over that many nodes.
    pub fn new(nodes: usize, may_preempt: bool) -> Self {
        FitError { nodes, may_preempt, ..FitError::default() }
    }

    /// Counts the refusal of one node.
    pub fn count(&mut self, refusal: Refusal) {
        self.causes.insert(refusal.cause);
        for reason in refusal.reasons {
            count_one(&mut self.reasons, reason);
        }
        if !refusal.preemption_may_help {
            count_one(&mut self.preemption, Cow::Borrowed(NOT_HELPFUL));
        }
    }

    /// Counts why displacing pods does not help on one node.
    pub fn count_preemption(&mut self, reasons: &[String]) {
        for reason in reasons {
            count_one(&mut self.preemption, Cow::Borrowed(reason));
        }
    }
}

/// Counts a text, which most of thousands of nodes share: only the first is copied.
fn count_one(counts: &mut BTreeMap<String, usize>, text: Cow<'_, str>) {
    match counts.get_mut(text.as_ref()) {
        Some(count) => *count += 1,
        None => {
            counts.insert(text.into_owned(), 1);
        }
    }
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(group) = &self.group {
            f.write_str(group)?;
            if self.reasons.is_empty() {
                return Ok(());
            }
            f.write_str(": ")?;
        }
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let nodes = self.nodes;
        let reasons = self.reasons.iter().map(|(reason, count)| (reason.as_str(), *count));
        write!(f, "0/{nodes} nodes are available: {}.", histogram(reasons))?;
        if !self.may_preempt {
            return f.write_str(" preemption: not eligible due to preemptionPolicy=Never.");
        }
        if self.preemption.is_empty() {
            return Ok(());
        }
        let verdicts = self.preemption.iter().map(|(verdict, count)| (verdict.as_str(), *count));
        write!(f, " preemption: 0/{nodes} nodes are available: {}.", histogram(verdicts))
    }
}

impl std::error::Error for FitError {}

/// Writes `2 reason, 1 other`, sorted as text.
fn histogram<'a>(counts: impl Iterator<Item = (&'a str, usize)>) -> String {
    let mut parts: Vec<String> = counts.map(|(text, count)| format!("{count} {text}")).collect();
    parts.sort();
    parts.join(", ")
}
