//! What would happen to a user's own objects when hosts die: `coracle simulate`.
//!
//! In: objects as JSON, how many hosts there are and which share of them dies. Out: lines for people. The objects are
//! made, given time to settle, then hosts chosen by the dice die and stay away; each second it is noted what answers.
//! What a pod really does nobody knows here: each starts within seconds and serves.

mod apply;
mod history;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::oracle::Objects;
use crate::promises::{PODS, is_active, is_ready, is_terminal, text};
use crate::scenario::Stage;
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

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The objects to make, in this order.
    pub(crate) objects: Vec<Value>,
    /// Share of the hosts that dies, 0 to 1.
    pub(crate) dies: f64,
}

/// Plays it, and gives the answer line by line.
pub(crate) async fn answer(stage: &Stage, question: &Question) -> Vec<String> {
    let mut lines = apply::all(stage, &question.objects).await;
    settle(stage).await;
    lines.extend(state(stage, "before"));
    let dead = kill(stage, question.dies);
    if dead.is_empty() {
        return lines;
    }
    lines.push(format!("{} of {} hosts die: {}", dead.len(), stage.hosts.len(), list(&dead)));
    let began = Instant::now();
    let mut history = History::default();
    while began.elapsed() < WATCHED_FOR {
        history.look(began.elapsed(), &stage.world.oracle.lock().objects, &dead);
        sleep(LOOK_EVERY).await;
    }
    lines.extend(history.lines());
    lines.extend(state(stage, "ten minutes later"));
    lines.extend(stuck(&stage.world.oracle.lock().objects, &dead));
    lines
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

fn kill(stage: &Stage, share: f64) -> BTreeSet<String> {
    let n_hosts = stage.hosts.len();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a small number, from 0 to all of it"
    )]
    let n_dead = (n_hosts as f64 * share.clamp(0.0, 1.0)).ceil() as usize;
    let mut dead = BTreeSet::new();
    while dead.len() < n_dead {
        let host = &stage.hosts[stage.world.pick(0..n_hosts)];
        if dead.insert(host.name.clone()) {
            host.kill();
        }
    }
    dead
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
