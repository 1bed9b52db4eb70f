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

use std::collections::BTreeMap;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};

use serde_json::{Map, Value, json};

use crate::registry::{self, Kind};

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
    custom: RwLock<BTreeMap<String, Custom>>,
}

/// The document of one group-version of users' kinds.
#[derive(Debug)]
struct Custom {
    kinds: Vec<&'static Kind>,
    hash: String,
}

impl Documents {
    /// Makes the documents with descriptions from `describe`.
    pub fn new(describe: LoadDescriptions) -> Self {
        Documents { describe, hashes: OnceLock::new(), custom: RwLock::default() }
    }

    /// Makes the documents without descriptions.
    pub fn undescribed() -> Self {
        Documents::new(|| Box::new(|_, _| None))
    }

    /// Replaces the users' kinds that are described.
    pub fn publish(&self, kinds: &[&'static Kind]) {
        let mut groups: BTreeMap<String, Vec<&'static Kind>> = BTreeMap::new();
        for kind in kinds {
            groups.entry(path(kind.group, kind.version)).or_default().push(kind);
        }
        let describe = (self.describe)();
        let hashed = |kinds: Vec<&'static Kind>| {
            let text = bytes(&document::of_kinds(kinds.iter().copied(), &describe));
            Custom { hash: digest::of(&text), kinds }
        };
        let made = groups.into_iter().map(|(path, kinds)| (path, hashed(kinds))).collect();
        *self.custom.write().unwrap_or_else(PoisonError::into_inner) = made;
    }

    fn custom(&self) -> RwLockReadGuard<'_, BTreeMap<String, Custom>> {
        self.custom.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the path of every document.
    pub fn paths(&self) -> Vec<String> {
        let own = self.hashes().iter().map(|(path, _)| path.clone());
        own.chain(self.custom().keys().cloned()).collect()
    }

    /// Returns the index at `/openapi/v3`: every path with its address and hash.
    ///
    /// The first call renders every document once, to hash what will be sent.
    pub fn index(&self) -> Value {
        let mut paths = Map::new();
        for path in self.paths() {
            let hash = self.hash(&path).unwrap_or_default();
            let address = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path, json!({"serverRelativeURL": address}));
        }
        json!({"paths": paths})
    }

    /// Returns the hash of the document at `path` (`apis/apps/v1`), upper-case hexadecimal.
    pub fn hash(&self, path: &str) -> Option<String> {
        let own = self.hashes().iter().find(|(known, _)| known == path);
        let own = own.map(|(_, hash)| hash.clone());
        own.or_else(|| self.custom().get(path).map(|custom| custom.hash.clone()))
    }

    /// Renders the document at `path` (`api/v1`, `apis/apps/v1`) as JSON.
    pub fn render(&self, path: &str) -> Option<Vec<u8>> {
        let describe = (self.describe)();
        if let Some((group, version)) = group_version(path) {
            return Some(bytes(&document::of(group, version, &describe)));
        }
        let kinds = self.custom().get(path)?.kinds.clone();
        Some(bytes(&document::of_kinds(kinds.into_iter(), &describe)))
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
