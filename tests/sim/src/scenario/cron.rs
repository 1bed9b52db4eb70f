//! A CronJob makes a Job at each minute, within a second of it, and keeps few.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_simulate::objects::{JOBS, text};
use serde_json::json;
use tokio::time::sleep;

use super::Stage;

const MINUTE: Duration = Duration::from_secs(60);

/// How late a Job may be.
const LATE_MAX: Duration = Duration::from_secs(1);

pub(super) async fn each_minute(stage: &Stage) -> Result<(), String> {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "sim/1"}]});
    let object = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"},
        "spec": {"schedule": "* * * * *", "successfulJobsHistoryLimit": 2,
            "jobTemplate": {"spec": {"template": {"spec": pod}}}}});
    stage.make("/apis/batch/v1/namespaces/default/cronjobs", object).await?;
    let mut seen = BTreeMap::new();
    while stage.world.now() < MINUTE * 5 + MINUTE / 2 {
        let now = stage.world.now();
        for (key, job) in stage.world.oracle.lock().objects.below(JOBS) {
            let due =
                text(job, "/metadata/annotations/batch.kubernetes.io~1cronjob-scheduled-timestamp");
            seen.entry(key.to_owned()).or_insert_with(|| (now, due.to_owned()));
        }
        sleep(Duration::from_millis(10)).await;
    }
    let mut all: Vec<(Duration, String)> = seen.into_values().collect();
    all.sort();
    if all.len() != 5 {
        return Err(format!("five minutes gave these Jobs: {all:?}"));
    }
    for (minute, (at, due)) in (1_u32..).zip(all) {
        let wanted = MINUTE * minute;
        if at < wanted || at > wanted + LATE_MAX || !due.ends_with(&format!("T00:0{minute}:00Z")) {
            return Err(format!("the Job of minute {minute} came at {at:?} for {due}"));
        }
    }
    let few = |objects: &coracle_simulate::objects::Objects| {
        (objects.below(JOBS).count() <= 3).then_some(())
    };
    stage.until("old Jobs go", MINUTE, few).await
}
