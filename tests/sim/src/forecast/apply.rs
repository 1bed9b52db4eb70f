//! Makes a user's objects through the API.

use std::collections::BTreeSet;

use coracle_api::registry::{Kind, by_kind};
use http::Method;
use serde_json::{Value, json};

use crate::promises::text;
use crate::scenario::Stage;

/// Makes all objects, and what the server's other controllers would have made; tells what was refused or left out.
pub(super) async fn all(stage: &Stage, objects: &[Value]) -> Vec<String> {
    let mut lines = Vec::new();
    for namespace in namespaces(objects) {
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        // One that is there already is as good.
        let _ = stage.make("/api/v1/namespaces", object).await;
    }
    for object in objects {
        if let Err(why) = one(stage, object).await {
            let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
            lines.push(format!("  {kind} {name}: {why}"));
        }
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
