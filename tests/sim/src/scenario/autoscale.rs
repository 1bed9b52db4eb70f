//! An autoscaler under a load that comes and goes: up to what the load asks for, and down when nobody has asked for more
//! for five minutes.

use std::time::Duration;

use coracle_simulate::objects::{DEPLOYMENTS, Objects, count};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Stage;

/// What each pod may use: half of the tenth of a CPU that it requests.
const TARGET_MILLIS: u64 = 50;

/// How long an autoscaler looks back before it makes less. *Source:* `stabilizationWindowSeconds` of `scaleDown`.
const STABLE_FOR: Duration = Duration::from_secs(300);

/// Two looks of the autoscaler, 15 s each, and the time that pods take to start and to count.
const NOTICED_WITHIN: Duration = Duration::from_secs(120);

pub(super) async fn follows_load(stage: &Stage) -> Result<(), String> {
    set_load(stage, 2 * TARGET_MILLIS);
    stage.workload("Deployment", "web", json!({"replicas": 2})).await?;
    stage.until_ready("web", 2).await?;
    let resource = json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 50}}});
    let object = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"}, "spec": {"minReplicas": 1, "maxReplicas": 10, "metrics": [resource],
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    stage.make(path, object).await?;
    sleep(Duration::from_secs(60)).await;
    stays(stage, 2, Duration::from_secs(60)).await?;

    // Two pods that use 190 of 50 each: 2 * 190 / 50, rounded up.
    set_load(stage, 2 * 190);
    stage.until("eight pods are asked for", NOTICED_WITHIN, |all| wants(all, 8)).await?;
    stage.until_ready("web", 8).await?;
    stays(stage, 8, Duration::from_secs(60)).await?;

    // Eight pods that use 15 of 50 each: 8 * 15 / 50, rounded up, when the last wish for eight is old enough.
    set_load(stage, 8 * 15);
    let began = Instant::now();
    stays(stage, 8, STABLE_FOR - Duration::from_secs(20)).await?;
    let within = Duration::from_secs(20) + NOTICED_WITHIN;
    stage.until("three pods are asked for", within, |all| wants(all, 3)).await?;
    let waited = began.elapsed();
    if waited + Duration::from_secs(20) < STABLE_FOR {
        return Err(format!("it made less after {waited:?}"));
    }
    stage.until_ready("web", 3).await
}

fn set_load(stage: &Stage, millis: u64) {
    stage.world.load.lock().insert("web".to_owned(), millis);
}

fn wants(objects: &Objects, replicas: i64) -> Option<()> {
    let web = objects.get(&format!("{DEPLOYMENTS}default/web"))?;
    (count(web, "/spec/replicas", 1) == replicas).then_some(())
}

async fn stays(stage: &Stage, replicas: i64, lasting: Duration) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < lasting {
        if wants(&stage.world.oracle.lock().objects, replicas).is_none() {
            return Err(format!("it did not stay at {replicas} for {:?}", began.elapsed()));
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
