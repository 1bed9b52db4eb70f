//! What would happen to a user's own objects when hosts die: `coracle simulate`.
//!
//! In: objects as JSON, how many hosts there are and how many of them die. Out: lines for people. The objects are
//! made, given time to settle, then hosts chosen by the dice die and stay away; at each change it is noted what answers.
//! What a pod really does nobody knows here: each starts within seconds and serves, those that are not started again
//! end after some.

mod apply;
mod history;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use coracle_apiserver::authn::UserInfo;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::host::{Capacity, Host};
use crate::life::{LifeError, live};
use crate::net::Link;
use crate::objects::{NODES, Objects, PODS, is_active, is_ready, is_terminal, text};
use crate::server;
use crate::stage::Stage;
use crate::trace::Trace;
use crate::world::World;
use history::History;

/// How long everything may take to come up before hosts die.
const SETTLES_WITHIN: Duration = Duration::from_secs(180);

/// How long all pods have to be up before everything counts as up: pods of a StatefulSet come one by one.
const CALM_FOR: Duration = Duration::from_secs(15);

/// How long it is watched what becomes of it: pods bear a lost node for five minutes, then they start elsewhere.
const WATCHED_FOR: Duration = Duration::from_secs(600);

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Lines about pods that are told at most; their number is told in any case.
const PODS_TOLD_MAX: usize = 10;

/// Hosts of one simulation at most: the memory of a machine of a developer, and minutes of its time.
pub const HOSTS_MAX: usize = 1_000;

/// How many hosts die.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dying {
    /// This share of them, 0 to 1, rounded up.
    Share(f64),
    /// This many.
    Hosts(usize),
}

impl Dying {
    fn of(self, hosts: usize) -> usize {
        match self {
            Dying::Hosts(count) => count.min(hosts),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of a small number, from 0 to all of it"
            )]
            Dying::Share(share) => (hosts as f64 * share.clamp(0.0, 1.0)).ceil() as usize,
        }
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The objects to make, in this order.
    pub objects: Vec<Value>,
    /// Hosts, 1 to [`HOSTS_MAX`].
    pub hosts: usize,
    /// What each of them has for pods.
    pub capacity: Capacity,
    /// How many of them die.
    pub dies: Dying,
    /// Decides everything else; the same seed is the same answer.
    pub seed: u64,
}

/// What became of it.
#[derive(Debug)]
pub struct Answer {
    /// The story, line by line.
    pub lines: Vec<String>,
    /// What the cluster did that no cluster may; none unless there is a defect.
    pub broken: Vec<String>,
}

/// Plays it to its end, on a thread of its own. Blocks for as long as that takes: seconds, or minutes for hundreds of
/// hosts.
///
/// # Errors
/// The machine gives no thread or folder, or the simulation panicked.
pub fn forecast(question: Question) -> Result<Answer, LifeError> {
    let folder = tempfile::tempdir();
    let folder = folder.map_err(|source| LifeError::Start { what: "a folder", source })?;
    let path = folder.path().to_owned();
    live(question.seed, move || async move { play(&question, &path).await })
}

async fn play(question: &Question, folder: &Path) -> Answer {
    let world = Arc::new(World::new(question.seed, Trace::default()));
    let host = |index| Host::new(&world, index, &question.capacity);
    let hosts: Arc<Vec<Host>> = Arc::new((0..question.hosts).map(host).collect());
    server::start(&world, folder).await;
    hosts.iter().for_each(Host::start);
    let user = UserInfo::new("admin", ["system:masters"]);
    let stage = Stage::new(&world, &hosts, Link::outside(&world, "user", user).client());
    all_ready(&stage).await;
    let lines = answer(&stage, question).await;
    hosts.iter().for_each(Host::kill);
    server::kill(&world);
    let broken = world.oracle.lock().broken.clone();
    Answer { lines, broken }
}

/// Waits until every host takes pods, so that the first ones do not get all of them.
async fn all_ready(stage: &Stage) {
    let n_ready = || {
        let oracle = stage.world.oracle.lock();
        let nodes = oracle.objects.below(NODES).map(|(_, node)| node);
        let takes = |node: &&Value| is_ready(node) && node.pointer("/spec/taints").is_none();
        nodes.filter(takes).count()
    };
    while n_ready() < stage.hosts.len() {
        sleep(LOOK_EVERY).await;
    }
}

async fn answer(stage: &Stage, question: &Question) -> Vec<String> {
    let refused = apply::all(stage, &question.objects).await;
    let mut lines = Vec::new();
    if !refused.is_empty() {
        lines.push("not part of the simulation:".to_owned());
        lines.extend(refused);
    }
    settle(stage).await;
    lines.extend(state(stage, "before"));
    let dead = kill(stage, question);
    if dead.is_empty() {
        return lines;
    }
    lines.push(format!("{} of {} hosts die: {}", dead.len(), stage.hosts.len(), list(&dead)));
    let history = watch(stage, &dead).await;
    lines.push(String::new());
    lines.extend(history.lines());
    lines.extend(state(stage, "ten minutes later"));
    lines.extend(stuck(&stage.world.oracle.lock().objects, &dead));
    lines.push(String::new());
    lines.push("in short:".to_owned());
    lines.extend(history.summary(WATCHED_FOR));
    lines
}

