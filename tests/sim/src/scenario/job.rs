//! A Job of six pods, two at once.

use std::time::Duration;

use coracle_simulate::objects::{JOBS, PODS, is_active, text};
use serde_json::json;

use super::Stage;

/// Pods that end badly are made again, later each time.
const DONE_WITHIN: Duration = Duration::from_secs(1_800);

pub(super) async fn two_at_once(stage: &Stage) -> Result<(), String> {
    stage.always("never more than two pods at once", |objects| {
        objects.below(PODS).filter(|(_, pod)| is_active(pod)).count() <= 2
    });
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "sim/1"}]});
    let object = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "six"},
        "spec": {"completions": 6, "parallelism": 2, "template": {"spec": pod}}});
    stage.make("/apis/batch/v1/namespaces/default/jobs", object).await?;
    let key = format!("{JOBS}default/six");
    stage
        .until("six have succeeded", DONE_WITHIN, |objects| {
            let job = objects.get(&key)?;
            let done = job["status"]["conditions"].as_array()?.iter().any(|condition| {
                text(condition, "/type") == "Complete" && text(condition, "/status") == "True"
            });
            (done
                && job["status"]["succeeded"] == 6
                && job["status"]["active"].as_i64().unwrap_or(0) == 0)
                .then_some(())
        })
        .await
}
