//! `coracle rollout`: Deployments, StatefulSets and DaemonSets.

use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::kinds::{Kind, Kinds};
use super::logs::seconds;
use super::pods;
use super::progress::progress;
use super::query::Query;
use super::session::Session;
use super::table::Printed;
use super::targets;
use crate::config::{RolloutFlags, RolloutStatusFlags, RolloutUndoFlags, RolloutVerb};
use crate::out;

/// How often a rollout is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Of kubectl: set on a template to make its pods be replaced.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Which revision of its Deployment a ReplicaSet is, and why it came to be.
const REVISION: &str = "deployment.kubernetes.io/revision";
const CAUSE: &str = "kubernetes.io/change-cause";

/// Label that is the ReplicaSet's own, not of its template.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Runs one of the verbs.
pub(crate) async fn rollout(session: &Session, verb: &RolloutVerb) -> anyhow::Result<()> {
    match verb {
        RolloutVerb::Status(flags) => status(session, flags).await,
        RolloutVerb::History(flags) => history(session, flags).await,
        RolloutVerb::Restart(flags) => restart(session, flags).await,
        RolloutVerb::Undo(flags) => undo(session, flags).await,
        RolloutVerb::Pause(flags) => pause(session, flags, true).await,
        RolloutVerb::Resume(flags) => pause(session, flags, false).await,
    }
}

/// The objects named, each with its path; all have a template.
async fn named(session: &Session, flags: &RolloutFlags) -> anyhow::Result<Vec<(Kind, String)>> {
    let kinds = Kinds::discover(session).await?;
    let named = targets::read_named(&kinds, &flags.what)?;
    for (kind, _) in &named {
        if !["Deployment", "StatefulSet", "DaemonSet"].contains(&kind.kind.as_str()) {
            bail!("{} has no rollout: Deployments, StatefulSets and DaemonSets have", kind.plural);
        }
    }
    Ok(named)
}

fn path(session: &Session, kind: &Kind, name: &str) -> String {
    format!("{}/{name}", kind.path(Some(&session.namespace)))
}

async fn status(session: &Session, flags: &RolloutStatusFlags) -> anyhow::Result<()> {
    let patience = u64::try_from(seconds(&flags.timeout)?).context("--timeout is negative")?;
    for (kind, name) in named(session, &flags.rollout).await? {
        let follow = follow(session, &kind, &name, flags.watch);
        if patience == 0 {
            follow.await?;
            continue;
        }
        let within = tokio::time::timeout(Duration::from_secs(patience), follow).await;
        within.with_context(|| {
            format!("{} is not rolled out after {patience} s", kind.shown(&name))
        })??;
    }
    Ok(())
}

async fn follow(session: &Session, kind: &Kind, name: &str, watch: bool) -> anyhow::Result<()> {
    let mut told = String::new();
    loop {
        let object = session.get(&path(session, kind, name)).await?;
        let (line, done) = progress(&object)?;
        if line != told {
            out::line(&line);
        }
        if done || !watch {
            return Ok(());
        }
        told = line;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the annotation is the time of the restart")]
async fn restart(session: &Session, flags: &RolloutFlags) -> anyhow::Result<()> {
    let now = format!("{:.0}", Timestamp::now());
    for (kind, name) in named(session, flags).await? {
        let annotations = json!({ RESTARTED_AT: now });
        let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        session.patch(&path(session, &kind, &name), &patch).await?;
        out::line(format_args!("{} restarted", kind.shown(&name)));
    }
    Ok(())
}

async fn pause(session: &Session, flags: &RolloutFlags, paused: bool) -> anyhow::Result<()> {
    for (kind, name) in named(session, flags).await? {
        if kind.kind != "Deployment" {
            bail!("{} cannot be paused: only Deployments can", kind.plural);
        }
        let path = path(session, &kind, &name);
        let now = session.get(&path).await?["spec"]["paused"] == true;
        let word = if paused { "paused" } else { "resumed" };
        if now == paused {
            bail!("{} is already {}", kind.shown(&name), if paused { word } else { "running" });
        }
        session.patch(&path, &json!({"spec": {"paused": paused}})).await?;
        out::line(format_args!("{} {word}", kind.shown(&name)));
    }
    Ok(())
}

/// A former state of a workload.
struct Revision {
    number: i64,
    cause: String,
    /// The template to go back to, or for other kinds the patch that does so.
    content: Content,
}

enum Content {
    Template(Value),
    Patch(Value),
}

async fn revisions(
    session: &Session,
    kind: &Kind,
    object: &Value,
) -> anyhow::Result<Vec<Revision>> {
    let plural = if kind.kind == "Deployment" { "replicasets" } else { "controllerrevisions" };
    let path = format!("/apis/apps/v1/namespaces/{}/{plural}", session.namespace);
    let list = session.get(&Query::default().on(&path)).await?;
    let uid = &object["metadata"]["uid"];
    let owned = list["items"].as_array().into_iter().flatten().filter(|item| {
        let owners = item["metadata"]["ownerReferences"].as_array();
        owners.into_iter().flatten().any(|owner| owner["uid"] == *uid)
    });
    let mut revisions: Vec<Revision> = owned.filter_map(revision).collect();
    revisions.sort_by_key(|revision| revision.number);
    Ok(revisions)
}

fn revision(item: &Value) -> Option<Revision> {
    let annotations = &item["metadata"]["annotations"];
    let cause = annotations[CAUSE].as_str().unwrap_or("<none>").to_owned();
    if let Some(number) = item["revision"].as_i64() {
        return Some(Revision { number, cause, content: Content::Patch(item["data"].clone()) });
    }
    let number = annotations[REVISION].as_str()?.parse().ok()?;
    let mut template = item["spec"]["template"].clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(TEMPLATE_HASH);
    }
    Some(Revision { number, cause, content: Content::Template(template) })
}

async fn history(session: &Session, flags: &RolloutFlags) -> anyhow::Result<()> {
    for (kind, name) in named(session, flags).await? {
        let object = session.get(&path(session, &kind, &name)).await?;
        out::line(kind.shown(&name));
        let mut printed = Printed::new(&["REVISION", "CHANGE-CAUSE"]);
        for revision in revisions(session, &kind, &object).await? {
            printed.row(vec![revision.number.to_string(), revision.cause]);
        }
        printed.lines(true).iter().for_each(out::line);
    }
    Ok(())
}

async fn undo(session: &Session, flags: &RolloutUndoFlags) -> anyhow::Result<()> {
    for (kind, name) in named(session, &flags.rollout).await? {
        let path = path(session, &kind, &name);
        let object = session.get(&path).await?;
        if object["spec"]["paused"] == true {
            bail!("{} is paused: resume it first", kind.shown(&name));
        }
        let all = revisions(session, &kind, &object).await?;
        let wanted = match flags.to_revision {
            0 => all.iter().rev().nth(1),
            number => all.iter().find(|revision| revision.number == number),
        };
        let Some(wanted) = wanted else {
            let numbers: Vec<String> = all.iter().map(|r| r.number.to_string()).collect();
            bail!("{} has no such revision: it has {}", kind.shown(&name), numbers.join(", "));
        };
        match &wanted.content {
            Content::Patch(patch) => session.patch(&path, patch).await?,
            Content::Template(template) => {
                let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
                session.json_patch(&path, &patch).await?
            }
        };
        out::line(format_args!("{} rolled back", kind.shown(&name)));
        tracing::debug!(revision = wanted.number, object = pods::name(&object), "rolled back");
    }
    Ok(())
}
