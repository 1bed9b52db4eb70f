//! One document: the paths of a group-version and the schemas that they speak of.

use serde_json::{Map, Value, json};

use super::schemas::Schemas;
use super::{Describe, operations};
use crate::registry::{self, Kind};

/// Makes the document of a group-version.
pub(super) fn of(group: &str, version: &str, describe: &Describe) -> Value {
    let served =
        registry::kinds().iter().filter(|kind| kind.group == group && kind.version == version);
    of_kinds(served, describe)
}

/// Makes the document of kinds of one group-version, users' kinds among them.
pub(super) fn of_kinds<'a>(
    kinds: impl Iterator<Item = &'a Kind> + Clone,
    describe: &Describe,
) -> Value {
    let mut schemas = Schemas::new(describe);
    let mut paths = Map::new();
    for kind in kinds.clone() {
        schemas.add_custom(kind);
    }
    for kind in kinds {
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
