//! Follows the pods of all namespaces, and says by an Event which of them has a container without a
//! memory limit.

use std::time::SystemTime;

use coracle_sdk::kube::{Client, Error, Event};
use coracle_sdk::time::rfc3339;
use serde_json::{Value, json};
use wstd::task::sleep;
use wstd::time::Duration;

/// The pause after an error, in milliseconds.
const PAUSE_MILLISECONDS: u64 = 500;

#[wstd::main]
async fn main() -> Result<(), Error> {
    let client = Client::in_cluster()?;
    loop {
        if let Err(error) = follow(&client).await {
            println!("again after: {error}");
            sleep(Duration::from_millis(PAUSE_MILLISECONDS)).await;
        }
    }
}

async fn follow(client: &Client) -> Result<(), Error> {
    let mut watch = client.watch("/api/v1/pods").await?;
    println!("watching pods");
    while let Some(event) = watch.next().await? {
        if let Event::Applied(pod) = event {
            let containers = without_limit(&pod);
            if !containers.is_empty() && pod["metadata"]["deletionTimestamp"].is_null() {
                tell(client, &pod, &containers.join(", ")).await?;
            }
        }
    }
    Ok(())
}

/// The containers that may take as much memory as they like.
fn without_limit(pod: &Value) -> Vec<&str> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let unlimited = containers.filter(|c| c["resources"]["limits"]["memory"].is_null());
    unlimited.filter_map(|container| container["name"].as_str()).collect()
}

/// Makes the Event once: its name follows from the pod, and what is there is not made again.
async fn tell(client: &Client, pod: &Value, containers: &str) -> Result<(), Error> {
    let metadata = &pod["metadata"];
    let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
    let now = rfc3339(SystemTime::now());
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{name}.no-memory-limit"), "namespace": namespace},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": namespace,
            "uid": metadata["uid"]},
        "type": "Warning", "reason": "NoMemoryLimit",
        "message": format!("no memory limit: {containers}; set resources.limits.memory"),
        "source": {"component": "audit-limits"},
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    });
    match client.create(&format!("/api/v1/namespaces/{namespace}/events"), &event).await {
        Ok(_) => println!("{namespace}/{name}: no memory limit: {containers}"),
        // It was told already, or the namespace is going.
        Err(Error::Status { code: 403 | 404 | 409, .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
