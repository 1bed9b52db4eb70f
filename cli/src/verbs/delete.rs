//! `coracle delete`.

use std::time::Duration;

use anyhow::bail;
use http::Method;
use serde_json::{Value, json};

use super::apply::objects_of;
use super::form::shown;
use super::get::{fetch, name_of};
use super::kinds::{Kind, Kinds};
use super::session::Session;
use super::targets;
use crate::config::{Cascade, DeleteFlags};
use crate::out;

/// How often it is looked whether a deleted object is gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Deletes, says so, and waits until all is gone.
pub(crate) async fn delete(session: &Session, flags: &DeleteFlags) -> anyhow::Result<()> {
    let kinds = Kinds::discover(session).await?;
    let objects = if flags.filename.is_empty() {
        selected(session, flags, &kinds).await?
    } else {
        written(session, flags, &kinds)?
    };
    if objects.is_empty() {
        out::note("No resources found");
    }
    let mut deleted = Vec::new();
    for (kind, object) in &objects {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&session.namespace);
        let path = format!("{}/{}", kind.path(Some(namespace)), shown(&object["metadata"]["name"]));
        let before = session.get_opt(&path).await?;
        if before.is_none() && flags.ignore_not_found {
            continue;
        }
        session.send(Method::DELETE, &path, "application/json", &options(flags)).await?;
        out::line(format_args!("{} deleted", name_of(object)));
        let uid = before.map(|object| shown(&object["metadata"]["uid"])).unwrap_or_default();
        deleted.push((path, uid));
    }
    if flags.wait {
        for (path, uid) in &deleted {
            gone(session, path, uid).await?;
        }
    }
    Ok(())
}

fn options(flags: &DeleteFlags) -> Value {
    let policy = match flags.cascade {
        Cascade::Background => "Background",
        Cascade::Foreground => "Foreground",
        Cascade::Orphan => "Orphan",
    };
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions",
        "propagationPolicy": policy});
    if let Some(seconds) = flags.grace_period.filter(|seconds| *seconds >= 0) {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    options
}

/// The objects that words and selectors mean. Without a name it takes a selector, or `--all`.
async fn selected(
    session: &Session,
    flags: &DeleteFlags,
    kinds: &Kinds,
) -> anyhow::Result<Vec<(Kind, Value)>> {
    let targets = targets::read(kinds, &flags.what)?;
    let select = &flags.select;
    let chosen = flags.all || select.selector.is_some() || select.field_selector.is_some();
    if !chosen && targets.iter().any(|target| target.name.is_none()) {
        bail!("say which: a name, a selector by -l, or --all");
    }
    let mut objects = Vec::new();
    for target in targets {
        let one = std::slice::from_ref(&target);
        let found = fetch(session, select, flags.ignore_not_found, one).await?;
        objects.extend(found.into_iter().map(|object| (target.kind.clone(), object)));
    }
    Ok(objects)
}

/// The objects that manifests name, last first.
fn written(
    session: &Session,
    flags: &DeleteFlags,
    kinds: &Kinds,
) -> anyhow::Result<Vec<(Kind, Value)>> {
    let mut objects = Vec::new();
    for file in &flags.filename {
        for mut object in objects_of(file)? {
            let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
            let (api_version, kind) = (text("apiVersion"), text("kind"));
            let Some(kind) = kinds.of_object(&api_version, &kind) else {
                bail!("the server has no kind {kind} of {api_version}");
            };
            if kind.namespaced && object["metadata"]["namespace"].is_null() {
                object["metadata"]["namespace"] = json!(session.namespace);
            }
            objects.push((kind.clone(), object));
        }
    }
    objects.reverse();
    Ok(objects)
}

/// Waits until an object is gone, or another has its name.
pub(crate) async fn gone(session: &Session, path: &str, uid: &str) -> anyhow::Result<()> {
    while let Some(object) = session.get_opt(path).await? {
        if object["metadata"]["uid"] != uid {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
