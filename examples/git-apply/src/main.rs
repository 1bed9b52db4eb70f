//! Keeps a namespace as a git repository says: what is committed is applied, what drifts is put back,
//! what is no longer there is deleted.
//!
//! The repository comes as the archive of a branch (`.tar.gz`), which every git host serves.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use coracle_sdk::kube::{Client, Error};
use serde_json::{Value, json};
use wstd::http::{Body, Request};
use wstd::task::sleep;
use wstd::time::Duration;

/// Under which name the fields, and the list of what was applied, are ours.
const MANAGER: &str = "git-apply";

/// Most bytes of an archive, unpacked.
const ARCHIVE_BYTES_MAX: u64 = 16 << 20;

#[wstd::main]
async fn main() -> Result<(), Error> {
    let client = Client::in_cluster()?;
    let variable = |name| std::env::var(name).unwrap_or_default();
    let source = variable("SOURCE");
    let seconds = variable("EVERY_SECONDS").parse().unwrap_or(30);
    loop {
        if let Err(error) = round(&client, &source).await {
            println!("again after: {error}");
        }
        sleep(Duration::from_secs(seconds)).await;
    }
}

/// Brings the namespace to what the archive says. Nothing is deleted unless all of it was read.
async fn round(client: &Client, source: &str) -> Result<(), String> {
    let archive = fetch(source).await.map_err(|error| format!("fetch {source}: {error:?}"))?;
    let objects = objects(&archive).map_err(|error| format!("read {source}: {error}"))?;
    let (before, mut now) = (inventory(client).await?, BTreeSet::new());
    let mut plurals = BTreeMap::new();
    for (file, object) in objects {
        let path = path(client, &mut plurals, &object).await.map_err(|e| format!("{file}: {e}"))?;
        let applied = client.apply(&path, MANAGER, &object).await;
        let applied = applied.map_err(|error| format!("{file}: {error}"))?;
        if !before.contains(&path) {
            println!("{path}: applied {}", applied["metadata"]["resourceVersion"]);
        }
        now.insert(path);
    }
    // What is to be deleted stays in the list until it is.
    let all: BTreeSet<String> = before.union(&now).cloned().collect();
    keep(client, &all).await?;
    for path in before.difference(&now) {
        match client.delete(path).await {
            Ok(_) => println!("{path}: deleted"),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    keep(client, &now).await
}

async fn fetch(source: &str) -> Result<Vec<u8>, wstd::http::Error> {
    let answer = wstd::http::Client::new().send(Request::get(source).body(Body::empty())?).await?;
    let status = answer.status();
    if !status.is_success() {
        return Err(wstd::http::Error::msg(format!("the server answered {status}")));
    }
    Ok(answer.into_body().contents().await?.to_vec())
}

/// The objects of all manifests in an archive, each with its file.
fn objects(archive: &[u8]) -> Result<Vec<(String, Value)>, String> {
    let unpacked = flate2::read::GzDecoder::new(archive).take(ARCHIVE_BYTES_MAX);
    let mut objects = Vec::new();
    for entry in tar::Archive::new(unpacked).entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let file = entry.path().map_err(|error| error.to_string())?.display().to_string();
        if !entry.header().entry_type().is_file() || !(file.ends_with(".yaml") || file.ends_with(".json")) {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).map_err(|error| format!("{file}: {error}"))?;
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).map_err(|error| format!("{file}: {error}"))?;
        objects.extend(documents.into_iter().filter(Value::is_object).map(|object| (file.clone(), object)));
    }
    Ok(objects)
}

/// Path of an object in this namespace, its kind's plural asked of the server once.
async fn path(
    client: &Client,
    plurals: &mut BTreeMap<(String, String), String>,
    object: &Value,
) -> Result<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let base = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let key = (version, kind.clone());
    if !plurals.contains_key(&key) {
        let list = client.get(&base).await.map_err(|error| error.to_string())?;
        let resources = list["resources"].as_array().cloned().unwrap_or_default();
        let found = resources.iter().find(|r| {
            r["kind"] == kind.as_str() && r["namespaced"] == true && !text(&r["name"]).contains('/')
        });
        let found = found.ok_or_else(|| format!("{kind} is no kind of objects in namespaces"))?;
        plurals.insert(key.clone(), text(&found["name"]));
    }
    let (plural, space) = (&plurals[&key], client.namespace());
    Ok(format!("{base}/namespaces/{space}/{plural}/{}", text(&object["metadata"]["name"])))
}

fn list(client: &Client) -> String {
    format!("/api/v1/namespaces/{}/configmaps/{MANAGER}-applied", client.namespace())
}

/// What was applied in the rounds before.
async fn inventory(client: &Client) -> Result<BTreeSet<String>, String> {
    match client.get(&list(client)).await {
        Ok(list) => Ok(list["data"]["paths"].as_str().unwrap_or_default().lines().map(str::to_owned).collect()),
        Err(error) if error.is_not_found() => Ok(BTreeSet::new()),
        Err(error) => Err(error.to_string()),
    }
}

async fn keep(client: &Client, paths: &BTreeSet<String>) -> Result<(), String> {
    let text: Vec<&str> = paths.iter().map(String::as_str).collect();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("{MANAGER}-applied")}, "data": {"paths": text.join("\n")}});
    let kept = client.apply(&list(client), MANAGER, &object).await;
    kept.map(|_| ()).map_err(|error| error.to_string())
}
