//! The paths of a kind and what can be done at each.

use serde_json::{Map, Value, json};

use super::parameters;
use super::schemas::Schemas;
use crate::registry::{Kind, Subresource};

/// Media types of an answer with one object or list.
const OBJECT_TYPES: &[&str] =
    &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// Media types of a patch.
const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// Media types of a patch of a user's kind: kubectl sends a strategic merge patch only where it finds
/// that type here.
const CUSTOM_PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
];

/// Where an operation stands.
struct Place<'a> {
    kind: &'a Kind,
    subresource: Option<&'a Subresource>,
    /// False for the list over all namespaces.
    in_namespace: bool,
    named: bool,
}

/// One operation: HTTP method, action, and the kind that it answers with.
struct Operation {
    method: &'static str,
    action: &'static str,
    /// Verb in the operation's id.
    word: &'static str,
}

/// Verbs of a resource, with the operation each stands for.
const COLLECTION: &[(&str, Operation)] = &[
    ("list", Operation { method: "get", action: "list", word: "list" }),
    ("create", Operation { method: "post", action: "post", word: "create" }),
    (
        "deletecollection",
        Operation { method: "delete", action: "deletecollection", word: "deleteCollection" },
    ),
];

const OBJECT: &[(&str, Operation)] = &[
    ("get", Operation { method: "get", action: "get", word: "read" }),
    ("update", Operation { method: "put", action: "put", word: "replace" }),
    ("delete", Operation { method: "delete", action: "delete", word: "delete" }),
    ("patch", Operation { method: "patch", action: "patch", word: "patch" }),
    ("create", Operation { method: "post", action: "post", word: "create" }),
];

/// Returns the paths of a kind with their operations.
pub(super) fn paths(kind: &Kind, schemas: &mut Schemas<'_>) -> Vec<(String, Value)> {
    let root = root(kind);
    let base =
        if kind.namespaced { format!("{root}/namespaces/{{namespace}}") } else { root.clone() };
    let mut found = Vec::new();
    let collection = Place { kind, subresource: None, in_namespace: kind.namespaced, named: false };
    found.push((format!("{base}/{}", kind.plural), item(&collection, COLLECTION, schemas)));
    let object = Place { named: true, ..collection };
    let object_path = format!("{base}/{}/{{name}}", kind.plural);
    found.push((object_path.clone(), item(&object, OBJECT.get(..4).unwrap_or(OBJECT), schemas)));
    if kind.namespaced && kind.has_verb("list") {
        let everywhere = Place { in_namespace: false, named: false, ..object };
        let list = COLLECTION.get(..1).unwrap_or(COLLECTION);
        found.push((format!("{root}/{}", kind.plural), item(&everywhere, list, schemas)));
    }
    for subresource in kind.subresources {
        let place = Place {
            kind,
            subresource: Some(subresource),
            in_namespace: kind.namespaced,
            named: true,
        };
        found.push((format!("{object_path}/{}", subresource.name), item(&place, OBJECT, schemas)));
    }
    found
}

fn root(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    }
}

fn item(place: &Place<'_>, candidates: &[(&str, Operation)], schemas: &mut Schemas<'_>) -> Value {
    let verbs = place.subresource.map_or(place.kind.verbs, |subresource| subresource.verbs);
    let mut operations = Map::new();
    for (verb, operation) in candidates {
        if verbs.contains(verb) {
            operations.insert(operation.method.to_owned(), describe(place, operation, schemas));
        }
    }
    let shared = parameters::path(place.in_namespace, place.named);
    operations.insert("parameters".to_owned(), Value::Array(shared));
    Value::Object(operations)
}

fn describe(place: &Place<'_>, operation: &Operation, schemas: &mut Schemas<'_>) -> Value {
    let (group, version, kind) = match place.subresource {
        Some(subresource) => (subresource.group, subresource.version, subresource.kind),
        None => (place.kind.group, place.kind.version, place.kind.kind),
    };
    let name = place.subresource.map_or("", |subresource| subresource.name);
    let mut described = json!({
        "tags": [tag(place.kind)],
        "operationId": operation_id(place, operation),
        "parameters": parameters::query(operation.action, name),
        "responses": responses(place, operation, schemas),
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    if let Some(body) = request_body(place, operation, (group, version, kind), schemas) {
        described["requestBody"] = body;
    }
    described
}

fn request_body(
    place: &Place<'_>,
    operation: &Operation,
    (group, version, kind): (&str, &str, &str),
    schemas: &mut Schemas<'_>,
) -> Option<Value> {
    match operation.action {
        "post" | "put" => {
            let schema = schemas.kind(group, version, kind)?;
            Some(json!({"content": {"*/*": {"schema": schema}}, "required": true}))
        }
        "patch" => {
            let schema = json!({"type": "object"});
            let is_custom = place.kind.custom.is_some();
            let types = if is_custom { CUSTOM_PATCH_TYPES } else { PATCH_TYPES };
            Some(json!({"content": content(types, &schema), "required": true}))
        }
        "delete" | "deletecollection" => {
            let schema = schemas.kind("", "v1", "DeleteOptions")?;
            Some(json!({"content": {"*/*": {"schema": schema}}}))
        }
        _ => None,
    }
}

fn responses(place: &Place<'_>, operation: &Operation, schemas: &mut Schemas<'_>) -> Value {
    let kind = place.kind;
    let answer = match (operation.action, place.subresource) {
        ("delete" | "deletecollection", _) => schemas.kind("", "v1", "Status"),
        ("list", _) => schemas.kind(kind.group, kind.version, &kind.list_kind()),
        ("get", Some(Subresource { name: "log", .. })) => None,
        (_, Some(sub)) => schemas.kind(sub.group, sub.version, sub.kind),
        (_, None) => schemas.kind(kind.group, kind.version, kind.kind),
    };
    let ok = match answer {
        Some(schema) => json!({"description": "OK", "content": content(OBJECT_TYPES, &schema)}),
        None => {
            json!({"description": "OK", "content": content(&["text/plain"], &json!({"type": "string"}))})
        }
    };
    let mut responses = json!({"401": {"description": "Unauthorized"}, "200": ok.clone()});
    if matches!(operation.action, "post" | "put" | "patch") {
        responses["201"] = ok;
    }
    responses
}

fn content(media_types: &[&str], schema: &Value) -> Value {
    let entry = |name: &&str| ((*name).to_owned(), json!({"schema": schema}));
    Value::Object(media_types.iter().map(entry).collect())
}

/// Returns `apps_v1`.
fn tag(kind: &Kind) -> String {
    let group = if kind.group.is_empty() { "core" } else { kind.group };
    let group = group.trim_end_matches(".k8s.io").replace('.', "_");
    format!("{group}_{}", kind.version)
}

/// Returns `patchAppsV1NamespacedDeploymentScale`.
fn operation_id(place: &Place<'_>, operation: &Operation) -> String {
    let group_version: String = tag(place.kind).split('_').map(capital).collect();
    let scope = if place.in_namespace { "Namespaced" } else { "" };
    let subresource = place.subresource.map(|subresource| capital(subresource.name));
    let everywhere = place.kind.namespaced && !place.in_namespace;
    let suffix = if everywhere { "ForAllNamespaces" } else { "" };
    let Kind { kind, .. } = place.kind;
    let word = operation.word;
    let collection = if word == "deleteCollection" { "delete" } else { word };
    let middle = if word == "deleteCollection" { "Collection" } else { "" };
    let subresource = subresource.unwrap_or_default();
    format!("{collection}{group_version}{middle}{scope}{kind}{subresource}{suffix}")
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
