//! Evictions keep a budget after every event, whoever evicts how often, though the server dies now and then.

use std::time::Duration;

use coracle_simulate::objects::{PODS, is_active, is_ready, text};
use coracle_simulate::server;
use coracle_simulate::stage::{n_ready, pods_of};
use http::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Stage;

const REPLICAS: usize = 5;
const AVAILABLE: usize = 4;

/// How long pods are evicted.
const EVICTED_FOR: Duration = Duration::from_secs(90);

pub(super) async fn evictions(stage: &Stage) -> Result<(), String> {
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"minAvailable": AVAILABLE, "selector": {"matchLabels": {"app": "web"}}}});
    stage.make("/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget).await?;
    stage.workload("Deployment", "web", json!({"replicas": REPLICAS})).await?;
    stage.until_ready("web", REPLICAS).await?;
    stage.always("the budget is kept", |objects| n_ready(objects, "web") >= AVAILABLE);
    let (mut granted, mut refused) = (0, 0);
    let began = Instant::now();
    while began.elapsed() < EVICTED_FOR {
        let names: Vec<String> = {
            let oracle = stage.world.oracle.lock();
            let ready =
                pods_of(&oracle.objects, "web").filter(|pod| is_ready(pod) && is_active(pod));
            ready.map(|pod| text(pod, "/metadata/name").to_owned()).collect()
        };
        // All of them in one go: at most one may leave.
        for name in names {
            stage.world.oracle.lock().known.deleted_by_user.insert(format!("{PODS}default/{name}"));
            let path = format!("/api/v1/namespaces/default/pods/{name}/eviction");
            let eviction =
                json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
            match stage.send(Method::POST, &path, &eviction).await.0 {
                201 => granted += 1,
                429 => refused += 1,
                404 | 409 | 500.. => {}
                code => return Err(format!("an eviction was answered with {code}")),
            }
        }
        if stage.world.chance(0.2) {
            server::kill(&stage.world);
        }
        sleep(stage.world.millis(50.0..3_000.0)).await;
    }
    if granted < 5 || refused < 20 {
        return Err(format!("{granted} evictions were granted and {refused} refused"));
    }
    stage.until_ready("web", REPLICAS).await
}
