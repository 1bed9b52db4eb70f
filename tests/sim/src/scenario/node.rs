//! Hosts that are lost: what is told of them, what moves and when, and what never runs twice.

use std::collections::BTreeSet;
use std::time::Duration;

use coracle_simulate::objects::{NODES, Objects, PODS, is_active, is_ready, text};
use coracle_simulate::stage::{n_ready, pods_of};
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Stage;
use crate::rest;

/// How long a lost host may count as ready. *Source:* the row `node.lost-status`.
const NOTICED_WITHIN: Duration = Duration::from_secs(50);

/// Pods bear a lost node for five minutes; then they start elsewhere.
const MOVED_WITHIN: Duration = Duration::from_secs(300 + 60);

const DB: &str = "/registry/core/pods/default/db-0";

/// A Deployment with a Service, and a StatefulSet, both ready. Gives the node of the latter's first pod.
async fn prepare(stage: &Stage) -> Result<String, String> {
    stage.workload("Deployment", "web", json!({"replicas": 9})).await?;
    stage.service("web").await?;
    stage.workload("StatefulSet", "db", json!({"replicas": 2, "serviceName": "db"})).await?;
    stage.until_ready("web", 9).await?;
    stage.until_ready("db", 2).await?;
    Ok(text(&stage.get(DB)?, "/spec/nodeName").to_owned())
}

pub(super) async fn lost(stage: &Stage) -> Result<(), String> {
    let node = prepare(stage).await?;
    bound_once(stage).await?;
    let before = on_node(stage, "web", &node);
    if before.is_empty() {
        return Err(format!("no pod of web is on {node}"));
    }
    stage.host(&node)?.kill();
    noticed(stage, &node, &before).await?;

    let names: BTreeSet<String> =
        before.iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect();
    stage
        .until("the Deployment's pods are replaced by new ones", MOVED_WITHIN, |objects| {
            let fresh = pods_of(objects, "web").filter(|pod| is_ready(pod) && is_active(pod));
            let fresh = fresh.filter(|pod| text(pod, "/spec/nodeName") != node);
            let same =
                pods_of(objects, "web").filter(|pod| names.contains(text(pod, "/metadata/uid")));
            (fresh.count() == 9 && same.into_iter().all(|pod| !is_active(pod))).then_some(())
        })
        .await?;
    // A StatefulSet's pod is not: nobody knows that it runs no more.
    let old = stays(stage, Duration::from_secs(600)).await?;
    stage.world.oracle.lock().known.forced.insert("default/db-0".to_owned());
    stage.world.oracle.lock().known.deleted_by_user.insert(DB.to_owned());
    let force = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
    stage.send(Method::DELETE, "/api/v1/namespaces/default/pods/db-0", &force).await;
    elsewhere(stage, &old, &node).await?;

    stage.host(&node)?.start();
    at_rest(stage).await?;
    let kept = on_node(stage, "web", &node);
    let same = kept.iter().find(|pod| names.contains(text(pod, "/metadata/uid")));
    same.map_or(Ok(()), |pod| Err(format!("{} is still there", text(pod, "/metadata/name"))))
}

pub(super) async fn partition(stage: &Stage) -> Result<(), String> {
    let node = prepare(stage).await?;
    let old = text(&stage.get(DB)?, "/metadata/uid").to_owned();
    stage.world.weather.send_modify(|weather| {
        weather.cut_off.insert(node.clone());
    });
    // It still runs over there, and is the only one: the model of the hosts tells when two run.
    let kept = stays(stage, Duration::from_secs(900)).await?;
    if kept != old {
        return Err("another db-0 was made".to_owned());
    }
    stage.world.weather.send_modify(|weather| {
        weather.cut_off.remove(&node);
    });
    let back = Duration::from_secs(180);
    stage
        .until("the host confirms the end, and another db-0 runs", back, |objects| {
            let pod = objects.get(DB)?;
            (text(pod, "/metadata/uid") != old && is_ready(pod)).then_some(())
        })
        .await?;
    at_rest(stage).await?;
    one_writer_at_a_time(stage, 2)
}

