//! Taints: who does not bear one leaves at once, who bears it for a time leaves then, and nobody else comes.

use std::time::Duration;

use coracle_simulate::objects::{PODS, is_active, text};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Stage;

/// What the events and the answer may take on their way.
const SLACK: Duration = Duration::from_secs(2);

pub(super) async fn drives_out(stage: &Stage) -> Result<(), String> {
    let bears = |more: Value| {
        let mut toleration = json!({"key": "mine", "operator": "Equal", "value": "yes"});
        if let (Some(all), Some(more)) = (toleration.as_object_mut(), more.as_object()) {
            all.extend(more.clone());
        }
        json!({"nodeSelector": {"kubernetes.io/hostname": "n0"}, "tolerations": [toleration]})
    };
    stage.pod("never", &json!({"nodeSelector": {"kubernetes.io/hostname": "n0"}})).await?;
    stage.pod("briefly", &bears(json!({"tolerationSeconds": 10, "effect": "NoExecute"}))).await?;
    stage.pod("always", &bears(json!({"operator": "Exists", "value": null}))).await?;
    for name in ["never", "briefly", "always"] {
        stage.until_ready(name, 1).await?;
    }
    set_taint(stage, "NoExecute").await?;
    let began = Instant::now();
    leaves(stage, "never").await?;
    if began.elapsed() > SLACK {
        return Err(format!("'never' left after {:?}", began.elapsed()));
    }
    leaves(stage, "briefly").await?;
    let stayed = began.elapsed();
    if stayed + SLACK < Duration::from_secs(10) || stayed > Duration::from_secs(10) + SLACK {
        return Err(format!("'briefly' left after {stayed:?}, and bears the taint for 10 s"));
    }
    sleep(Duration::from_secs(600)).await;
    if !is_active(&stage.get(&format!("{PODS}default/always"))?) {
        return Err("'always' was driven out".to_owned());
    }

    set_taint(stage, "NoSchedule").await?;
    stage.pod("welcome", &bears(json!({}))).await?;
    stage.until_ready("welcome", 1).await?;
    stage.pod("stranger", &json!({"nodeSelector": {"kubernetes.io/hostname": "n0"}})).await?;
    let key = format!("{PODS}default/stranger");
    let words = "untolerated taint";
    stage
        .until("it is said why", Duration::from_secs(30), |objects| {
            let conditions = objects.get(&key)?["status"]["conditions"].as_array()?;
            conditions.iter().any(|c| text(c, "/message").contains(words)).then_some(())
        })
        .await?;
    stage.patch("/api/v1/nodes/n0", json!({"spec": {"taints": null}})).await?;
    stage.until_ready("stranger", 1).await
}

async fn set_taint(stage: &Stage, effect: &str) -> Result<(), String> {
    let taint = json!({"key": "mine", "value": "yes", "effect": effect});
    stage.patch("/api/v1/nodes/n0", json!({"spec": {"taints": [taint]}})).await
}

async fn leaves(stage: &Stage, name: &str) -> Result<(), String> {
    let key = format!("{PODS}default/{name}");
    let gone = |objects: &coracle_simulate::objects::Objects| {
        objects.get(&key).is_none_or(|pod| !is_active(pod)).then_some(())
    };
    stage.until(&format!("{name} leaves"), Duration::from_secs(60), gone).await
}
