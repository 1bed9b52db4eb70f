//! Brings new versions out in steps: a `Rollout` has a Deployment for each version, and this moves
//! pods from the old one to the new one as the steps say.

use std::time::{SystemTime, UNIX_EPOCH};

use coracle_sdk::kube::{Client, Error};
use rollout_steps::{Note, Seen, Step, next};
use serde_json::{Value, json};
use wstd::task::sleep;
use wstd::time::Duration;

/// Under which name the fields are ours.
const MANAGER: &str = "rollout-controller";

/// Milliseconds between two looks.
const LOOK_EVERY: u64 = 250;

#[wstd::main]
async fn main() -> Result<(), Error> {
    let client = Client::in_cluster()?;
    println!("keeping rollouts in {}", client.namespace());
    loop {
        if let Err(error) = look(&client).await {
            println!("again after: {error}");
        }
        sleep(Duration::from_millis(LOOK_EVERY)).await;
    }
}

/// Looks at every rollout once, and does what is next.
async fn look(client: &Client) -> Result<(), Error> {
    let space = client.namespace();
    let rollouts = format!("/apis/example.coracle.dev/v1/namespaces/{space}/rollouts");
    for rollout in list(client, &rollouts).await? {
        let name = text(&rollout["metadata"]["name"]);
        let selector = format!("labelSelector=rollout%3D{name}");
        let deployments = format!("/apis/apps/v1/namespaces/{space}/deployments");
        let versions = list(client, &format!("{deployments}?{selector}")).await?;
        let wanted = text(&rollout["spec"]["image"]);
        let is_new = |version: &&Value| image_of(version) == wanted;
        let new = versions.iter().find(is_new);
        let old: Vec<&Value> = versions.iter().filter(|version| !is_new(version)).collect();
        let status = if rollout["status"]["image"] == wanted { rollout["status"].clone() } else { json!({}) };
        let seen = Seen {
            total: rollout["spec"]["pods"].as_u64().unwrap_or(1),
            step: status["step"].as_u64().unwrap_or(0) as usize,
            since: status["since"].as_u64(),
            ready: new.map_or(0, |version| version["status"]["readyReplicas"].as_u64().unwrap_or(0)),
            has_old: !old.is_empty(),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_millis() as u64);
        let decided = next(&steps(&rollout), seen, now);
        let path = |version: &str| format!("{deployments}/{version}");
        let version = deployment(&rollout, &wanted, decided.new);
        client.apply(&path(&text(&version["metadata"]["name"])), MANAGER, &version).await?;
        for version in &old {
            let before = text(&version["metadata"]["name"]);
            if decided.note == Note::Done {
                client.delete(&path(&before)).await?;
            } else {
                let version = deployment(&rollout, &image_of(version), decided.old);
                client.apply(&path(&before), MANAGER, &version).await?;
            }
        }
        let written = match decided.note {
            Note::Nothing => continue,
            Note::Ready => json!({"image": wanted, "step": seen.step, "since": now, "phase": "Waiting"}),
            Note::Advance => json!({"image": wanted, "step": seen.step + 1, "since": null, "phase": "Rolling"}),
            Note::Done if status["phase"] == "Done" => continue,
            Note::Done => json!({"image": wanted, "step": seen.step, "since": null, "phase": "Done"}),
        };
        println!("{name}: {} of {} pods are {wanted}: {}", decided.new, seen.total, written["phase"]);
        let path = format!("{rollouts}/{name}/status");
        client.merge(&path, &json!({"status": written})).await?;
    }
    Ok(())
}

async fn list(client: &Client, path: &str) -> Result<Vec<Value>, Error> {
    Ok(client.get(path).await?["items"].as_array().cloned().unwrap_or_default())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn image_of(deployment: &Value) -> String {
    text(&deployment["spec"]["template"]["spec"]["containers"][0]["image"])
}

fn steps(rollout: &Value) -> Vec<Step> {
    let steps = rollout["spec"]["steps"].as_array().into_iter().flatten();
    let step = |step: &Value| Step {
        pods: step["pods"].as_u64().unwrap_or(0),
        pause: (step["pauseSeconds"].as_f64().unwrap_or(0.0) * 1000.0) as u64,
    };
    steps.map(step).collect()
}

/// The Deployment of one version: its name follows from the image.
fn deployment(rollout: &Value, image: &str, pods: u64) -> Value {
    let name = text(&rollout["metadata"]["name"]);
    let hash = image.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    let labels = json!({"rollout": name, "version": format!("{hash:x}")});
    let owner = json!({"apiVersion": "example.coracle.dev/v1", "kind": "Rollout", "name": name,
        "uid": rollout["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true});
    let container = json!({"name": "app", "image": image, "ports": [{"name": "http", "containerPort": 8080}]});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": format!("{name}-{hash:x}"), "labels": labels, "ownerReferences": [owner]},
        "spec": {"replicas": pods, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
    })
}
