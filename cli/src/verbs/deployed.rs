//! Who deployed a pod: the objects that made it, who wrote them last, and what was said of them.
//!
//! *Source:* API conventions: `ownerReferences`, `managedFields`, Events; the user's name is in the audit log alone.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::Context as _;
use coracle_agent::requests::{Noted, Owner};
use serde::Serialize;
use serde_json::Value;

use super::events;
use super::kinds::Kinds;
use super::requests::{detail, text};
use super::session::Session;
use crate::out;

/// Objects between a pod and who wrote it: one more is not asked for, since they may own each other in a ring.
const OWNERS_MAX: usize = 8;

/// Events of an object that are told, the latest.
const EVENTS_MAX: usize = 10;

/// Lines of the audit log that are told, the latest.
const AUDITED_MAX: usize = 20;

/// How a pod came about.
#[derive(Debug, Serialize)]
pub(super) struct Story {
    pod: String,
    is_gone: bool,
    /// The pod first, if it is there, then what made it, and so on.
    objects: Vec<Told>,
    /// What the audit log has of them; `None` when none was given.
    audited: Option<Vec<String>>,
}

/// One object.
#[derive(Debug, Serialize)]
struct Told {
    object: String,
    /// What it is for, by its own words.
    notes: Vec<String>,
    /// Who wrote it: the field manager, how, and when.
    written: Vec<String>,
    events: Vec<String>,
    /// Of the audit log: resource and name.
    #[serde(skip)]
    audited_as: (String, String),
}

/// Asks who deployed a pod that answered a request.
pub(super) async fn story(
    session: &Session,
    noted: &Noted,
    audit_log: Option<&Path>,
) -> anyhow::Result<Story> {
    let kinds = Kinds::discover(session).await?;
    let mut story = Story {
        pod: format!("{}/{}", noted.namespace, noted.pod),
        is_gone: true,
        objects: Vec::new(),
        audited: None,
    };
    let pod = Owner { api_version: "v1".into(), kind: "Pod".into(), name: noted.pod.clone() };
    let mut next = Some((pod, Some(noted.uid.as_str())));
    while let Some((owner, uid)) = next.take() {
        let Some(kind) = kinds.of_object(&owner.api_version, &owner.kind) else { break };
        let path = format!("{}/{}", kind.path(Some(&noted.namespace)), owner.name);
        let object = session.get_opt(&path).await?;
        let is_pod = uid.is_some();
        let object =
            object.filter(|found| uid.is_none_or(|uid| text(&found["metadata"]["uid"]) == uid));
        if let Some(object) = &object {
            story.is_gone &= !is_pod;
            let happened = events::of_object(session, object).await?;
            story.objects.push(told(object, &owner, &happened, kind.plural.clone()));
        }
        let above = object.as_ref().and_then(controller);
        let above = if is_pod { above.or_else(|| noted.owner.clone()) } else { above };
        if story.objects.len() < OWNERS_MAX {
            next = above.map(|owner| (owner, None));
        }
    }
    if let Some(path) = audit_log {
        story.audited = Some(audited(path, &noted.namespace, &story.objects)?);
    }
    Ok(story)
}

/// The controller that made an object.
fn controller(object: &Value) -> Option<Owner> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let text = |field: &str| text(&owner[field]).to_owned();
    Some(Owner { api_version: text("apiVersion"), kind: text("kind"), name: text("name") })
}

fn told(object: &Value, owner: &Owner, happened: &[Value], plural: String) -> Told {
    let latest = happened.iter().rev().take(EVENTS_MAX).rev();
    Told {
        object: format!("{} {}", owner.kind, owner.name),
        notes: notes(object),
        written: written(object),
        events: latest.map(event).collect(),
        audited_as: (plural, owner.name.clone()),
    }
}

/// What whoever wrote it says about it.
fn notes(object: &Value) -> Vec<String> {
    let annotations = &object["metadata"]["annotations"];
    ["kubernetes.io/description", "coracle.dev/owner", "kubernetes.io/change-cause"]
        .iter()
        .filter_map(|name| Some(format!("{name}: {}", annotations[name].as_str()?)))
        .collect()
}

/// The field managers, the oldest first; those that only wrote its status are left out.
fn written(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut entries: Vec<&Value> =
        entries.filter(|entry| text(&entry["subresource"]).is_empty()).collect();
    entries.sort_by_key(|entry| text(&entry["time"]).to_owned());
    entries
        .iter()
        .map(|entry| {
            let [time, manager, operation] =
                ["time", "manager", "operation"].map(|field| text(&entry[field]));
            format!("{time} {manager} ({operation})")
        })
        .collect()
}

fn event(event: &Value) -> String {
    format!("{} {}: {}", text(&event["type"]), text(&event["reason"]), text(&event["message"]))
}

/// What users did to these objects, by the audit log.
fn audited(path: &Path, namespace: &str, objects: &[Told]) -> anyhow::Result<Vec<String>> {
    let file = std::fs::File::open(path).with_context(|| {
        format!("open the audit log {}: it is on the server's machine", path.display())
    })?;
    let wanted: BTreeSet<&(String, String)> = objects.iter().map(|told| &told.audited_as).collect();
    let mut found = std::collections::VecDeque::new();
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| format!("read the audit log {}", path.display()))?;
        // A line may be half written yet.
        let Ok(entry) = serde_json::from_str::<Value>(&line) else { continue };
        let Some(said) = of_entry(&entry, namespace, &wanted) else { continue };
        if found.len() == AUDITED_MAX {
            found.pop_front();
        }
        found.push_back(said);
    }
    Ok(found.into())
}

