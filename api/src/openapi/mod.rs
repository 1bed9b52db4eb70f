//! OpenAPI v3 documents, made at run time from the schema table and the list of kinds.
//!
//! kubectl reads them for `apply` (merge keys), for validation (does PATCH take `fieldValidation`?)
//! and for `explain` (descriptions). A document is rendered when it is asked for and not kept: it
//! costs milliseconds, clients cache it by its hash, and a megabyte per group would be kept for
//! nothing. Descriptions come from outside, because this crate carries no prose.

mod digest;
mod document;
mod operations;
mod parameters;
mod schemas;

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::registry;

pub(crate) use digest::bytes_of as digest_bytes;

/// Gives the description of a type (empty field name) or of one of its fields.
pub type Describe = Box<dyn Fn(&str, &str) -> Option<String>>;

/// Loads descriptions; called for each rendering, and dropped after it.
///
/// The crate `coracle-descriptions` has them: `|| Box::new(coracle_descriptions::describe())`.
pub type LoadDescriptions = fn() -> Describe;

/// The OpenAPI v3 documents of a server.
#[derive(Debug)]
pub struct Documents {
    describe: LoadDescriptions,
    hashes: OnceLock<Vec<(String, String)>>,
}

impl Documents {
    /// Makes the documents with descriptions from `describe`.
    pub fn new(describe: LoadDescriptions) -> Self {
        Documents { describe, hashes: OnceLock::new() }
    }

    /// Makes the documents without descriptions.
    pub fn undescribed() -> Self {
        Documents::new(|| Box::new(|_, _| None))
    }

    /// Returns the index at `/openapi/v3`: every path with its address and hash.
    ///
    /// The first call renders every document once, to hash what will be sent.
    pub fn index(&self) -> Value {
        let mut paths = Map::new();
        for (path, hash) in self.hashes() {
            let address = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path.clone(), json!({"serverRelativeURL": address}));
        }
        json!({"paths": paths})
    }

    /// Returns the hash of the document at `path` (`apis/apps/v1`), upper-case hexadecimal.
    pub fn hash(&self, path: &str) -> Option<&str> {
        let (_, hash) = self.hashes().iter().find(|(known, _)| known == path)?;
        Some(hash)
    }

    /// Renders the document at `path` (`api/v1`, `apis/apps/v1`) as JSON.
    pub fn render(&self, path: &str) -> Option<Vec<u8>> {
        let (group, version) = group_version(path)?;
        Some(bytes(&document::of(group, version, &(self.describe)())))
    }

    fn hashes(&self) -> &[(String, String)] {
        self.hashes.get_or_init(|| {
            let describe = (self.describe)();
            let hash = |(group, version)| {
                let text = bytes(&document::of(group, version, &describe));
                (path(group, version), digest::of(&text))
            };
            registry::group_versions().into_iter().map(hash).collect()
        })
    }
}

fn bytes(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// Finds the served group and version of a path without leading slash.
fn group_version(wanted: &str) -> Option<(&'static str, &'static str)> {
    registry::group_versions().into_iter().find(|(group, version)| path(group, version) == wanted)
}

#[cfg(test)]
mod tests;
