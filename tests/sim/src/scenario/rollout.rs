//! A rolling update keeps to surge and unavailable after every event, though the server dies again and again.

use std::time::Duration;

use coracle_simulate::objects::{DEPLOYMENTS, is_active, text};
use coracle_simulate::server;
use coracle_simulate::stage::{n_ready, pods_of};
use serde_json::json;
use tokio::time::sleep;

use super::Stage;

const REPLICAS: usize = 10;
const SURGE: usize = 2;
const UNAVAILABLE: usize = 1;

/// How long one rollout may take: each pod some seconds to start and to stop, and the server's absences.
const ROLLED_WITHIN: Duration = Duration::from_secs(900);

pub(super) async fn with_crashes(stage: &Stage) -> Result<(), String> {
    let strategy = json!({"rollingUpdate": {"maxSurge": SURGE, "maxUnavailable": UNAVAILABLE}});
    let spec = json!({"replicas": REPLICAS, "strategy": strategy});
    stage.workload("Deployment", "web", spec).await?;
    stage.until_ready("web", REPLICAS).await?;
    stage.always("never below what may be unavailable", |objects| {
        n_ready(objects, "web") >= REPLICAS - UNAVAILABLE
    });
    stage.always("never above the surge", |objects| {
        pods_of(objects, "web").filter(|pod| is_active(pod)).count() <= REPLICAS + SURGE
    });
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    for version in 2..5 {
        let image = format!("sim/{version}");
        let container = json!({"name": "main", "image": image,
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}});
        stage
            .patch(path, json!({"spec": {"template": {"spec": {"containers": [container]}}}}))
            .await?;
        for _ in 0..3 {
            sleep(stage.world.millis(500.0..8_000.0)).await;
            server::kill(&stage.world);
        }
        let what = format!("all pods run {image}");
        stage.until(&what, ROLLED_WITHIN, |objects| rolled(objects, &image)).await?;
    }
    Ok(())
}

/// Whether the Deployment says that it is done, and all pods have the image.
fn rolled(objects: &coracle_simulate::objects::Objects, image: &str) -> Option<()> {
    let deployment = objects.get(&format!("{DEPLOYMENTS}default/web"))?;
    let status = &deployment["status"];
    let seen = status["observedGeneration"] == deployment["metadata"]["generation"];
    let all = ["replicas", "updatedReplicas", "availableReplicas"];
    let counted = all.iter().all(|field| status[*field] == REPLICAS);
    let same = pods_of(objects, "web")
        .filter(|pod| is_active(pod))
        .all(|pod| text(pod, "/spec/containers/0/image") == image);
    (seen && counted && same).then_some(())
}
