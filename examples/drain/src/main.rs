//! Moves the data of a StatefulSet's pods that are scaled away: a Job for each claim that no pod has any
//! more, and the claim goes when the Job is done.
//!
//! A hook of the pod would do it in the seconds that a pod has to end, and once; a Job has the time that it
//! needs, and is tried again.

use coracle_sdk::kube::{Client, Error};
use serde_json::{Value, json};
use wstd::task::sleep;
use wstd::time::Duration;

#[wstd::main]
async fn main() -> Result<(), Error> {
    let client = Client::in_cluster()?;
    let set = std::env::var("STATEFUL_SET").unwrap_or_default();
    let claim = std::env::var("CLAIM").unwrap_or_else(|_| "data".to_owned());
    loop {
        if let Err(error) = round(&client, &set, &claim).await {
            println!("again after: {error}");
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Looks at every claim of the set once.
async fn round(client: &Client, set: &str, claim: &str) -> Result<(), Error> {
    let space = client.namespace();
    let core = |plural: &str| format!("/api/v1/namespaces/{space}/{plural}");
    let jobs = format!("/apis/batch/v1/namespaces/{space}/jobs");
    let found = client.get(&format!("/apis/apps/v1/namespaces/{space}/statefulsets/{set}")).await?;
    let replicas = found["spec"]["replicas"].as_u64().unwrap_or(1);
    let beginning = format!("{claim}-{set}-");
    let claims = client.get(&core("persistentvolumeclaims")).await?;
    // One that is going already waits only for whoever still has it.
    let stays = |one: &&Value| one["metadata"]["deletionTimestamp"].is_null();
    let claims = claims["items"].as_array().into_iter().flatten().filter(stays);
    for name in claims.filter_map(|one| one["metadata"]["name"].as_str()) {
        let ordinal = name.strip_prefix(&beginning).and_then(|ordinal| ordinal.parse::<u64>().ok());
        // The data of the first pod stays where it is, also when the set rests.
        let Some(ordinal) = ordinal.filter(|ordinal| *ordinal > 0) else { continue };
        let path = format!("{jobs}/drain-{name}");
        let job_there = there(client, &path).await?;
        if ordinal < replicas {
            // Its pod came back meanwhile: what was moved then says nothing of what comes now.
            if job_there.is_some() {
                client.delete(&path).await?;
            }
            continue;
        }
        if there(client, &format!("{}/{set}-{ordinal}", core("pods"))).await?.is_some() {
            continue;
        }
        match job_there {
            None => {
                client.create(&jobs, &job(name, &format!("{beginning}0"))).await?;
                println!("{name}: is moved");
            }
            Some(job) if job["status"]["succeeded"].as_u64().unwrap_or(0) > 0 => {
                // The claim goes first: a Job that is gone would be made again.
                client.delete(&format!("{}/{name}", core("persistentvolumeclaims"))).await?;
                client.delete(&path).await?;
                println!("{name}: moved");
            }
            Some(_) => {}
        }
    }
    Ok(())
}

async fn there(client: &Client, path: &str) -> Result<Option<Value>, Error> {
    match client.get(path).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Copies everything from one claim to another, each file under another name until it is whole. What is there
/// already stays.
fn job(from: &str, to: &str) -> Value {
    let script = "cd /from || exit 1
for file in *; do
  if [ -e \"$file\" ] && [ ! -e \"/to/$file\" ]; then
    rm -rf /to/.moving && cp -r \"$file\" /to/.moving && mv /to/.moving \"/to/$file\" || exit 1
  fi
done";
    let mount = |name: &str| json!({"name": name, "mountPath": format!("/{name}")});
    let volume = |name: &str, claim: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": claim}});
    let container = json!({"name": "drain", "image": "coracle.dev/toolbox",
        "command": ["sh", "-c", script], "volumeMounts": [mount("from"), mount("to")]});
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": format!("drain-{from}")},
        "spec": {"backoffLimit": 20, "template": {"spec": {"restartPolicy": "OnFailure",
            "containers": [container], "volumes": [volume("from", from), volume("to", to)]}}}})
}
