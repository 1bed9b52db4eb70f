//! `coracle describe`: an object's fields as words, and what happened to it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::events;
use super::form::shown;
use super::get::fetch;
use super::kinds::Kinds;
use super::session::Session;
use super::table::labels;
use super::targets;
use crate::config::DescribeFlags;
use crate::out;

/// Fields of metadata that only machines read, or that stand above already.
const QUIET: [&str; 9] = [
    "managedFields",
    "name",
    "namespace",
    "labels",
    "annotations",
    "generateName",
    "selfLink",
    "ownerReferences",
    "finalizers",
];

/// Values of Secrets are shown by their length alone.
const HIDDEN: &str = "Secret";

/// Prints each object with its events.
pub(crate) async fn describe(session: &Session, flags: &DescribeFlags) -> anyhow::Result<()> {
    let kinds = Kinds::discover(session).await?;
    let targets = targets::read(&kinds, &flags.what)?;
    let objects = fetch(session, &flags.select, false, &targets).await?;
    if objects.is_empty() {
        out::note(&format!("No resources found in {} namespace.", session.namespace));
    }
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            out::line("\n");
        }
        out::text(&text_of(object));
        let happened = events::of_object(session, object).await?;
        if happened.is_empty() {
            out::line("Events:  <none>");
        } else {
            out::line("Events:");
            events::table(&happened, false)
                .lines(true)
                .iter()
                .for_each(|line| out::line(format_args!("  {line}")));
        }
    }
    Ok(())
}

/// All of an object but its events.
fn text_of(object: &Value) -> String {
    let metadata = &object["metadata"];
    let mut text = String::new();
    let mut head = |name: &str, value: &str| {
        let name = if name.is_empty() { String::new() } else { format!("{name}:") };
        let _ = writeln!(text, "{name:<15}{value}");
    };
    head("Name", metadata["name"].as_str().unwrap_or_default());
    if let Some(namespace) = metadata["namespace"].as_str() {
        head("Namespace", namespace);
    }
    for (name, field) in [("Labels", "labels"), ("Annotations", "annotations")] {
        let shown = labels(&metadata[field]);
        for (index, pair) in shown.split(',').enumerate() {
            head(if index == 0 { name } else { "" }, pair);
        }
    }
    for owner in metadata["ownerReferences"].as_array().into_iter().flatten() {
        let by = format!("{}/{}", shown(&owner["kind"]), shown(&owner["name"]));
        head("Controlled By", &by);
    }
    head("API Version", object["apiVersion"].as_str().unwrap_or_default());
    head("Kind", object["kind"].as_str().unwrap_or_default());
    let mut rest = object.as_object().cloned().unwrap_or_default();
    for field in ["apiVersion", "kind"] {
        rest.remove(field);
    }
    if let Some(metadata) = rest.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !QUIET.contains(&name.as_str()));
    }
    if object["kind"] == HIDDEN {
        hide(&mut rest);
    }
    fields(&rest, 0, &mut text);
    text
}

/// What a Secret holds is told by its size.
fn hide(secret: &mut Map<String, Value>) {
    for value in secret.get_mut("data").and_then(Value::as_object_mut).into_iter().flatten() {
        // Four letters of base64 are three bytes.
        let text = value.1.as_str().unwrap_or_default();
        let bytes = text.len() / 4 * 3 - text.bytes().rev().take_while(|b| *b == b'=').count();
        *value.1 = Value::String(format!("{bytes} bytes"));
    }
}

fn fields(object: &Map<String, Value>, depth: usize, text: &mut String) {
    let simple = |value: &Value| !value.is_object() && !value.is_array();
    let widths = object.iter().filter(|(_, value)| simple(value));
    let width = widths.map(|(name, _)| words(name).chars().count() + 3).max().unwrap_or(0);
    for (name, value) in object {
        let name = format!("{}:", words(name));
        if simple(value) {
            line(&format!("{name:<width$}{}", shown(value)), depth, text);
        } else {
            line(&name, depth, text);
            nested(value, depth + 1, text);
        }
    }
}

fn nested(value: &Value, depth: usize, text: &mut String) {
    if let Some(object) = value.as_object() {
        fields(object, depth, text);
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        match item.as_object() {
            Some(object) => {
                if index > 0 {
                    line("--", depth, text);
                }
                fields(object, depth, text);
            }
            None if item.is_array() => nested(item, depth + 1, text),
            None => line(&shown(item), depth, text),
        }
    }
}

fn line(content: &str, depth: usize, text: &mut String) {
    for part in content.lines() {
        let _ = writeln!(text, "{}{part}", "  ".repeat(depth));
    }
    if content.is_empty() {
        text.push('\n');
    }
}

/// `podIP` as `Pod IP`; a key that is no field's name stays as it is.
fn words(name: &str) -> String {
    if name.contains(|letter: char| !letter.is_ascii_alphanumeric()) {
        return name.to_owned();
    }
    let mut words = String::new();
    let mut before = ' ';
    for letter in name.chars() {
        if words.is_empty() {
            words.push(letter.to_ascii_uppercase());
        } else {
            if letter.is_ascii_uppercase() && !before.is_ascii_uppercase() {
                words.push(' ');
            }
            words.push(letter);
        }
        before = letter;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn fields_are_words() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web",
            "namespace": "n", "labels": {"app": "web", "tier": "front"}, "uid": "u",
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-1"}], "managedFields": [{}]},
            "spec": {"containers": [{"name": "c", "args": ["a", "b"]}, {"name": "d"}]},
            "status": {"podIP": "10.0.0.1", "phase": "Running"}});
        expect![[r#"
            Name:          web
            Namespace:     n
            Labels:        app=web
                           tier=front
            Annotations:   <none>
            Controlled By: ReplicaSet/web-1
            API Version:   v1
            Kind:          Pod
            Metadata:
              Uid:  u
            Spec:
              Containers:
                Args:
                  a
                  b
                Name:  c
                --
                Name:  d
            Status:
              Phase:   Running
              Pod IP:  10.0.0.1
        "#]]
        .assert_eq(&text_of(&pod));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"token": "aGVsbG8=", "none": ""}});
        let text = text_of(&secret);
        assert!(text.contains("5 bytes") && text.contains("0 bytes"), "{text}");
        assert!(!text.contains("aGVsbG8="), "{text}");
    }
}
