//! An operator that is a pod itself: each `Website` becomes a ConfigMap, a Deployment and a Service,
//! which go with it, because it owns them.

use coracle_sdk::kube::{Client, Error, Event};
use coracle_sdk::lease::Lease;
use serde_json::{Value, json};
use wstd::task::sleep;
use wstd::time::Duration;

/// Under which name the fields are ours.
const MANAGER: &str = "website-controller";

/// After how many seconds without a sign of the leader another pod takes over.
const LEASE_SECONDS: u64 = 3;

/// The pause after an error, in milliseconds.
const PAUSE_MILLISECONDS: u64 = 500;

#[wstd::main]
async fn main() -> Result<(), Error> {
    let client = Client::in_cluster()?;
    let pod = std::env::var("POD_NAME").unwrap_or_default();
    let lease = Lease::new(&client, MANAGER, &pod, LEASE_SECONDS);
    loop {
        match lease.lead(follow(&client)).await {
            Ok(Some(Ok(()))) => {}
            Ok(None) => println!("another one leads"),
            Ok(Some(Err(error))) | Err(error) => {
                println!("again after: {error}");
                sleep(Duration::from_millis(PAUSE_MILLISECONDS)).await;
            }
        }
    }
}

/// Makes every website true, and then each that changes, until the watch ends.
async fn follow(client: &Client) -> Result<(), Error> {
    let websites = format!("/apis/example.coracle.dev/v1/namespaces/{}/websites", client.namespace());
    let mut watch = client.watch(&websites).await?;
    println!("watching websites in {}", client.namespace());
    while let Some(event) = watch.next().await? {
        match event {
            Event::Applied(website) => reconcile(client, &website).await?,
            // What it owned is collected by the cluster.
            Event::Deleted(website) => println!("{} is gone", website["metadata"]["name"]),
            _ => {}
        }
    }
    Ok(())
}

async fn reconcile(client: &Client, website: &Value) -> Result<(), Error> {
    let name = website["metadata"]["name"].as_str().unwrap_or_default();
    let base = |api: &str, plural: &str| format!("/{api}/namespaces/{}/{plural}/{name}", client.namespace());
    client.apply(&base("api/v1", "configmaps"), MANAGER, &config_map(website)).await?;
    client.apply(&base("apis/apps/v1", "deployments"), MANAGER, &deployment(website)).await?;
    client.apply(&base("api/v1", "services"), MANAGER, &service(website)).await?;
    let observed = website["metadata"]["generation"].clone();
    if website["status"]["observedGeneration"] != observed {
        let status = json!({"status": {"observedGeneration": observed, "message": "applied"}});
        let path = base("apis/example.coracle.dev/v1", "websites") + "/status";
        client.merge(&path, &status).await?;
        println!("{name}: applied generation {observed}");
    }
    Ok(())
}

/// Name, labels, and the website as the owner.
fn metadata(website: &Value) -> Value {
    let name = &website["metadata"]["name"];
    json!({
        "name": name,
        "labels": {"website": name},
        "ownerReferences": [{
            "apiVersion": "example.coracle.dev/v1", "kind": "Website", "name": name,
            "uid": website["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
        }],
    })
}

fn config_map(website: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(website),
        "data": {"page": website["spec"]["page"]},
    })
}

fn deployment(website: &Value) -> Value {
    let name = &website["metadata"]["name"];
    let container = json!({
        "name": "page",
        "image": "registry.coracle.internal/website/page:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "volumeMounts": [{"name": "page", "mountPath": "/site", "readOnly": true}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(website),
        "spec": {
            "replicas": website["spec"]["replicas"],
            "selector": {"matchLabels": {"website": name}},
            "template": {
                "metadata": {"labels": {"website": name}},
                "spec": {"containers": [container],
                    "volumes": [{"name": "page", "configMap": {"name": name}}]},
            },
        },
    })
}

fn service(website: &Value) -> Value {
    let name = &website["metadata"]["name"];
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(website),
        "spec": {"selector": {"website": name},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    })
}
