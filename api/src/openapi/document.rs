//! One document: the paths of a group-version and the schemas that they speak of.

use serde_json::{Map, Value, json};

use super::schemas::Schemas;
use super::{Describe, operations};
use crate::registry;

/// Makes the document of a group-version.
pub(super) fn of(group: &str, version: &str, describe: &Describe) -> Value {
    let mut schemas = Schemas::new(describe);
    let mut paths = Map::new();
    let served =
        registry::kinds().iter().filter(|kind| kind.group == group && kind.version == version);
    for kind in served {
        paths.extend(operations::paths(kind, &mut schemas));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.35.4"},
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "securitySchemes": {
                "BearerToken": {
                    "type": "apiKey",
                    "description": "Bearer Token authentication",
                    "name": "authorization",
                    "in": "header",
                },
            },
        },
    })
}
