//! Makes a user's objects through the API.

use std::collections::BTreeSet;
use std::time::Duration;

use coracle_api::registry::{Kind, by_kind};
use http::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::objects::text;
use crate::stage::Stage;

/// Times that refused objects are tried again: what they need may be made a moment later, such as the ServiceAccount of
/// a new namespace.
const TRIES: usize = 4;

/// Time between two tries.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Makes all objects; tells what was refused or left out.
pub(super) async fn all(stage: &Stage, objects: &[Value]) -> Vec<String> {
    for namespace in namespaces(objects) {
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        // One that is there already is as good.
        let _ = stage.make("/api/v1/namespaces", object).await;
    }
    let mut left: Vec<&Value> = objects.iter().collect();
    let mut lines = Vec::new();
    for _ in 0..TRIES {
        lines.clear();
        let mut refused = Vec::new();
        for object in left {
            if let Err(why) = one(stage, object).await {
                let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
                lines.push(format!("  {kind} {name}: {why}"));
                refused.push(object);
            }
        }
        if refused.is_empty() {
            break;
        }
        left = refused;
        sleep(AGAIN_AFTER).await;
    }
    lines
}

fn namespaces(objects: &[Value]) -> BTreeSet<&str> {
    let all = objects.iter().map(|object| text(object, "/metadata/namespace"));
    all.filter(|namespace| !namespace.is_empty()).collect()
}

async fn one(stage: &Stage, object: &Value) -> Result<(), String> {
    let api_version = text(object, "/apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let Some(kind) = by_kind(group, version, text(object, "/kind")) else {
        return Err(format!("left out, the simulation knows no such kind of {api_version}"));
    };
    let (code, answer) = stage.send(Method::POST, &path(kind, object), object).await;
    if matches!(code, 201 | 409) {
        return Ok(());
    }
    Err(format!("refused: {}", text(&answer, "/message")))
}

fn path(kind: &Kind, object: &Value) -> String {
    let root = if kind.group.is_empty() { "/api" } else { "/apis" };
    let group = if kind.group.is_empty() { String::new() } else { format!("/{}", kind.group) };
    let namespace = match text(object, "/metadata/namespace") {
        _ if !kind.namespaced => String::new(),
        "" => "/namespaces/default".to_owned(),
        named => format!("/namespaces/{named}"),
    };
    format!("{root}{group}/{}{namespace}/{}", kind.version, kind.plural)
}
