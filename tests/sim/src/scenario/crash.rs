//! A pod that crashes again and again stays where it is, and what it is: its ReplicaSet counts it.

use std::collections::BTreeSet;
use std::time::Duration;

use coracle_simulate::host::CRASHING_IMAGE;
use coracle_simulate::objects::{Objects, PODS, text};
use coracle_simulate::stage::pods_of;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Stage;

/// Restarts that are waited for. *Source:* the row `ctr.restart-in-place`.
const RESTARTS: i64 = 10;

/// Ten waits between crashes, of which six are the longest.
const WITHIN: Duration = Duration::from_secs(3_600);

pub(super) async fn in_place(stage: &Stage) -> Result<(), String> {
    let container = json!({"name": "main", "image": CRASHING_IMAGE,
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}});
    let template = json!({"spec": {"containers": [container]}});
    stage.workload("ReplicaSet", "crash", json!({"replicas": 3, "template": template})).await?;
    let placed = stage
        .until("three pods have nodes", Duration::from_secs(60), |all| {
            let places = places(all);
            (places.len() == 3).then_some(places)
        })
        .await?;
    let before = placed.clone();
    stage.always("a pod that crashes stays where it is", move |all| {
        pods_of(all, "crash").count() == 3 && places(all) == before
    });
    let began = Instant::now();
    while !all_restarted(&stage.world.oracle.lock().objects) {
        if began.elapsed() > WITHIN {
            return Err(format!("not every pod was started again {RESTARTS} times"));
        }
        sleep(Duration::from_secs(5)).await;
    }
    let now = places(&stage.world.oracle.lock().objects);
    if now == placed { Ok(()) } else { Err(format!("{placed:?} became {now:?}")) }
}

fn all_restarted(objects: &Objects) -> bool {
    let restarts = |pod: &Value| {
        let status = pod.pointer("/status/containerStatuses/0/restartCount");
        status.and_then(Value::as_i64).unwrap_or(0)
    };
    pods_of(objects, "crash").all(|pod| restarts(pod) >= RESTARTS)
}

/// Names, uids and nodes of the pods that have a node.
fn places(objects: &Objects) -> BTreeSet<[String; 3]> {
    let bound = objects.below(PODS).map(|(_, pod)| pod).filter(|pod| {
        text(pod, "/metadata/labels/app") == "crash" && !text(pod, "/spec/nodeName").is_empty()
    });
    let fields = ["/metadata/name", "/metadata/uid", "/spec/nodeName"];
    bound.map(|pod| fields.map(|field| text(pod, field).to_owned())).collect()
}
