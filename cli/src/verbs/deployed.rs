//! Who deployed a pod: the objects that made it, who wrote them last, and what was said of them.
//!
//! *Source:* API conventions: `ownerReferences`, `managedFields`, Events; the user's name is in the audit log alone.

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
    /// What could not be asked, and why.
    unknown: Vec<String>,
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
    /// None when it was replaced: whoever wrote the other did not deploy the pod.
    #[serde(skip)]
    audited_as: Option<Audited>,
}

/// An object as the audit log names it.
#[derive(Debug)]
struct Audited {
    resource: String,
    name: String,
    uid: String,
}

/// What is at the name of an object that had a UID.
#[derive(Debug, PartialEq)]
enum Look {
    /// The object.
    There(Value),
    /// Nothing.
    Gone,
    /// Another object that has its name now.
    Replaced,
    /// Why it cannot be said.
    Unknown(String),
}

/// Asks who deployed a pod that answered a request. What cannot be asked is said, and the rest is told all the same.
pub(super) async fn story(session: &Session, noted: &Noted, audit_log: Option<&Path>) -> Story {
    let mut story = Story {
        pod: format!("{}/{}", noted.namespace, noted.pod),
        is_gone: false,
        objects: Vec::new(),
        audited: None,
        unknown: Vec::new(),
    };
    match Kinds::discover(session).await {
        Ok(kinds) => story.climb(session, &kinds, noted).await,
        Err(error) => story.unknown.push(format!("{error:#}")),
    }
    if let Some(path) = audit_log {
        match audited(path, &noted.namespace, &story.objects) {
            Ok(lines) => story.audited = Some(lines),
            Err(error) => story.unknown.push(format!("{error:#}")),
        }
    }
    story
}

async fn look(session: &Session, kinds: &Kinds, namespace: &str, owner: &Owner) -> Look {
    let Some(kind) = kinds.of_object(&owner.api_version, &owner.kind) else {
        return Look::Unknown(format!("the server has no {} {}", owner.api_version, owner.kind));
    };
    let path = format!("{}/{}", kind.path(Some(namespace)), owner.name);
    match session.get_opt(&path).await {
        Ok(found) => looked(found, &owner.uid),
        Err(error) => Look::Unknown(format!("{} {}: {error:#}", owner.kind, owner.name)),
    }
}

/// What was found where an object with this UID was; an empty one is any.
fn looked(found: Option<Value>, uid: &str) -> Look {
    match found {
        None => Look::Gone,
        Some(object) if uid.is_empty() || text(&object["metadata"]["uid"]) == uid => {
            Look::There(object)
        }
        Some(_) => Look::Replaced,
    }
}

/// The controller that made an object.
fn controller(object: &Value) -> Option<Owner> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let text = |field: &str| text(&owner[field]).to_owned();
    let [api_version, kind, name, uid] = ["apiVersion", "kind", "name", "uid"].map(text);
    Some(Owner { api_version, kind, name, uid })
}

fn told(object: &Value, owner: &Owner, happened: &[Value], plural: String) -> Told {
    let uid = text(&object["metadata"]["uid"]).to_owned();
    let latest = happened.iter().rev().take(EVENTS_MAX).rev();
    Told {
        object: format!("{} {}", owner.kind, owner.name),
        notes: notes(object),
        written: written(object),
        events: latest.map(event).collect(),
        audited_as: Some(Audited { resource: plural, name: owner.name.clone(), uid }),
    }
}

