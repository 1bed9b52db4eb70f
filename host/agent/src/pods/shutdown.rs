//! In which order pods end when the machine goes down, and how long each may take: pure.
//!
//! *Source:* kubelet's graceful node shutdown: critical pods end last, in a time of their own.

use std::collections::VecDeque;
use std::time::Duration;

/// Reason of a pod that was ended because the machine goes down.
pub const TERMINATED: &str = "Terminated";
/// Its sentence.
pub const TERMINATED_MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";
/// Reason of a pod that comes while the machine goes down.
pub const NODE_SHUTDOWN: &str = "NodeShutdown";
/// Its sentence.
pub const NODE_SHUTDOWN_MESSAGE: &str = "Pod was rejected as the node is shutting down.";

/// How long the pods of a machine that goes down may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownGrace {
    /// All of them together.
    pub total: Duration,
    /// The part of it that is for critical pods, which end after all others.
    pub critical: Duration,
}

impl Default for ShutdownGrace {
    /// Half a minute, the usual grace period of a pod, a third of it for critical ones.
    fn default() -> Self {
        Self { total: Duration::from_secs(30), critical: Duration::from_secs(10) }
    }
}

/// Pods that end together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Their uids.
    pub uids: Vec<String>,
    /// How long they may take.
    pub grace: Duration,
}

/// Gives the turns in which `pods` end: uid, and whether a pod is critical.
#[must_use]
pub fn turns(pods: Vec<(String, bool)>, grace: ShutdownGrace) -> VecDeque<Turn> {
    let (critical, usual): (Vec<_>, Vec<_>) = pods.into_iter().partition(|(_, last)| *last);
    let turn = |pods: Vec<(String, bool)>, grace| {
        let mut uids: Vec<String> = pods.into_iter().map(|(uid, _)| uid).collect();
        uids.sort();
        Turn { uids, grace }
    };
    let first = grace.total.saturating_sub(grace.critical);
    let turns = [turn(usual, first), turn(critical, grace.critical.min(grace.total))];
    turns.into_iter().filter(|turn| !turn.uids.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_pods_end_last_in_their_own_time() {
        let seconds = Duration::from_secs;
        let grace = ShutdownGrace { total: seconds(30), critical: seconds(10) };
        let pod = |uid: &str, critical| (uid.to_owned(), critical);
        let shown = |pods| -> Vec<(String, u64)> {
            let turn = |turn: Turn| (turn.uids.join(" "), turn.grace.as_secs());
            turns(pods, grace).into_iter().map(turn).collect()
        };
        let both = vec![pod("dns", true), pod("web", false), pod("app", false)];
        assert_eq!(shown(both), [("app web".into(), 20), ("dns".into(), 10)]);
        assert_eq!(shown(vec![pod("dns", true)]), [("dns".into(), 10)]);
        assert!(shown(Vec::new()).is_empty());
    }
}
