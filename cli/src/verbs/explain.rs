//! `coracle explain`: what the server's OpenAPI says about a kind or field.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::kinds::{Kind, Kinds};
use super::session::Session;
use crate::config::ExplainFieldFlags;
use crate::out;

/// Columns of a description.
const WIDTH: usize = 80;

/// How deep `--recursive` goes: schemas may contain themselves.
const DEPTH_MAX: usize = 12;

/// Prints a kind or a field.
pub(crate) async fn explain(session: &Session, flags: &ExplainFieldFlags) -> anyhow::Result<()> {
    let (word, fields) = flags.path.split_once('.').unwrap_or((flags.path.as_str(), ""));
    let kinds = Kinds::discover(session).await?;
    let mut kind = kinds.find(word)?.clone();
    if let Some(version) = &flags.api_version {
        let other = kinds.of_object(version, &kind.kind);
        kind = other.with_context(|| format!("there is no {} in {version}", kind.kind))?.clone();
    }
    let document = document(session, &kind).await?;
    let fields: Vec<&str> = fields.split('.').filter(|field| !field.is_empty()).collect();
    out::text(&text(&document, &kind, &fields, flags.recursive)?);
    Ok(())
}

async fn document(session: &Session, kind: &Kind) -> anyhow::Result<Value> {
    let index = session.get("/openapi/v3").await.context("read the OpenAPI index")?;
    let key = if kind.group.is_empty() {
        format!("api/{}", kind.version)
    } else {
        format!("apis/{}/{}", kind.group, kind.version)
    };
    let url = index["paths"][&key]["serverRelativeURL"].as_str();
    let url = url.with_context(|| format!("the server describes nothing of {key}"))?;
    session.get(url).await
}

/// The page about a kind, or about the field below it.
fn text(document: &Value, kind: &Kind, fields: &[&str], recursive: bool) -> anyhow::Result<String> {
    let schemas = document["components"]["schemas"].as_object();
    let of_kind = |schema: &&Value| {
        let meant = schema["x-kubernetes-group-version-kind"].as_array();
        meant.into_iter().flatten().any(|gvk| {
            gvk["group"].as_str().unwrap_or_default() == kind.group
                && gvk["version"] == kind.version.as_str()
                && gvk["kind"] == kind.kind.as_str()
        })
    };
    let found = schemas.into_iter().flatten().map(|(_, schema)| schema).find(of_kind);
    let mut schema =
        found.with_context(|| format!("the server does not describe {}", kind.kind))?;
    let mut page = String::new();
    if !kind.group.is_empty() {
        let _ = writeln!(page, "GROUP:      {}", kind.group);
    }
    let _ = writeln!(page, "KIND:       {}\nVERSION:    {}\n", kind.kind, kind.version);
    let mut description = schema;
    for (index, field) in fields.iter().enumerate() {
        let Some(next) = properties(document, schema).get(*field).copied() else {
            bail!(
                "{}.{} does not exist",
                kind.singular,
                fields.get(..=index).unwrap_or_default().join(".")
            );
        };
        description = next;
        schema = inner(document, next);
    }
    if let Some(field) = fields.last() {
        let _ = writeln!(page, "FIELD: {field} <{}>\n", type_of(document, description));
    }
    page.push_str("DESCRIPTION:\n");
    let told = [description, schema].iter().find_map(|s| s["description"].as_str());
    wrap(told.unwrap_or("<empty>"), 4, &mut page);
    if !properties(document, schema).is_empty() {
        page.push_str("\nFIELDS:\n");
        list(document, schema, recursive, 1, &mut page);
    }
    Ok(page)
}

fn list(document: &Value, schema: &Value, recursive: bool, depth: usize, page: &mut String) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in properties(document, schema) {
        let must = if required.contains(&name) { " -required-" } else { "" };
        let indent = "  ".repeat(depth);
        let _ = writeln!(page, "{indent}{name}\t<{}>{must}", type_of(document, field));
        if recursive {
            if depth < DEPTH_MAX {
                list(document, inner(document, field), true, depth + 1, page);
            }
            continue;
        }
        let told = [field, inner(document, field)];
        let told = told.iter().find_map(|schema| schema["description"].as_str());
        wrap(told.unwrap_or("<no description>"), 4, page);
        page.push('\n');
    }
}