fn replaced(owner: &Owner) -> Told {
    Told {
        object: format!("{} {}", owner.kind, owner.name),
        notes: vec!["replaced since: another object has its name now".to_owned()],
        written: Vec::new(),
        events: Vec::new(),
        audited_as: None,
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
    let wanted: Vec<&Audited> =
        objects.iter().filter_map(|told| told.audited_as.as_ref()).collect();
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
fn of_entry(entry: &Value, namespace: &str, wanted: &[&Audited]) -> Option<String> {
    let object = &entry["objectRef"];
    // A new object has its name in what was sent alone, which is there from the level Request on.
    let name = [&object["name"], &entry["requestObject"]["metadata"]["name"]];
    let name = name.into_iter().find_map(Value::as_str).unwrap_or_default();
    let resource = text(&object["resource"]);
    // Not each entry says it; one that says another is of an object that had the name before or has it since.
    let uid = [&object["uid"], &entry["responseObject"]["metadata"]["uid"]];
    let uid = uid.into_iter().find_map(Value::as_str).unwrap_or_default();
    let is = |one: &&Audited| {
        one.resource == resource && one.name == name && (uid.is_empty() || one.uid == uid)
    };
    let is_change = ["create", "update", "patch", "delete"].contains(&text(&entry["verb"]));
    let is_whole =
        text(&object["subresource"]).is_empty() || text(&object["subresource"]) == "scale";
    let is_end = text(&entry["stage"]) == "ResponseComplete";
    let is_done = entry["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300);
    let fits = is_change && is_whole && is_end && is_done;
    if !fits || text(&object["namespace"]) != namespace || !wanted.iter().any(is) {
        return None;
    }
    let acting = entry["impersonatedUser"]["username"].as_str();
    let acting = acting.map(|acting| format!(" as {acting}")).unwrap_or_default();
    let from = entry["sourceIPs"].get(0).and_then(Value::as_str);
    let from = from.map(|from| format!(" from {from}")).unwrap_or_default();
    Some(format!(
        "{} {}{acting} {} {resource}/{name}{from} by {}",
        text(&entry["requestReceivedTimestamp"]),
        text(&entry["user"]["username"]),
        text(&entry["verb"]),
        text(&entry["userAgent"])
    ))
}

impl Story {
    /// Tells the pod, what made it, and so on.
    async fn climb(&mut self, session: &Session, kinds: &Kinds, noted: &Noted) {
        let pod = Owner {
            api_version: "v1".into(),
            kind: "Pod".into(),
            name: noted.pod.clone(),
            uid: noted.uid.clone(),
        };
        let mut next = match look(session, kinds, &noted.namespace, &pod).await {
            Look::There(object) => self.tell(session, kinds, &pod, &object).await,
            Look::Gone | Look::Replaced => {
                self.is_gone = true;
                None
            }
            Look::Unknown(why) => {
                self.unknown.push(why);
                None
            }
        };
        next = next.or_else(|| noted.owner.clone());
        while let Some(owner) = next.take().filter(|_| self.objects.len() < OWNERS_MAX) {
            match look(session, kinds, &noted.namespace, &owner).await {
                Look::There(object) => next = self.tell(session, kinds, &owner, &object).await,
                Look::Gone => {}
                Look::Replaced => self.objects.push(replaced(&owner)),
                Look::Unknown(why) => self.unknown.push(why),
            }
        }
    }

    /// Tells one object, and gives what made it.
    async fn tell(
        &mut self,
        session: &Session,
        kinds: &Kinds,
        owner: &Owner,
        object: &Value,
    ) -> Option<Owner> {
        let happened = events::of_object(session, object).await.unwrap_or_else(|error| {
            self.unknown.push(format!("events of {} {}: {error:#}", owner.kind, owner.name));
            Vec::new()
        });
        let kind = kinds.of_object(&owner.api_version, &owner.kind)?;
        self.objects.push(told(object, owner, &happened, kind.plural.clone()));
        controller(object)
    }

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
            None if self.unknown.is_empty() => {
                detail("audit", "users' names are in the server's audit log: --audit-log FILE");
            }
            None => {}
        }
        self.unknown.iter().for_each(|why| out::note(&format!("pod {}: {why}", self.pod)));
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
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u1", "controller": true}],
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
        let owner = controller(&object).unwrap();
        assert_eq!((owner.name.as_str(), owner.uid.as_str()), ("web-1", "u1"));
        assert_eq!(controller(&json!({"metadata": {}})), None);
    }

    #[test]
    fn another_object_with_the_name_is_no_owner() {
        let object = json!({"metadata": {"name": "web", "uid": "u1"}});
        assert_eq!(looked(Some(object.clone()), "u1"), Look::There(object.clone()));
        assert_eq!(looked(Some(object.clone()), "u0"), Look::Replaced);
        // Hosts from before say none.
        assert_eq!(looked(Some(object.clone()), ""), Look::There(object));
        assert_eq!(looked(None, "u1"), Look::Gone);
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web"});
        let owner: Owner = serde_json::from_value(owner).unwrap();
        assert_eq!(owner.uid, "");
        let told = replaced(&owner);
        assert!(told.notes[0].starts_with("replaced since") && told.audited_as.is_none());
    }

    #[test]
    fn the_audit_log_has_the_user() {
        let entry = |verb: &str, stage: &str, code: u16, resource: &str| {
            json!({"verb": verb, "stage": stage, "responseStatus": {"code": code},
                "requestReceivedTimestamp": "T", "user": {"username": "ann"}, "userAgent": "kubectl",
                "sourceIPs": ["192.0.2.1"],
                "objectRef": {"resource": resource, "name": "web", "namespace": "shop"}})
        };
        let [resource, name, uid] = ["deployments", "web", "u1"].map(str::to_owned);
        let wanted = Audited { resource, name, uid };
        let wanted = [&wanted];
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
        for (uid, is_told) in [("u1", true), ("u0", false)] {
            let mut one = done.clone();
            one["objectRef"]["uid"] = uid.into();
            assert_eq!(of_entry(&one, "shop", &wanted).is_some(), is_told, "{uid}");
        }
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