/// Looks at each change of what matters, for as long as pods take to start elsewhere.
async fn watch(stage: &Stage, dead: &BTreeSet<String>) -> History {
    let began = Instant::now();
    let mut history = History::default();
    let mut seen = 0;
    while began.elapsed() < WATCHED_FOR {
        {
            let oracle = stage.world.oracle.lock();
            let new = oracle.log.get(seen..).unwrap_or_default();
            if seen == 0 || new.iter().any(|logged| history::matters(&logged.key)) {
                history.look(began.elapsed(), &oracle.objects, dead);
            }
            seen = oracle.log.len();
        }
        sleep(LOOK_EVERY).await;
    }
    history
}

/// Waits until every pod runs, has ended or is known to have no room, and no more pods come.
async fn settle(stage: &Stage) {
    let began = Instant::now();
    let mut calm_since = Instant::now();
    // Objects that make no pods, and pods that never come up, are no reason to wait for longer.
    while began.elapsed() < SETTLES_WITHIN && calm_since.elapsed() < CALM_FOR {
        if !is_calm(&stage.world.oracle.lock().objects) {
            calm_since = Instant::now();
        }
        sleep(LOOK_EVERY).await;
    }
}

fn is_calm(objects: &Objects) -> bool {
    let rests = |pod: &Value| is_ready(pod) || is_terminal(pod) || refusal(pod).is_some();
    objects.below(PODS).all(|(_, pod)| rests(pod))
}

/// What the scheduler says of a pod without a node.
fn refusal(pod: &Value) -> Option<&str> {
    let conditions = pod.pointer("/status/conditions")?.as_array()?;
    let condition = conditions.iter().find(|c| c["reason"] == "Unschedulable")?;
    condition["message"].as_str()
}

/// Kills hosts that dice of their own choose, so that it depends on nothing but the seed which they are.
fn kill(stage: &Stage, question: &Question) -> BTreeSet<String> {
    let hosts = &stage.hosts;
    let mut dice = StdRng::seed_from_u64(question.seed);
    let chosen = sample(&mut dice, hosts.len(), question.dies.of(hosts.len()));
    let killed = chosen.into_iter().map(|index| {
        hosts[index].kill();
        hosts[index].name.clone()
    });
    killed.collect()
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// How many pods run where, and which wait for what.
fn state(stage: &Stage, when: &str) -> Vec<String> {
    let oracle = stage.world.oracle.lock();
    let pods: Vec<(&str, &Value)> = oracle.objects.below(PODS).collect();
    let running = pods.iter().filter(|(_, pod)| is_ready(pod) && is_active(pod));
    let nodes: BTreeSet<&str> =
        running.clone().map(|(_, pod)| text(pod, "/spec/nodeName")).collect();
    let waiting: Vec<_> = pods.iter().filter_map(|(key, pod)| Some((key, refusal(pod)?))).collect();
    let mut lines = vec![format!(
        "{when}: {} pods are ready on {} hosts, {} have no room",
        running.count(),
        nodes.len(),
        waiting.len(),
    )];
    for (key, why) in waiting.iter().take(PODS_TOLD_MAX) {
        lines.push(format!("  pod {} has no room: {why}", key.trim_start_matches(PODS)));
    }
    lines
}

/// Pods that nobody replaces, because nobody knows that they run no more.
fn stuck(objects: &Objects, dead: &BTreeSet<String>) -> Vec<String> {
    let held = objects.below(PODS).filter(|(_, pod)| {
        let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let is_stateful = owners.into_iter().flatten().any(|owner| owner["kind"] == "StatefulSet");
        is_stateful && dead.contains(text(pod, "/spec/nodeName"))
    });
    let told = held.take(PODS_TOLD_MAX).map(|(key, pod)| {
        format!(
            "  pod {} waits on {}: it is not started elsewhere before its end is certain \
             (kubectl delete pod --force, or delete the Node)",
            key.trim_start_matches(PODS),
            text(pod, "/spec/nodeName"),
        )
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_up_and_no_more_die_than_there_are() {
        let check = |dies: Dying, hosts, expected| assert_eq!(dies.of(hosts), expected, "{dies:?}");
        check(Dying::Share(0.1), 50, 5);
        check(Dying::Share(0.1), 4, 1);
        check(Dying::Share(0.0), 4, 0);
        check(Dying::Share(7.0), 4, 4);
        check(Dying::Hosts(2), 4, 2);
        check(Dying::Hosts(9), 4, 4);
    }
}