/// A change of one of the objects in a line.
fn of_entry(
    entry: &Value,
    namespace: &str,
    wanted: &BTreeSet<&(String, String)>,
) -> Option<String> {
    let object = &entry["objectRef"];
    // A new object has its name in what was sent alone, which is there from the level Request on.
    let name = [&object["name"], &entry["requestObject"]["metadata"]["name"]];
    let name = name.into_iter().find_map(Value::as_str).unwrap_or_default();
    let key = (text(&object["resource"]).to_owned(), name.to_owned());
    let is_change = ["create", "update", "patch", "delete"].contains(&text(&entry["verb"]));
    let is_whole =
        text(&object["subresource"]).is_empty() || text(&object["subresource"]) == "scale";
    let is_end = text(&entry["stage"]) == "ResponseComplete";
    let is_done = entry["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300);
    let fits = is_change && is_whole && is_end && is_done;
    if !fits || text(&object["namespace"]) != namespace || !wanted.contains(&key) {
        return None;
    }
    let acting = entry["impersonatedUser"]["username"].as_str();
    let acting = acting.map(|acting| format!(" as {acting}")).unwrap_or_default();
    let from = entry["sourceIPs"].get(0).and_then(Value::as_str);
    let from = from.map(|from| format!(" from {from}")).unwrap_or_default();
    Some(format!(
        "{} {}{acting} {} {}/{}{from} by {}",
        text(&entry["requestReceivedTimestamp"]),
        text(&entry["user"]["username"]),
        text(&entry["verb"]),
        key.0,
        key.1,
        text(&entry["userAgent"])
    ))
}

impl Story {
    /// Prints it.
    pub(super) fn show(&self) {
        let gone = if self.is_gone { ", which is gone" } else { "" };
        out::line(format_args!("pod {}{gone}: who deployed it", self.pod));
        for told in &self.objects {
            detail("object", &told.object);
            told.notes.iter().for_each(|note| detail("", note));
            told.written.iter().for_each(|written| detail("written", written));
            told.events.iter().for_each(|event| detail("event", event));
        }
        match &self.audited {
            Some(lines) if lines.is_empty() => detail("audit", "the log has no change of them"),
            Some(lines) => lines.iter().for_each(|line| detail("audit", line)),
            None => detail("audit", "users' names are in the server's audit log: --audit-log FILE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_wrote_an_object_is_told_the_oldest_first() {
        let object = json!({"metadata": {
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n"},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "controller": true}],
            "annotations": {"kubernetes.io/change-cause": "sale"},
            "managedFields": [
                {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T00:00:00Z"},
                {"manager": "coracle", "operation": "Update", "time": "2026-01-03T00:00:00Z", "subresource": "status"},
                {"manager": "flux", "operation": "Apply", "time": "2026-01-01T00:00:00Z"}]}});
        assert_eq!(
            written(&object),
            ["2026-01-01T00:00:00Z flux (Apply)", "2026-01-02T00:00:00Z kubectl-edit (Update)"]
        );
        assert_eq!(notes(&object), ["kubernetes.io/change-cause: sale"]);
        assert_eq!(controller(&object).map(|owner| owner.name), Some("web-1".to_owned()));
        assert_eq!(controller(&json!({"metadata": {}})), None);
    }

    #[test]
    fn the_audit_log_has_the_user() {
        let entry = |verb: &str, stage: &str, code: u16, resource: &str| {
            json!({"verb": verb, "stage": stage, "responseStatus": {"code": code},
                "requestReceivedTimestamp": "T", "user": {"username": "ann"}, "userAgent": "kubectl",
                "sourceIPs": ["192.0.2.1"],
                "objectRef": {"resource": resource, "name": "web", "namespace": "shop"}})
        };
        let key = ("deployments".to_owned(), "web".to_owned());
        let wanted = BTreeSet::from([&key]);
        let done = entry("patch", "ResponseComplete", 200, "deployments");
        assert_eq!(
            of_entry(&done, "shop", &wanted).as_deref(),
            Some("T ann patch deployments/web from 192.0.2.1 by kubectl")
        );
        for other in [
            entry("get", "ResponseComplete", 200, "deployments"),
            entry("patch", "RequestReceived", 200, "deployments"),
            entry("patch", "ResponseComplete", 403, "deployments"),
            entry("patch", "ResponseComplete", 200, "services"),
        ] {
            assert_eq!(of_entry(&other, "shop", &wanted), None, "{other}");
        }
        assert_eq!(of_entry(&done, "other", &wanted), None);
        let made = json!({"verb": "create", "stage": "ResponseComplete", "responseStatus": {"code": 201},
            "requestReceivedTimestamp": "T", "user": {"username": "ann"}, "userAgent": "kubectl",
            "objectRef": {"resource": "deployments", "namespace": "shop"},
            "requestObject": {"metadata": {"name": "web"}}});
        assert_eq!(
            of_entry(&made, "shop", &wanted).as_deref(),
            Some("T ann create deployments/web by kubectl")
        );
    }
}