/// A schema that is referred to, alone or in an `allOf` of one.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let wrapped = schema["allOf"].as_array().and_then(|all| all.first()).unwrap_or(schema);
    match wrapped["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        Some(name) => &document["components"]["schemas"][name],
        None => schema,
    }
}

/// The schema whose fields a path goes on with: items of lists and values of maps.
fn inner<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let schema = resolve(document, schema);
    if schema["items"].is_object() {
        return inner(document, &schema["items"]);
    }
    if schema["additionalProperties"].is_object() {
        return inner(document, &schema["additionalProperties"]);
    }
    schema
}

fn properties<'a>(
    document: &'a Value,
    schema: &'a Value,
) -> std::collections::BTreeMap<&'a str, &'a Value> {
    let schema = resolve(document, schema);
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.map(|(name, value)| (name.as_str(), value)).collect()
}

/// `string`, `[]Container`, `map[string]string`.
fn type_of(document: &Value, schema: &Value) -> String {
    let wrapped = schema["allOf"].as_array().and_then(|all| all.first()).unwrap_or(schema);
    if let Some(reference) = wrapped["$ref"].as_str() {
        let name = reference.rsplit(['/', '.']).next().unwrap_or_default();
        let plain = resolve(document, schema)["type"].as_str().filter(|t| *t != "object");
        return plain.unwrap_or(name).to_owned();
    }
    if schema["items"].is_object() {
        return format!("[]{}", type_of(document, &schema["items"]));
    }
    if schema["additionalProperties"].is_object() {
        return format!("map[string]{}", type_of(document, &schema["additionalProperties"]));
    }
    schema["type"].as_str().map_or_else(
        || "Object".to_owned(),
        |name| match name {
            "object" => "Object".to_owned(),
            other => other.to_owned(),
        },
    )
}

/// Lines of at most [`WIDTH`] columns, indented.
fn wrap(text: &str, indent: usize, page: &mut String) {
    for paragraph in text.lines() {
        let mut line = " ".repeat(indent);
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            if line.len() > indent && line.len() + word.len() >= WIDTH {
                let _ = writeln!(page, "{}", line.trim_end());
                line = " ".repeat(indent);
            }
            line.push_str(word);
            line.push(' ');
        }
        let _ = writeln!(page, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::kinds::tests::kinds;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(fields: &[&str], recursive: bool, expected: Expect) {
        let document = json!({"components": {"schemas": {
            "x.Deployment": {"type": "object", "description": "Keeps pods.", "properties": {
                "spec": {"allOf": [{"$ref": "#/components/schemas/x.DeploymentSpec"}],
                    "description": "What is wanted."}},
                "x-kubernetes-group-version-kind": [
                    {"group": "apps", "version": "v1", "kind": "Deployment"}]},
            "x.DeploymentSpec": {"type": "object", "required": ["selector"], "properties": {
                "replicas": {"type": "integer", "description": "How many."},
                "selector": {"type": "object", "additionalProperties": {"type": "string"}}}},
        }}});
        let kind = kinds().find("deploy").unwrap().clone();
        let page = text(&document, &kind, fields, recursive);
        expected.assert_eq(&page.unwrap_or_else(|error| format!("error: {error}\n")));
    }

    #[test]
    fn pages() {
        check(
            &["spec"],
            false,
            expect![[r#"
            GROUP:      apps
            KIND:       Deployment
            VERSION:    v1

            FIELD: spec <DeploymentSpec>

            DESCRIPTION:
                What is wanted.

            FIELDS:
              replicas	<integer>
                How many.

              selector	<map[string]string> -required-
                <no description>

        "#]],
        );
        check(
            &[],
            true,
            expect![[r#"
            GROUP:      apps
            KIND:       Deployment
            VERSION:    v1

            DESCRIPTION:
                Keeps pods.

            FIELDS:
              spec	<DeploymentSpec>
                replicas	<integer>
                selector	<map[string]string> -required-
        "#]],
        );
        check(
            &["spec", "size"],
            false,
            expect![[r#"
            error: deployment.spec.size does not exist
        "#]],
        );
    }
}
