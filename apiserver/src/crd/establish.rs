//! What the status of a definition says: whether its names are free, and whether it is served.
//!
//! *Source:* the naming and establishing controllers of `apiextensions-apiserver` in behaviour.

use coracle_api::meta;
use serde_json::{Value, json};

/// Finalizer that holds a definition until its objects are gone.
pub(super) const CLEANUP: &str = coracle_api::registry::DEFINITION_CLEANUP;

/// Gives a definition's status as it should be; `others` are the other definitions.
pub(super) fn status(definition: &Value, others: &[&Value], now: &str) -> Value {
    let mut status = definition["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    let names = &definition["spec"]["names"];
    let conflict = conflict(definition, others);
    if conflict.is_none() {
        status["acceptedNames"] = names.clone();
    }
    let accepted = match &conflict {
        None => condition("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
        Some((reason, name)) => {
            let message = format!("{name:?} is already in use");
            condition("NamesAccepted", "False", reason, &message)
        }
    };
    set(&mut status, accepted, now);
    let is_established = has(&status, "Established");
    if conflict.is_none() && !is_established {
        let words = "the initial names have been accepted";
        set(&mut status, condition("Established", "True", "InitialNamesAccepted", words), now);
    } else if !is_established {
        let words = "not all names are accepted";
        set(&mut status, condition("Established", "False", "NotAccepted", words), now);
    }
    if meta::deletion_timestamp(definition).is_some() {
        let words = "CustomResource deletion is in progress";
        set(
            &mut status,
            condition("Terminating", "True", "InstanceDeletionInProgress", words),
            now,
        );
    }
    status
}

/// Whether a definition's objects are served.
pub(super) fn is_established(status: &Value) -> bool {
    has(status, "Established")
}

fn has(status: &Value, name: &str) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|found| found["type"] == name && found["status"] == "True")
}

fn condition(name: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": name, "status": status, "reason": reason, "message": message})
}

/// Puts a condition in its place; its time changes with its status alone.
fn set(status: &mut Value, mut new: Value, now: &str) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    let old = conditions.iter_mut().find(|found| found["type"] == new["type"]);
    new["lastTransitionTime"] = match &old {
        Some(old) if old["status"] == new["status"] => old["lastTransitionTime"].clone(),
        Some(_) | None => json!(now),
    };
    match old {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// Finds a name that another definition of the group has: the reason and the name.
fn conflict(definition: &Value, others: &[&Value]) -> Option<(&'static str, String)> {
    let names = &definition["spec"]["names"];
    let group = &definition["spec"]["group"];
    let others: Vec<&Value> = others
        .iter()
        .filter(|other| {
            other["spec"]["group"] == *group && meta::uid(other) != meta::uid(definition)
        })
        .map(|other| &other["status"]["acceptedNames"])
        .collect();
    let short = |names: &Value| -> Vec<String> {
        let listed = names["shortNames"].as_array().into_iter().flatten();
        listed.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let text = |names: &Value, field: &str| names[field].as_str().unwrap_or_default().to_owned();
    let resources = |names: &Value| {
        let mut all = short(names);
        all.extend([text(names, "plural"), text(names, "singular")]);
        all
    };
    let kinds = |names: &Value| vec![text(names, "kind"), text(names, "listKind")];
    let taken = |name: &String, of: &dyn Fn(&Value) -> Vec<String>| {
        !name.is_empty() && others.iter().any(|other| of(other).contains(name))
    };
    let resource_names =
        [("PluralConflict", text(names, "plural")), ("SingularConflict", text(names, "singular"))];
    let short_names = short(names).into_iter().map(|name| ("ShortNamesConflict", name));
    let mut wanted = resource_names.into_iter().chain(short_names);
    let found = wanted.find(|(_, name)| taken(name, &resources));
    found.or_else(|| {
        let wanted =
            [("KindConflict", text(names, "kind")), ("ListKindConflict", text(names, "listKind"))];
        wanted.into_iter().find(|(_, name)| taken(name, &kinds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(uid: &str, names: Value) -> Value {
        json!({"metadata": {"name": "x", "uid": uid}, "spec": {"group": "x.io", "names": names}})
    }

    fn conditions(status: &Value) -> Vec<String> {
        let all = status["conditions"].as_array().unwrap().iter();
        all.map(|c| format!("{}={} {}", c["type"], c["status"], c["message"]).replace('"', ""))
            .collect()
    }

    #[test]
    fn free_names_are_accepted() {
        let one = definition(
            "1",
            json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}),
        );
        let first = status(&one, &[&one], "t1");
        assert_eq!(
            conditions(&first),
            [
                "NamesAccepted=True no conflicts found",
                "Established=True the initial names have been accepted",
            ]
        );
        assert_eq!(first["acceptedNames"], one["spec"]["names"]);
        let mut again = one.clone();
        again["status"] = first.clone();
        assert_eq!(status(&again, &[&again], "t2"), first, "deciding twice changes nothing");
    }

    #[test]
    fn names_that_are_taken_are_not() {
        let mut one = definition(
            "1",
            json!({"plural": "things", "singular": "thing", "kind": "Thing", "shortNames": ["th"]}),
        );
        one["status"] = status(&one, &[], "t1");
        let two = definition("2", json!({"plural": "others", "singular": "th", "kind": "Other"}));
        let found = status(&two, &[&one, &two], "t1");
        assert_eq!(
            conditions(&found),
            [
                "NamesAccepted=False \\th\\ is already in use",
                "Established=False not all names are accepted",
            ]
        );
        assert!(!is_established(&found));
    }
}