/// The written history: whoever ran as `db-0`, one began when the other had ended.
fn one_writer_at_a_time(stage: &Stage, expected: usize) -> Result<(), String> {
    let stays = stage.world.stays.lock();
    let own: Vec<_> = stays.iter().filter(|stay| stay.place == "default/db-0").collect();
    let two = own.windows(2).find(|pair| pair[0].until.is_none_or(|until| until > pair[1].from));
    if let Some(pair) = two {
        return Err(format!("two wrote at once: {pair:?}"));
    }
    let uids: BTreeSet<&str> = own.iter().map(|stay| stay.uid.as_str()).collect();
    if uids.len() != expected {
        return Err(format!("{expected} were to write, it was {own:?}"));
    }
    Ok(())
}

/// Whether a bound pod stays where it is, whoever asks for another node.
async fn bound_once(stage: &Stage) -> Result<(), String> {
    let before = stage.get(DB)?["spec"]["nodeName"].clone();
    let path = "/api/v1/namespaces/default/pods/db-0";
    let other = json!({"spec": {"nodeName": "elsewhere"}});
    let (patched, _) = stage.send(Method::PATCH, path, &other).await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "db-0"},
        "target": {"kind": "Node", "name": "elsewhere"}});
    let (bound, _) = stage.send(Method::POST, &format!("{path}/binding"), &binding).await;
    let after = stage.get(DB)?["spec"]["nodeName"].clone();
    if patched == 422 && bound == 409 && before == after {
        return Ok(());
    }
    Err(format!(
        "a second binding was answered with {patched} and {bound}, {before} is now {after}"
    ))
}

fn on_node(stage: &Stage, app: &str, node: &str) -> Vec<Value> {
    let oracle = stage.world.oracle.lock();
    let all = pods_of(&oracle.objects, app).filter(|pod| text(pod, "/spec/nodeName") == node);
    all.cloned().collect()
}

/// Waits until the node is not ready, its pods neither, and the Service without them.
async fn noticed(stage: &Stage, node: &str, pods: &[Value]) -> Result<(), String> {
    let key = format!("{NODES}{node}");
    let addresses: BTreeSet<&str> = pods.iter().map(|pod| text(pod, "/status/podIP")).collect();
    stage
        .until("the loss is known to all", NOTICED_WITHIN, |objects| {
            let conditions = objects.get(&key)?["status"]["conditions"].as_array()?;
            let unknown =
                conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "Unknown");
            let on_node = pods_of(objects, "web").filter(|pod| text(pod, "/spec/nodeName") == node);
            let quiet = on_node.into_iter().all(|pod| !is_ready(pod));
            let led_to = rest::endpoints(objects, "default", "web");
            (unknown && quiet && led_to.is_disjoint(&addresses)).then_some(())
        })
        .await
}

/// Looks for a time whether `db-0` stays the same, and gives its uid.
async fn stays(stage: &Stage, lasting: Duration) -> Result<String, String> {
    let uid = text(&stage.get(DB)?, "/metadata/uid").to_owned();
    let began = Instant::now();
    while began.elapsed() < lasting {
        if text(&stage.get(DB)?, "/metadata/uid") != uid {
            return Err("a second db-0 was made while nobody knew of the first".to_owned());
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(uid)
}

async fn elsewhere(stage: &Stage, old: &str, node: &str) -> Result<(), String> {
    stage
        .until("another db-0 runs elsewhere", Duration::from_secs(60), |objects| {
            let pod = objects.get(DB)?;
            let other = text(pod, "/metadata/uid") != old && text(pod, "/spec/nodeName") != node;
            (other && is_ready(pod)).then_some(())
        })
        .await
}

/// Waits until all is as it was asked for: every host runs what is bound to it and nothing else, and the Service leads
/// to the ready pods alone.
async fn at_rest(stage: &Stage) -> Result<(), String> {
    let began = Instant::now();
    while let Some(why) = rest::unrest(&stage.world, &stage.hosts) {
        if began.elapsed() > Duration::from_secs(300) {
            return Err(format!("no rest after the host came back: {why}"));
        }
        sleep(Duration::from_millis(500)).await;
    }
    let ready =
        |objects: &Objects| n_ready(objects, "web") == 9 && objects.below(PODS).count() == 11;
    let oracle = stage.world.oracle.lock();
    if ready(&oracle.objects) {
        Ok(())
    } else {
        Err("there are other pods than asked for".to_owned())
    }
}
